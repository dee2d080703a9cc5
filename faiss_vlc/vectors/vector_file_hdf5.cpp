#include <algorithm>
#include <climits>
#include <utility>

#include <hdf5.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/vectors/vector_file_internal.h>

namespace faiss_vlc {
namespace vector_file {

namespace {

using ull = unsigned long long;

/// Compressed data may claim at most this many times its stored size (deflate reaches 1032).
constexpr uint64_t kMaxRatio = 4096;
constexpr size_t kMaxValue = 16; ///< bytes
constexpr size_t kMinCache = 1 << 20;
constexpr size_t kMaxCache = size_t(256) << 20;
constexpr size_t kCacheSlots = 12421; // prime, as HDF5 asks for

/// Keeps HDF5 from printing its errors while it lives.
class SilencedErrors {
public:
    SilencedErrors() {
        H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
        H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    }
    ~SilencedErrors() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }
    SilencedErrors(const SilencedErrors&) = delete;
    SilencedErrors& operator=(const SilencedErrors&) = delete;

private:
    H5E_auto2_t function_ = nullptr;
    void* data_ = nullptr;
};

/// Owns an HDF5 identifier of any kind.
class Id {
public:
    explicit Id(hid_t id = H5I_INVALID_HID) : id_(id) {}
    Id(Id&& other) noexcept : id_(other.id_) { other.id_ = H5I_INVALID_HID; }
    Id& operator=(Id&& other) noexcept {
        std::swap(id_, other.id_);
        return *this;
    }
    ~Id() {
        if (id_ >= 0) {
            const SilencedErrors silenced;
            H5Idec_ref(id_);
        }
    }
    hid_t get() const { return id_; }
    bool valid() const { return id_ >= 0; }

private:
    hid_t id_;
};

herr_t take_description(unsigned, const H5E_error2_t* error, void* text) {
    *static_cast<std::string*>(text) = error->desc ? error->desc : "";
    return 1; // the first one met is the innermost
}

/// What HDF5 says is the cause of the error that has just happened.
std::string hdf5_error() {
    std::string text;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_description, &text);
    return text.empty() ? "unknown HDF5 error" : text;
}

/// The type that VectorReader::dtype reports; values are converted by HDF5.
DType nearest_dtype(hid_t type, const std::string& where) {
    const size_t size = H5Tget_size(type);
    const H5T_class_t kind = H5Tget_class(type);
    if (size < 1 || size > kMaxValue) { // H5Dread takes for ever over a size of 0
        fail("%s: expected values of 1 to %zu bytes, got %zu", where.c_str(), kMaxValue, size);
    }
    if (kind == H5T_FLOAT) {
        return size == 2 ? DType::f16 : DType::f32;
    }
    if (kind != H5T_INTEGER) {
        fail("%s: expected numbers, got another type of value", where.c_str());
    }
    if (size == 1) {
        return H5Tget_sign(type) == H5T_SGN_NONE ? DType::u8 : DType::i8;
    }
    return size <= 4 && H5Tget_sign(type) != H5T_SGN_NONE ? DType::i32 : DType::i64;
}

class Hdf5Reader : public VectorReader {
public:
    Hdf5Reader(const std::string& path, const std::string& dataset, Content content)
        : where_(path + ", dataset '" + dataset + "'") {
        path_ = where_; // the base class names it in its errors
        // HDF5 would only say that it cannot open the file.
        const uint64_t file_size = InputFile(path).size();
        const SilencedErrors silenced;
        file_ = Id(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
        if (!file_.valid()) {
            fail("%s: expected an HDF5 file: %s", path.c_str(), hdf5_error().c_str());
        }
        open_dataset(path, dataset);
        read_shape();
        dtype_ = nearest_dtype(type_.get(), where_);
        if (content == Content::labels && (dtype_ == DType::f32 || dtype_ == DType::f16)) {
            fail("%s: expected integers, got floats", where_.c_str());
        }
        check_storage(file_size);
        enlarge_cache(dataset);
    }

protected:
    void read_rows(int64_t first, int64_t count, float* out) override {
        read_block(first, count, H5T_NATIVE_FLOAT, out);
    }
    void read_rows(int64_t first, int64_t count, int64_t* out) override {
        read_block(first, count, H5T_NATIVE_INT64, out);
    }

private:
    void open_dataset(const std::string& path, const std::string& dataset) {
        dataset_ = Id(H5Dopen2(file_.get(), dataset.c_str(), H5P_DEFAULT));
        if (!dataset_.valid()) {
            fail("%s: expected a dataset '%s' as in the ann-benchmarks layout (train, test, "
                 "neighbors): %s",
                 path.c_str(), dataset.c_str(), hdf5_error().c_str());
        }
        type_ = Id(H5Dget_type(dataset_.get()));
        space_ = Id(H5Dget_space(dataset_.get()));
        properties_ = Id(H5Dget_create_plist(dataset_.get()));
        if (!type_.valid() || !space_.valid() || !properties_.valid()) {
            fail("%s: %s", where_.c_str(), hdf5_error().c_str());
        }
    }

    void read_shape() {
        const int dimensions = H5Sget_simple_extent_ndims(space_.get());
        if (dimensions != 2) {
            fail("%s: expected 2 dimensions (n, d), got %d", where_.c_str(), dimensions);
        }
        hsize_t sizes[2] = {0, 0};
        H5Sget_simple_extent_dims(space_.get(), sizes, nullptr);
        if (sizes[0] == 0 || sizes[1] == 0 || sizes[0] > hsize_t(INT64_MAX) ||
            sizes[1] > hsize_t(INT_MAX)) {
            fail("%s: expected a shape (n, d) of at least (1, 1) that fits memory, got "
                 "(%llu, %llu)",
                 where_.c_str(), ull(sizes[0]), ull(sizes[1]));
        }
        n_ = int64_t(sizes[0]);
        d_ = int(sizes[1]);
    }

    /// A shape is only a claim: rows that were never stored read as zeros, at no cost in the file.
    void check_storage(uint64_t file_size) const {
        const uint64_t values = checked_mul(uint64_t(n_), uint64_t(d_), where_.c_str());
        const uint64_t claimed = checked_mul(values, H5Tget_size(type_.get()), where_.c_str());
        const uint64_t stored = H5Dget_storage_size(dataset_.get());
        const bool compressed = H5Pget_nfilters(properties_.get()) > 0;
        if (H5Pget_external_count(properties_.get()) != 0) {
            fail("%s: expected the values in this file, they are in another", where_.c_str());
        }
        if (stored == 0 || stored > file_size || claimed / (compressed ? kMaxRatio : 1) > stored) {
            fail("%s: expected %llu bytes for shape (%lld, %d), it stores %llu in a file of %llu",
                 where_.c_str(), ull(claimed), static_cast<long long>(n_), d_, ull(stored),
                 ull(file_size));
        }
    }

    /// Rows are read in order, so a chunk must stay in the cache until its last row is read:
    /// otherwise it is read and uncompressed once per call.
    void enlarge_cache(const std::string& dataset) {
        if (H5Pget_layout(properties_.get()) != H5D_CHUNKED) {
            return;
        }
        hsize_t chunk[2] = {0, 0};
        if (H5Pget_chunk(properties_.get(), 2, chunk) != 2 || chunk[0] == 0 || chunk[1] == 0) {
            fail("%s: %s", where_.c_str(), hdf5_error().c_str());
        }
        const uint64_t chunks = checked_add(uint64_t(d_), chunk[1] - 1, where_.c_str()) / chunk[1];
        const uint64_t across = checked_mul(chunks, chunk[1], where_.c_str());
        const uint64_t stripe = checked_mul(checked_mul(across, chunk[0], where_.c_str()),
                                            H5Tget_size(type_.get()), where_.c_str());
        const size_t cache = size_t(std::clamp<uint64_t>(stripe, kMinCache, kMaxCache));
        const Id access(H5Pcreate(H5P_DATASET_ACCESS));
        H5Pset_chunk_cache(access.get(), kCacheSlots, cache, H5D_CHUNK_CACHE_W0_DEFAULT);
        dataset_ = Id(); // the cache's size is fixed by the first opening
        dataset_ = Id(H5Dopen2(file_.get(), dataset.c_str(), access.get()));
        if (!dataset_.valid()) {
            fail("%s: %s", where_.c_str(), hdf5_error().c_str());
        }
    }

    void read_block(int64_t first, int64_t count, hid_t memory_type, void* out) {
        const SilencedErrors silenced;
        const hsize_t start[2] = {hsize_t(first), 0};
        const hsize_t sizes[2] = {hsize_t(count), hsize_t(d_)};
        const Id memory(H5Screate_simple(2, sizes, nullptr));
        if (!memory.valid() ||
            H5Sselect_hyperslab(space_.get(), H5S_SELECT_SET, start, nullptr, sizes, nullptr) < 0 ||
            H5Dread(dataset_.get(), memory_type, memory.get(), space_.get(), H5P_DEFAULT, out) <
                    0) {
            fail("%s: cannot read %lld rows at row %lld: %s", where_.c_str(),
                 static_cast<long long>(count), static_cast<long long>(first),
                 hdf5_error().c_str());
        }
    }

    std::string where_;
    // In this order, so that the file is released last.
    Id file_;
    Id dataset_;
    Id type_;
    Id space_;
    Id properties_;
};

} // namespace

std::unique_ptr<VectorReader> open_hdf5(const std::string& path, const VectorFileOptions& options,
                                        Content content) {
    const std::string dataset = !options.dataset.empty()     ? options.dataset
                                : content == Content::labels ? "neighbors"
                                                             : "train";
    auto reader = std::make_unique<Hdf5Reader>(path, dataset, content);
    if (options.d != 0 && options.d != reader->d()) {
        fail("%s: expected dimension %d as given, the dataset '%s' has %d", path.c_str(), options.d,
             dataset.c_str(), reader->d());
    }
    return reader;
}

} // namespace vector_file
} // namespace faiss_vlc
