#include <algorithm>
#include <climits>

#include <faiss_vlc/container/atomic_file.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/vectors/vector_file_internal.h>

namespace faiss_vlc {

namespace {

using vector_file::extension_of;
using vector_file::make_npy_header;

class FileWriter : public VectorWriter {
public:
    /// `stored`: the type in the file. `prefix`: each row starts with its dimension.
    FileWriter(const std::string& path, const std::string& header, bool prefix, DType stored, int d,
               int64_t n)
        : file_(path), prefix_(prefix), stored_(stored), d_(d), n_(n) {
        file_.write(header.data(), header.size());
    }

    void append(const float* rows, int64_t count) override {
        if (stored_ != DType::f32) {
            fail("%s: expected integers to write as %s, got floats", path(), dtype_name(stored_));
        }
        require_room(count);
        write_rows(rows, count);
        written_ += count;
    }

    void append(const int64_t* rows, int64_t count) override {
        if (stored_ == DType::f32) {
            fail("%s: expected floats to write as float32, got integers", path());
        }
        require_room(count);
        if (stored_ == DType::i64) {
            write_rows(rows, count);
            written_ += count;
            return;
        }
        require_int32(rows, count); // of all rows first, so that an error leaves none behind
        std::vector<int32_t> narrow(static_cast<size_t>(d_));
        for (int64_t i = 0; i < count; i++) {
            const int64_t* row = rows + size_t(i) * size_t(d_);
            std::transform(row, row + d_, narrow.begin(), [](int64_t x) { return int32_t(x); });
            write_rows(narrow.data(), 1);
            written_++;
        }
    }

    void close() override {
        if (written_ != n_) {
            fail("%s: expected %lld rows before close, got %lld", path(),
                 static_cast<long long>(n_), static_cast<long long>(written_));
        }
        file_.commit();
    }

private:
    const char* path() const { return file_.path().c_str(); }

    void require_room(int64_t count) const {
        if (count < 0 || count > n_ - written_) {
            fail("%s: expected at most %lld rows more (of %lld), got %lld", path(),
                 static_cast<long long>(n_ - written_), static_cast<long long>(n_),
                 static_cast<long long>(count));
        }
    }

    void require_int32(const int64_t* rows, int64_t count) const {
        const int64_t values = count * d_;
        for (int64_t i = 0; i < values; i++) {
            if (rows[i] < INT32_MIN || rows[i] > INT32_MAX) {
                const int64_t row = written_ + i / d_;
                fail("%s: row %lld, column %d: expected a value that fits int32, got %lld "
                     "(a .npy file of int64 can hold it)",
                     path(), static_cast<long long>(row), int(i % d_),
                     static_cast<long long>(rows[i]));
            }
        }
    }

    template <class T>
    void write_rows(const T* rows, int64_t count) {
        const size_t row_size = size_t(d_) * sizeof(T);
        if (!prefix_) {
            file_.write(rows, size_t(count) * row_size);
            return;
        }
        for (int64_t i = 0; i < count; i++) {
            const int32_t d = d_;
            file_.write(&d, sizeof d);
            file_.write(rows + size_t(i) * size_t(d_), row_size);
        }
    }

    AtomicFile file_;
    bool prefix_;
    DType stored_;
    int d_;
    int64_t n_;
    int64_t written_ = 0;
};

} // namespace

std::unique_ptr<VectorWriter> create_vectors(const std::string& path, DType dtype, int d,
                                             int64_t n) {
    const std::string extension = extension_of(path);
    const bool npy = extension == ".npy" || descriptor_of(path) >= 0;
    const bool fvecs = extension == ".fvecs";
    const bool ivecs = extension == ".ivecs";
    const bool integers = dtype == DType::i32 || dtype == DType::i64;
    if (!npy && !fvecs && !ivecs) {
        fail("cannot write '%s': expected the extension .npy, %s, got '%s'", path.c_str(),
             integers ? ".ivecs" : ".fvecs", extension.c_str());
    }
    if (!(dtype == DType::f32 && (npy || fvecs)) && !(integers && (npy || ivecs))) {
        fail("cannot write '%s': %s does not go into %s", path.c_str(), dtype_name(dtype),
             extension.c_str());
    }
    if (d <= 0 || n < 0) {
        fail("cannot write '%s': expected d of at least 1 and n of at least 0, got d = %d, "
             "n = %lld",
             path.c_str(), d, static_cast<long long>(n));
    }
    const DType stored = ivecs ? DType::i32 : dtype;
    const uint64_t row = uint64_t(d) * dtype_size(stored) + sizeof(int32_t);
    if (checked_mul(uint64_t(n), row, path.c_str()) > uint64_t(INT64_MAX) / 2) {
        fail("cannot write '%s': %lld rows of %d values are more than a file can hold",
             path.c_str(), static_cast<long long>(n), d);
    }
    const std::string header = npy ? make_npy_header(dtype, d, n) : std::string();
    return std::make_unique<FileWriter>(path, header, !npy, stored, d, n);
}

} // namespace faiss_vlc
