#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <faiss_vlc/container/byte_io.h>
#include <faiss_vlc/container/input_file.h>

namespace faiss {
struct IOReader;
} // namespace faiss

/// The container of the index file: a header, a table, checksummed sections. docs/FORMAT.md is its
/// specification; what the sections mean is save.h's and load.h's business.
///
/// Errors are faiss::FaissException with a message that names the file or stream, the section and
/// the fault; only running out of memory is std::bad_alloc. Objects may be used from several
/// threads at once as long as all of them call const functions.
namespace faiss_vlc {

static_assert(sizeof(size_t) == 8, "sizes of the file are used as sizes in memory");

constexpr uint32_t kFormatVersion = 1;
constexpr uint64_t kSectionAlignment = 64;
constexpr uint32_t kMaxSections = 1024;
constexpr size_t kMaxSectionName = 16;

/// For SectionWriter::add: must a reader that does not know the section refuse the file?
constexpr bool kRequired = true;
constexpr bool kOptional = false;

/// Collects sections, then writes the payload front to back. Since the table comes first and holds
/// checksums, every section's bytes are produced twice: once to be hashed, once to be written. The
/// second time they are hashed again, and a difference (somebody changed the data) throws.
/// Memory: the table, and the bytes that `add` was given to keep.
class SectionWriter {
public:
    /// Writes one section's bytes to the sink, the same ones each time it is called.
    using Producer = std::function<void(ByteSink&)>;

    /// Sections come in the order of these calls. A name has 1 to 16 characters of a-z 0-9 _ . -
    /// and is used once.
    /// Borrows `data` until the last write().
    void add(const std::string& name, bool required, const void* data, uint64_t size);
    /// Keeps the bytes.
    void add(const std::string& name, bool required, std::vector<uint8_t> bytes);
    /// Calls `producer` twice in each write(); it must write exactly `size` bytes.
    void add(const std::string& name, bool required, uint64_t size, Producer producer);

    /// Calls visit(name, bytes, producer) for each section, in the order of the file.
    void
    each(const std::function<void(const std::string&, uint64_t, const Producer&)>& visit) const;

    /// Bytes that write() will write.
    uint64_t total_size() const;

    /// The same sections give the same bytes, whatever the sink.
    void write(ByteSink& sink) const;

private:
    struct Item {
        std::string name;
        bool required;
        uint64_t size;
        Producer producer;
    };
    std::vector<Item> items_;
};

/// A payload in memory. Copies share the bytes; whoever keeps pointers into them keeps `owner`.
struct Payload {
    ByteSpan bytes;
    std::string origin;                // what error messages call it: a path, a stream's name
    std::shared_ptr<const void> owner; // null when the bytes are merely borrowed
};

/// Do these bytes (8 are enough) start like a payload?
bool has_magic(const void* data, size_t size);

/// Maps a file; reads none of it.
Payload map_file(const std::string& path);

/// Reads a whole file, 64-byte aligned. The header is checked before anything is allocated, and
/// one allocation of the file's size is made.
Payload load_file(const std::string& path);

/// Reads one payload, 64-byte aligned, from a forward stream and leaves the stream at its end. The
/// header and the table are checked before the sections are read. The buffer doubles as bytes
/// arrive, so a lying size costs no memory: old and new buffer together are never larger than
/// 64 KiB + three times what has arrived, nor than twice the payload (64 KiB at least).
Payload read_payload(faiss::IOReader& reader);

struct Section {
    std::string name;
    bool required;
    uint64_t offset; // from the payload's start
    ByteSpan bytes;
    uint64_t checksum; // as stored
};

/// A payload's sections. Construction checks the header, the table, the layout, the padding and
/// the total size, which must be that of the payload: O(sections), for mapped files as well. The
/// sections' own bytes are only checked by verify() and verify_all(). The base address may be any.
class SectionReader {
public:
    /// Takes any names: to list or verify a file without using it.
    explicit SectionReader(Payload payload);
    /// Refuses required sections that are not in `known`; unknown optional ones are left alone.
    SectionReader(Payload payload, const std::vector<std::string>& known);

    uint32_t version() const { return version_; }
    /// The header's checksum. It covers the table's, and that covers the sections': equal
    /// fingerprints mean equal files, unless somebody meant them to collide.
    uint64_t fingerprint() const { return fingerprint_; }
    const Payload& payload() const { return payload_; }
    /// In the order of the file.
    const std::vector<Section>& sections() const { return sections_; }

    bool has(const std::string& name) const { return find(name) != nullptr; }
    /// These throw when the section is missing.
    ByteSpan section(const std::string& name) const { return get(name).bytes; }
    ByteReader read(const std::string& name) const;
    /// A section of exactly `count` elements, in place; throws on another size, or when the
    /// payload's address leaves the elements unaligned (never after map_file, load_file and
    /// read_payload).
    template <class T>
    const T* view(const std::string& name, uint64_t count) const {
        static_assert(std::is_arithmetic<T>::value && !std::is_same<T, bool>::value, "a number");
        return reinterpret_cast<const T*>(view_bytes(name, count, sizeof(T)));
    }

    /// Compares checksums: O(size).
    void verify(const std::string& name) const { verify(get(name)); }
    void verify_all() const;

private:
    const Section* find(const std::string& name) const;
    const Section& get(const std::string& name) const;
    const uint8_t* view_bytes(const std::string& name, uint64_t count, size_t element) const;
    void verify(const Section& section) const;

    Payload payload_;
    uint32_t version_;
    uint64_t fingerprint_;
    std::vector<Section> sections_;
};

} // namespace faiss_vlc
