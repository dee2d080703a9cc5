#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/vectors/vector_file_internal.h>

/// The header of NumPy's .npy files: magic, version, length, then a Python dictionary such as
/// {'descr': '<f4', 'fortran_order': False, 'shape': (20, 128), } padded with spaces.
namespace faiss_vlc {
namespace vector_file {

namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;
constexpr uint64_t kMaxHeader = 1 << 20; // NumPy itself stops at 10000 bytes
constexpr size_t kAlignment = 64;        // of the data that NumPy writes, and we

/// The types that are read, without their byte order.
struct Known {
    const char* type;
    DType dtype;
};
constexpr Known kKnown[] = {
        {"f4", DType::f32}, {"f2", DType::f16}, {"f8", DType::f64}, {"b1", DType::boolean},
        {"u1", DType::u8},  {"u2", DType::u16}, {"u4", DType::u32}, {"u8", DType::u64},
        {"i1", DType::i8},  {"i2", DType::i16}, {"i4", DType::i32}, {"i8", DType::i64},
};

/// What else NumPy may hold, by its letter; the name goes with the size in bits if it is `sized`.
struct Foreign {
    char letter;
    bool sized;
    const char* name;
    const char* way_out;
};
constexpr Foreign kForeign[] = {
        {'f', true, "float", "save x.astype('float32')"},
        {'c', true, "complex",
         "save numpy.hstack([x.real, x.imag]).astype('float32'), or one of the two"},
        {'O', false, "Python objects", "save numpy.stack(list(x)).astype('float32')"},
        {'U', false, "strings", "save x.astype('float32') if they are numbers"},
        {'S', false, "bytes", "save x.astype('float32') if they are numbers"},
        {'V', false, "void", "save x.view('float32'), or another type that its bytes have"},
        {'M', false, "dates", "save x.astype('int64').astype('float32')"},
        {'m', false, "times", "save x.astype('int64').astype('float32')"},
};

/// Reads just the Python that such a header consists of.
class HeaderParser {
public:
    HeaderParser(const std::string& path, const std::string& text) : path_(path), text_(text) {}

    FlatLayout parse() {
        FlatLayout layout;
        bool has_descr = false;
        bool has_order = false;
        bool has_shape = false;
        expect('{');
        while (!take('}')) {
            const std::string key = string_literal();
            expect(':');
            if (key == "descr" && !has_descr) {
                has_descr = true;
                layout.dtype = dtype();
            } else if (key == "fortran_order" && !has_order) {
                has_order = true;
                c_order();
            } else if (key == "shape" && !has_shape) {
                has_shape = true;
                shape(layout);
            } else {
                refuse("descr, fortran_order and shape, once each");
            }
            if (!take(',')) {
                expect('}');
                break;
            }
        }
        skip_spaces();
        if (position_ != text_.size() || !has_descr || !has_order || !has_shape) {
            refuse("one dictionary of descr, fortran_order and shape");
        }
        return layout;
    }

private:
    [[noreturn]] void refuse(const char* expected) const {
        // Damaged bytes must not reach a terminal.
        std::string met = text_.substr(position_, 40);
        for (char& c : met) {
            c = c >= ' ' && c <= '~' ? c : '?';
        }
        fail("%s: damaged .npy header: expected %s, got '%s' at its byte %llu", path_.c_str(),
             expected, met.c_str(), static_cast<unsigned long long>(position_));
    }

    void skip_spaces() {
        position_ = std::min(text_.find_first_not_of(" \t\r\n", position_), text_.size());
    }

    bool take(char c) {
        skip_spaces();
        if (position_ < text_.size() && text_[position_] == c) {
            position_++;
            return true;
        }
        return false;
    }

    void expect(char c) {
        if (!take(c)) {
            const char expected[] = {'\'', c, '\'', '\0'};
            refuse(expected);
        }
    }

    bool take_word(const char* word) {
        skip_spaces();
        if (text_.compare(position_, strlen(word), word) != 0) {
            return false;
        }
        position_ += strlen(word);
        return true;
    }

    std::string string_literal() {
        const char quote = take('\'') ? '\'' : '"';
        if (quote == '"' && !take('"')) {
            refuse("a quoted string");
        }
        const size_t end = text_.find(quote, position_);
        if (end == std::string::npos) {
            refuse("a quoted string");
        }
        std::string literal = text_.substr(position_, end - position_);
        position_ = end + 1;
        return literal;
    }

    DType dtype() {
        skip_spaces();
        if (position_ < text_.size() && text_[position_] == '[') {
            fail("%s: expected a plain array, got one of records: save "
                 "numpy.lib.recfunctions.structured_to_unstructured(x, 'float32')",
                 path_.c_str());
        }
        const size_t start = position_;
        const std::string descr = string_literal();
        for (const Known& known : kKnown) {
            if (descr.size() < 2 || descr.substr(1) != known.type) {
                continue;
            }
            const bool one_byte = dtype_size(known.dtype) == 1; // has no byte order
            if (descr[0] == '<' || (one_byte && (descr[0] == '|' || descr[0] == '>'))) {
                return known.dtype;
            }
            if (descr[0] == '>') {
                fail("%s: expected little-endian values, got '%s': save x.astype('<%s')",
                     path_.c_str(), descr.c_str(), known.type);
            }
        }
        refuse_foreign(descr);
        position_ = start;
        refuse("a dtype of float32, float16, uint8, int8, float64, bool, uint16 or int16 (labels: "
               "integers)");
    }

    /// Fails for the types that NumPy has and a file of vectors has not.
    void refuse_foreign(const std::string& descr) const {
        // An order, a letter, and a size (of dates with a unit behind it), all of them harmless.
        const bool known = std::any_of(std::begin(kKnown), std::end(kKnown), [&](const Known& k) {
            return descr.size() >= 2 &&
                   descr.substr(1) == k.type; // in an order that it cannot have
        });
        const bool plain = !known && descr.size() >= 2 && strchr("<>|=", descr[0]) &&
                           descr.find_first_not_of("0123456789[]abcdefghijklmnopqrstuvwxyz/", 2) ==
                                   std::string::npos;
        const auto* found = !plain ? std::end(kForeign)
                                   : std::find_if(std::begin(kForeign), std::end(kForeign),
                                                  [&](const Foreign& foreign) {
                                                      return foreign.letter == descr[1];
                                                  });
        if (found == std::end(kForeign)) {
            return;
        }
        const int bits = 8 * std::clamp(atoi(descr.c_str() + 2), 0, 64);
        const std::string name =
                found->sized ? found->name + std::to_string(bits) : std::string(found->name);
        fail("%s: expected float32, float16, uint8, int8, float64, bool, uint16 or int16 (labels: "
             "integers), got %s ('%s'): %s",
             path_.c_str(), name.c_str(), descr.c_str(), found->way_out);
    }

    void c_order() {
        if (take_word("True")) {
            fail("%s: expected C order, the array is in Fortran order: save "
                 "numpy.ascontiguousarray of it",
                 path_.c_str());
        }
        if (!take_word("False")) {
            refuse("True or False");
        }
    }

    uint64_t number() {
        skip_spaces();
        const size_t start = position_;
        uint64_t value = 0;
        while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') {
            const uint64_t digit = uint64_t(text_[position_] - '0');
            value = checked_add(checked_mul(value, 10, path_.c_str()), digit, path_.c_str());
            position_++;
        }
        if (position_ == start) {
            refuse("a number");
        }
        if (position_ < text_.size() && text_[position_] == 'L') {
            position_++; // Python 2 wrote long integers so
        }
        return value;
    }

    void shape(FlatLayout& layout) {
        std::vector<uint64_t> sizes;
        expect('(');
        while (!take(')')) {
            sizes.push_back(number());
            if (!take(',')) {
                expect(')');
                break;
            }
        }
        if (sizes.size() != 2) {
            fail("%s: expected an array of 2 dimensions (n, d), got %llu: save %s", path_.c_str(),
                 static_cast<unsigned long long>(sizes.size()),
                 sizes.size() < 2 ? "x.reshape(1, -1), if it is one vector"
                                  : "x.reshape(-1, x.shape[-1]), if its rows are the vectors");
        }
        if (sizes[0] > uint64_t(INT64_MAX) || sizes[1] > uint64_t(INT_MAX)) {
            fail("%s: expected a shape (n, d) that fits memory, got (%llu, %llu)", path_.c_str(),
                 static_cast<unsigned long long>(sizes[0]),
                 static_cast<unsigned long long>(sizes[1]));
        }
        layout.n = int64_t(sizes[0]);
        layout.d = int(sizes[1]);
    }

    const std::string& path_;
    const std::string& text_;
    size_t position_ = 0;
};

} // namespace

FlatLayout parse_npy_header(const InputFile& file) {
    const char* path = file.path().c_str();
    uint8_t start[kMagicSize + 2 + 4] = {};
    const size_t fixed = kMagicSize + 2;
    if (file.size() < fixed + 2) {
        fail("%s: truncated: expected a .npy header, the file has %llu bytes", path,
             static_cast<unsigned long long>(file.size()));
    }
    file.read_at(0, start, fixed);
    if (memcmp(start, kMagic, kMagicSize) != 0) {
        const bool zip = memcmp(start, "PK\x03\x04", 4) == 0;
        fail("%s: expected a .npy file, it does not start with \\x93NUMPY%s", path,
             zip ? ": it is a zip archive, such as .npz: save one of its arrays as .npy" : "");
    }
    const int version = start[kMagicSize];
    if (version < 1 || version > 3) {
        fail("%s: expected .npy version 1, 2 or 3, got %d", path, version);
    }
    const size_t length_size = version == 1 ? 2 : 4;
    file.read_at(fixed, start + fixed, length_size); // little-endian; the rest stays 0
    uint32_t length = 0;
    memcpy(&length, start + fixed, sizeof length);

    const uint64_t offset = fixed + length_size + length;
    if (length > kMaxHeader) {
        fail("%s: expected a .npy header of at most %llu bytes, got %llu", path,
             static_cast<unsigned long long>(kMaxHeader), static_cast<unsigned long long>(length));
    }
    if (offset > file.size()) {
        fail("%s: truncated: expected a .npy header of %llu bytes, the file has %llu", path,
             static_cast<unsigned long long>(offset), static_cast<unsigned long long>(file.size()));
    }
    std::string text(length, '\0');
    file.read_at(fixed + length_size, text.data(), length);
    FlatLayout layout = HeaderParser(file.path(), text).parse();
    layout.offset = offset;
    return layout;
}

std::string make_npy_header(DType dtype, int d, int64_t n) {
    const char* descr = dtype == DType::f32 ? "<f4" : dtype == DType::i32 ? "<i4" : "<i8";
    char text[128];
    snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%lld, %d), }",
             descr, static_cast<long long>(n), d);
    std::string dictionary = text;
    const size_t before = kMagicSize + 2 + 2;
    while ((before + dictionary.size() + 1) % kAlignment != 0) {
        dictionary += ' ';
    }
    dictionary += '\n';
    std::string header(kMagic, kMagicSize);
    header += '\x01';
    header += '\0';
    header += char(dictionary.size() & 0xff);
    header += char(dictionary.size() >> 8);
    return header + dictionary;
}

} // namespace vector_file
} // namespace faiss_vlc
