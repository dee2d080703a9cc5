#pragma once

#include <cstddef>
#include <cstdint>

#include <faiss/impl/io.h>

#include <faiss_vlc/faiss_version.h>

namespace faiss_vlc {

/// FAISS's readers resize vectors to the length that a file states before they read the elements.
/// This watches the reads of one index and throws at a length that the bytes left cannot hold,
/// before FAISS gets to see it. So a damaged or hostile container makes FAISS allocate at most 64
/// times the bytes that are left (16 times but for tables of lists), or what 2^20 elements take if
/// that is more.
///
/// It knows FAISS's habits only as far as needed: a length is an 8-byte number by itself; of those,
/// ntotal and nprobe may be anything. Sizes of inverted lists are checked by their sum. Left to
/// FAISS are the codes of additive quantizers of one byte, and tables that follow from a few bits
/// (2^nbits).
class LengthGuard {
public:
    /// `left`: bytes from here to the end of the container; UINT64_MAX (unknown) checks nothing.
    explicit LengthGuard(uint64_t left) : left_(left) {}
    /// After each read of `count` elements of `size` bytes.
    void check(const void* data, size_t size, size_t count);

private:
    /// The part of an index's header that comes next; before it came fourcc, d and ntotal.
    enum class Header { none, constants, trained, metric, argument };
    /// What comes next of inverted lists: the length of a table of sizes, or the table.
    enum class Lists { none, length, table };

    void check_word(uint32_t value);
    void check_number(uint64_t value);
    void check_list_sizes(const uint64_t* values, size_t count);
    void check_length(uint64_t length) const;
    void check_ids(uint64_t count);
    bool is_header() const;
    void count_part();

    uint64_t left_;
    Header header_ = Header::none;
    uint32_t kind_ = 0; ///< fourcc of the last header
    int fields_ = 0;    ///< 8-byte numbers met since that header's last part
    int parts_ = 0;     ///< headers met
    Lists lists_ = Lists::none;
    bool sparse_ = false; ///< the table is one of pairs
    uint64_t nlist_ = 0, code_size_ = 0;
    uint64_t contents_ = 0;    ///< reads of the lists' contents to come
    uint32_t words_[2] = {};   ///< the last two 4-byte numbers
    int word_run_ = 0;         ///< how many came in a row
    uint64_t numbers_[2] = {}; ///< the last two 8-byte numbers
    int number_run_ = 0;
    uint64_t mapped_ =
            UINT64_MAX; ///< vectors of the last IndexIDMap(2), which FAISS does not compare
    bool payload_met_ =
            false; ///< ours; behind it, and at the end, 8-byte elements are an IDMap's ids
};

/// Another reader, guarded.
class BoundedReader : public faiss::IOReader {
public:
    BoundedReader(faiss::IOReader& rest, uint64_t left) : rest_(rest), guard_(left) {
        name = rest.name;
    }
    size_t operator()(void* data, size_t size, size_t count) override;
    int FAISS_VLC_FILE_DESCRIPTOR() override { return rest_.FAISS_VLC_FILE_DESCRIPTOR(); }

private:
    faiss::IOReader& rest_;
    LengthGuard guard_;
};

/// A file, guarded; FAISS maps files only through its own reader's type.
class BoundedFileReader : public faiss::FileIOReader {
public:
    explicit BoundedFileReader(const char* path);
    /// From the position where the stream is.
    explicit BoundedFileReader(FILE* stream);
    size_t operator()(void* data, size_t size, size_t count) override;

private:
    LengthGuard guard_;
};

/// Bytes that a reader has left, if that can be told; else UINT64_MAX.
uint64_t bytes_left(const faiss::IOReader& reader);

} // namespace faiss_vlc
