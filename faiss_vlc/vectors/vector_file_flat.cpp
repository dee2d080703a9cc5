#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/vectors/vector_file_internal.h>

/// Reading of the formats that are rows of equal size: npy, fvecs, bvecs, ivecs and raw.
namespace faiss_vlc {
namespace vector_file {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "values are copied as the files hold them");

namespace {

using ull = unsigned long long;

constexpr char kRawDTypes[] = "float32, float16, float64, uint8, int8, uint16 or int16";

constexpr size_t kPrefixSize = sizeof(int32_t);
constexpr size_t kBufferSize = 1 << 20;

template <class From, class To>
void convert_values(const uint8_t* from, int d, To* to) {
    for (int i = 0; i < d; i++) {
        From value;
        memcpy(&value, from + size_t(i) * sizeof value, sizeof value);
        to[i] = To(value); // NOLINT(bugprone-signed-char-misuse): int8 is a number here
    }
}

void convert_halves(const uint8_t* from, int d, float* to) {
    for (int i = 0; i < d; i++) {
        uint16_t half;
        memcpy(&half, from + size_t(i) * sizeof half, sizeof half);
        to[i] = half_to_float(half);
    }
}

/// Rounds to float32; returns the first column whose finite value is beyond it, d if there is none.
int convert_doubles(const uint8_t* from, int d, float* to) {
    int bad = d;
    for (int i = 0; i < d; i++) {
        double value;
        memcpy(&value, from + size_t(i) * sizeof value, sizeof value);
        to[i] = float(value);
        bad = std::isinf(to[i]) && std::isfinite(value) ? std::min(bad, i) : bad;
    }
    return bad;
}

/// As convert_doubles, for values above int64's.
int convert_uint64(const uint8_t* from, int d, int64_t* to) {
    convert_values<uint64_t>(from, d, to);
    return int(std::find_if(to, to + d, [](int64_t value) { return value < 0; }) - to);
}

/// Returns the first column whose value the result cannot hold, d if there is none.
int convert_row(DType dtype, const uint8_t* from, int d, float* to) {
    switch (dtype) {
    case DType::f32:
        memcpy(to, from, size_t(d) * sizeof(float));
        break;
    case DType::f16:
        convert_halves(from, d, to);
        break;
    case DType::f64:
        return convert_doubles(from, d, to);
    case DType::boolean:
        std::transform(from, from + d, to, [](uint8_t value) { return value ? 1.0f : 0.0f; });
        break;
    case DType::i16:
        convert_values<int16_t>(from, d, to);
        break;
    case DType::u16:
        convert_values<uint16_t>(from, d, to);
        break;
    case DType::u32:
        convert_values<uint32_t>(from, d, to);
        break;
    case DType::u64:
        convert_values<uint64_t>(from, d, to);
        break;
    case DType::u8:
        convert_values<uint8_t>(from, d, to);
        break;
    case DType::i8:
        convert_values<int8_t>(from, d, to);
        break;
    case DType::i32:
        convert_values<int32_t>(from, d, to);
        break;
    case DType::i64:
        convert_values<int64_t>(from, d, to);
        break;
    }
    return d;
}

int convert_row(DType dtype, const uint8_t* from, int d, int64_t* to) {
    switch (dtype) {
    case DType::u8:
        convert_values<uint8_t>(from, d, to);
        break;
    case DType::i8:
        convert_values<int8_t>(from, d, to);
        break;
    case DType::i32:
        convert_values<int32_t>(from, d, to);
        break;
    case DType::i64:
        convert_values<int64_t>(from, d, to);
        break;
    case DType::i16:
        convert_values<int16_t>(from, d, to);
        break;
    case DType::u16:
        convert_values<uint16_t>(from, d, to);
        break;
    case DType::u32:
        convert_values<uint32_t>(from, d, to);
        break;
    case DType::u64:
        return convert_uint64(from, d, to);
    case DType::f32:
    case DType::f16:
    case DType::f64:
    case DType::boolean:
        fail("%s cannot be read as integers", dtype_name(dtype));
    }
    return d;
}

class FlatReader : public VectorReader {
public:
    FlatReader(std::unique_ptr<InputFile> file, const FlatLayout& layout)
        : file_(std::move(file)), layout_(layout) {
        path_ = file_->path();
        n_ = layout.n;
        d_ = layout.d;
        dtype_ = layout.dtype;
        prefix_ = layout.has_prefix ? kPrefixSize : 0;
        stride_ = prefix_ + size_t(d_) * dtype_size(dtype_);
        buffer_.resize(std::max<size_t>(1, std::min(kBufferSize, size_t(n_) * stride_) / stride_) *
                       stride_);
    }

protected:
    void read_rows(int64_t first, int64_t count, float* out) override {
        if (dtype_ == DType::f32 && prefix_ == 0) {
            file_->read_at(offset_of(first), out, size_t(count) * stride_); // no conversion
            return;
        }
        convert_rows(first, count, out);
    }

    void read_rows(int64_t first, int64_t count, int64_t* out) override {
        convert_rows(first, count, out);
    }

private:
    uint64_t offset_of(int64_t row) const { return layout_.offset + uint64_t(row) * stride_; }

    template <class T>
    void convert_rows(int64_t first, int64_t count, T* out) {
        const int64_t block = int64_t(buffer_.size() / stride_);
        for (int64_t done = 0; done < count;) {
            const int64_t rows = std::min(block, count - done);
            file_->read_at(offset_of(first + done), buffer_.data(), size_t(rows) * stride_);
            for (int64_t i = 0; i < rows; i++) {
                const uint8_t* row = buffer_.data() + size_t(i) * stride_;
                check_prefix(row, first + done + i);
                const int bad =
                        convert_row(dtype_, row + prefix_, d_, out + size_t(done + i) * size_t(d_));
                if (bad < d_) {
                    fail_at(first + done + i, bad, row + prefix_);
                }
            }
            done += rows;
        }
    }

    [[noreturn]] void fail_at(int64_t row, int column, const uint8_t* values) const {
        if (dtype_ == DType::f64) {
            double value;
            memcpy(&value, values + size_t(column) * sizeof value, sizeof value);
            fail("%s: row %lld, column %d: expected values that float32 can hold, got %g",
                 path_.c_str(), static_cast<long long>(row), column, value);
        }
        uint64_t value;
        memcpy(&value, values + size_t(column) * sizeof value, sizeof value);
        fail("%s: row %lld, column %d: expected a value that fits int64, got %llu", path_.c_str(),
             static_cast<long long>(row), column, ull(value));
    }

    void check_prefix(const uint8_t* row, int64_t index) const {
        if (prefix_ == 0) {
            return;
        }
        int32_t d;
        memcpy(&d, row, sizeof d);
        if (d != d_) {
            fail("%s: row %lld: expected dimension %d like the first row, got %d", path_.c_str(),
                 static_cast<long long>(index), d_, d);
        }
    }

    std::unique_ptr<InputFile> file_;
    FlatLayout layout_;
    size_t prefix_ = 0;
    size_t stride_ = 0;
    std::vector<uint8_t> buffer_;
};

/// Sets n of a layout whose rows fill the file.
void count_rows(const InputFile& file, FlatLayout& layout) {
    const uint64_t values =
            checked_mul(uint64_t(layout.d), dtype_size(layout.dtype), file.path().c_str());
    const uint64_t row = values + (layout.has_prefix ? kPrefixSize : 0);
    if (row > file.size()) {
        fail("%s: truncated: expected at least one row of %llu bytes (dimension %d of %s), the "
             "file has %llu bytes",
             file.path().c_str(), ull(row), layout.d, dtype_name(layout.dtype), ull(file.size()));
    }
    if (file.size() % row != 0) {
        fail("%s: expected a multiple of the row size of %llu bytes (dimension %d of %s), the file "
             "has %llu bytes: truncated, or not such rows",
             file.path().c_str(), ull(row), layout.d, dtype_name(layout.dtype), ull(file.size()));
    }
    layout.n = int64_t(file.size() / row);
}

FlatLayout layout_of_xvecs(const InputFile& file, DType dtype) {
    int32_t d = 0;
    if (file.size() < sizeof d) {
        fail("%s: truncated: expected an int32 dimension, the file has %llu bytes",
             file.path().c_str(), ull(file.size()));
    }
    file.read_at(0, &d, sizeof d);
    if (d <= 0) {
        fail("%s: expected a dimension of at least 1, got %d", file.path().c_str(), d);
    }
    FlatLayout layout;
    layout.d = d;
    layout.dtype = dtype;
    layout.has_prefix = true;
    count_rows(file, layout);
    return layout;
}

FlatLayout layout_of_npy(const InputFile& file, Content content) {
    const FlatLayout layout = parse_npy_header(file);
    const char* path = file.path().c_str();
    if (content == Content::vectors && is_label_only(layout.dtype)) {
        fail("%s: expected vectors of floats, or of integers of 8 or 16 bits, got %s, which holds "
             "labels: if these are vectors, save x.astype('float32')",
             path, dtype_name(layout.dtype));
    }
    if (content == Content::labels && !holds_integers(layout.dtype)) {
        fail("%s: expected labels of integers, such as int32 or int64, got %s: if these are "
             "labels, save x.astype('int64')",
             path, dtype_name(layout.dtype));
    }
    if (layout.n == 0 || layout.d == 0) {
        fail("%s: expected at least one row and one column, the shape is (%lld, %d)", path,
             static_cast<long long>(layout.n), layout.d);
    }
    const uint64_t values = checked_mul(uint64_t(layout.n), uint64_t(layout.d), path);
    const uint64_t bytes = checked_mul(values, dtype_size(layout.dtype), path);
    const uint64_t present = file.size() - layout.offset;
    if (present != bytes) {
        fail("%s: %s: expected %llu bytes after the header for shape (%lld, %d) of %s, got %llu",
             path, present < bytes ? "truncated" : "too long", ull(bytes),
             static_cast<long long>(layout.n), layout.d, dtype_name(layout.dtype), ull(present));
    }
    return layout;
}

FlatLayout layout_of_raw(const InputFile& file, const VectorFileOptions& options) {
    const char* path = file.path().c_str();
    if (options.d <= 0 || options.dtype.empty()) {
        fail("%s: not .npy, .fvecs, .bvecs, .ivecs or .hdf5, so a raw file of rows of numbers: "
             "give --d, the numbers in a row, and --dtype, their type (%s), or save it as .npy; "
             "got "
             "d = %d, dtype = '%s'",
             path, kRawDTypes, options.d, options.dtype.c_str());
    }
    FlatLayout layout;
    layout.d = options.d;
    layout.dtype = dtype_from_name(options.dtype);
    if (is_label_only(layout.dtype)) {
        fail("%s: expected a raw file of %s, got --dtype %s", path, kRawDTypes,
             options.dtype.c_str());
    }
    count_rows(file, layout);
    return layout;
}

} // namespace

std::unique_ptr<VectorReader> open_flat(const std::string& path, const std::string& extension,
                                        const VectorFileOptions& options, Content content) {
    if (extension == ".npz") {
        const std::string name = path.substr(path.rfind('/') + 1);
        InputFile{path}; // is it there?
        fail("%s: a .npz archive holds several arrays, expected one: save it as .npy, in Python "
             "a = numpy.load('%s'); print(a.files); numpy.save('x.npy', a['<one of these>'])",
             path.c_str(), name.c_str());
    }
    if (content == Content::labels && extension != ".npy" && extension != ".ivecs") {
        fail("%s: expected labels in .npy, .ivecs or .hdf5, got '%s'", path.c_str(),
             extension.c_str());
    }
    auto file = std::make_unique<InputFile>(path);
    FlatLayout layout;
    if (extension == ".npy") {
        layout = layout_of_npy(*file, content);
    } else if (extension == ".fvecs") {
        layout = layout_of_xvecs(*file, DType::f32);
    } else if (extension == ".bvecs") {
        layout = layout_of_xvecs(*file, DType::u8);
    } else if (extension == ".ivecs") {
        layout = layout_of_xvecs(*file, DType::i32);
    } else {
        layout = layout_of_raw(*file, options);
    }
    if (options.d != 0 && options.d != layout.d) {
        fail("%s: expected dimension %d as given, the file has %d", path.c_str(), options.d,
             layout.d);
    }
    if (!options.dtype.empty() && dtype_from_name(options.dtype) != layout.dtype) {
        fail("%s: expected %s as given, the file has %s", path.c_str(), options.dtype.c_str(),
             dtype_name(layout.dtype));
    }
    return std::make_unique<FlatReader>(std::move(file), layout);
}

} // namespace vector_file
} // namespace faiss_vlc
