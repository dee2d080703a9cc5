#include <faiss_vlc/interop/bounded_reader.h>

#include <sys/stat.h>

#include <cctype>
#include <cinttypes>
#include <cstring>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

constexpr uint64_t kHarmless = 1 << 20; ///< what any container may claim; headers hold just that
constexpr uint64_t kRefused = uint64_t(1) << 40; ///< lengths from here on FAISS refuses by itself
constexpr uint32_t kMaxDimension = 1 << 24;      ///< of an index
constexpr int kMaxParts = 1000;                  ///< each may be a level of recursion

constexpr uint32_t code(const char (&text)[5]) {
    return uint32_t(uint8_t(text[0])) | uint32_t(uint8_t(text[1])) << 8 |
           uint32_t(uint8_t(text[2])) << 16 | uint32_t(uint8_t(text[3])) << 24;
}

/// Has an index of this fourcc nlist and nprobe behind its header?
bool is_ivf(uint32_t kind) {
    const char a = char(kind), b = char(kind >> 8);
    return (a == 'I' && (b == 'v' || b == 'w' || b == 'V')) || (a == 'N' && b == 'P');
}

uint64_t stream_left(FILE* stream) {
    struct stat info {};
    const off_t at = stream ? ftello(stream) : -1;
    if (at < 0 || fstat(::fileno(stream), &info) != 0 || !S_ISREG(info.st_mode)) {
        return UINT64_MAX;
    }
    return info.st_size > at ? uint64_t(info.st_size - at) : 0;
}

} // namespace

void LengthGuard::check_length(uint64_t length) const {
    if (length > left_ && length > kHarmless) {
        fail("FAISS container: a length of %" PRIu64 " where %" PRIu64 " bytes are left", length,
             left_);
    }
}

void LengthGuard::check_ids(uint64_t count) {
    if (count == mapped_) {
        mapped_ = UINT64_MAX; // these may be they: an IDMap need not be the last part of a tree
    } else if ((payload_met_ || left_ == 0) && mapped_ != UINT64_MAX && count != mapped_) {
        fail("FAISS container: an IDMap of %" PRIu64 " vectors has %" PRIu64 " ids", mapped_,
             count);
    }
}

/// Were the last reads the fourcc and the dimension of an index?
bool LengthGuard::is_header() const {
    if (word_run_ != 2 || words_[1] > kMaxDimension) {
        return false;
    }
    for (int shift = 0; shift < 32; shift += 8) {
        if (!std::isalnum(uint8_t(words_[0] >> shift))) {
            return false;
        }
    }
    return char(words_[0]) == 'I' || char(words_[0]) == 'N';
}

void LengthGuard::check_word(uint32_t value) {
    number_run_ = 0;
    if (header_ == Header::metric || header_ == Header::argument) {
        const bool has_argument = header_ == Header::metric && int32_t(value) > 1;
        header_ = has_argument ? Header::argument : Header::none;
        return;
    }
    header_ = Header::none;
    words_[0] = words_[1];
    words_[1] = value;
    word_run_++;
    sparse_ = value == code("sprs");
    lists_ = sparse_ || value == code("full") ? Lists::length : Lists::none;
    payload_met_ |= value == code("ilVC");
    if (value == code("Viqt")) { // has two of its kind inside
        count_part();
    }
}

void LengthGuard::check_number(uint64_t value) {
    const uint64_t before = numbers_[1];
    const bool header = is_header();
    const bool of_map = words_[0] == code("IxMp") || words_[0] == code("IxM2");
    if (of_map && word_run_ == 2 && !header) {
        fail("FAISS container: an IDMap of %u dimensions", words_[1]);
    }
    const bool of_lists = word_run_ > 0 && words_[1] == code("ilar"); // their number
    word_run_ = 0;
    numbers_[0] = numbers_[1];
    numbers_[1] = value;
    number_run_++;
    if (header) {
        header_ = Header::constants;
        kind_ = words_[0];
        fields_ = 0;
        if (of_map) {
            mapped_ = value;
        }
        count_part();
    } else if (header_ == Header::constants) {
        if (number_run_ == 3) {
            header_ = Header::trained;
        }
    } else if (is_ivf(kind_) && ++fields_ == 2) {
        // nprobe
    } else if (number_run_ == 2 && before == 1) {
        check_ids(1); // the only element of a vector
    } else if (value < kRefused || of_lists) {
        check_length(value);
    }
}

void LengthGuard::count_part() {
    if (++parts_ > kMaxParts) {
        fail("FAISS container: expected at most %d indexes and transformations in one tree",
             kMaxParts);
    }
}

void LengthGuard::check_list_sizes(const uint64_t* values, size_t count) {
    if (sparse_ && count % 2 != 0) {
        fail("FAISS container: expected pairs of lists and sizes, got %zu numbers", count);
    }
    uint64_t total = 0;
    for (size_t i = 0; i < count; i += sparse_ ? 2 : 1) {
        if (sparse_ && values[i] >= nlist_) {
            fail("FAISS container: expected a list below %" PRIu64 ", got %" PRIu64, nlist_,
                 values[i]);
        }
        const uint64_t size = values[i + (sparse_ ? 1 : 0)];
        total = checked_add(total, size, "sizes of the inverted lists");
        contents_ += size > 0 ? 2 : 0; // codes, ids
    }
    const uint64_t each = checked_add(code_size_, sizeof(int64_t), "size of a code and its id");
    if (checked_mul(total, each, "sizes of the inverted lists") > left_) {
        fail("FAISS container: inverted lists of %" PRIu64 " vectors where %" PRIu64
             " bytes are left",
             total, left_);
    }
}

void LengthGuard::check(const void* data, size_t size, size_t count) {
    if (left_ == UINT64_MAX) {
        return;
    }
    const uint64_t taken = checked_mul(size, count, "bytes to read");
    left_ -= taken < left_ ? taken : left_;
    if (contents_ > 0) {
        contents_--;
    } else if (lists_ == Lists::table) {
        lists_ = Lists::none;
        check_list_sizes(static_cast<const uint64_t*>(data), count);
    } else if (count == 1 && size == 4) {
        uint32_t value;
        std::memcpy(&value, data, 4);
        check_word(value);
        return;
    } else if (count == 1 && size == 8) {
        uint64_t value;
        std::memcpy(&value, data, 8);
        const bool of_table = lists_ == Lists::length;
        if (of_table) { // the numbers before it are theirs
            nlist_ = numbers_[0];
            code_size_ = numbers_[1];
        }
        check_number(value);
        lists_ = of_table ? Lists::table : Lists::none;
        return;
    }
    if (size == 8) {
        check_ids(count);
    }
    header_ = header_ == Header::trained && size == 1 && count == 1 ? Header::metric : Header::none;
    word_run_ = number_run_ = 0;
}

size_t BoundedReader::operator()(void* data, size_t size, size_t count) {
    const size_t met = rest_(data, size, count);
    if (met == count) {
        guard_.check(data, size, count);
    }
    return met;
}

BoundedFileReader::BoundedFileReader(const char* path)
    : FileIOReader(path), guard_(stream_left(f)) {}

BoundedFileReader::BoundedFileReader(FILE* stream) : FileIOReader(stream), guard_(stream_left(f)) {}

size_t BoundedFileReader::operator()(void* data, size_t size, size_t count) {
    const size_t met = FileIOReader::operator()(data, size, count);
    if (met == count) {
        guard_.check(data, size, count);
    }
    return met;
}

uint64_t bytes_left(const faiss::IOReader& reader) {
    if (const auto* memory = dynamic_cast<const faiss::VectorIOReader*>(&reader)) {
        return memory->data.size() - memory->rp;
    }
    if (const auto* file = dynamic_cast<const faiss::FileIOReader*>(&reader)) {
        return stream_left(file->f);
    }
    return UINT64_MAX;
}

} // namespace faiss_vlc
