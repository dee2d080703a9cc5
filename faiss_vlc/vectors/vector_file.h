#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace faiss_vlc {

/// Files of vectors and of labels: streaming readers and writers.
///
/// The format goes by the extension (any case):
///   .fvecs .bvecs .ivecs   rows of an int32 dimension and that many float32, uint8 or int32
///   .npy                   NumPy array (n, d), versions 1 to 3, little-endian, C order: float32,
///                          float16, float64, bool and integers of 8 or 16 bits; labels are
///                          integers of any size, and those of 32 and 64 bits are labels only
///   .hdf5 .h5              the ann-benchmarks layout: datasets `train`, `test`, `neighbors`,
///                          each (n, d) of any numeric type. libhdf5 parses them, and a file made
///                          to harm it can: take HDF5 from sources that you trust
///   anything else          raw rows, nothing between them: float32, float16, float64 or integers
///                          of 8 or 16 bits
///
/// float64 is rounded to float32; a finite value beyond float32's range is an error that names its
/// row and column. What cannot be read is refused by the name of its type or format, and the error
/// says how to convert it.
///
/// Every error is a faiss::FaissException that names the file, what was expected and what was met.
/// Sizes that a file claims are checked against its length before anything is allocated.
/// NaN and infinity are read as they are: see lib/finite.h.

enum class DType { f32, f16, u8, i8, i32, i64, f64, boolean, i16, u16, u32, u64 };

/// "float32", "float16", "uint8", "int8", "int32", "int64", "float64", "bool", "int16", "uint16",
/// "uint32", "uint64".
const char* dtype_name(DType dtype);
/// Bytes of one value.
size_t dtype_size(DType dtype);
/// Takes the names above and the short ones ("f32"; "b1" for bool); throws for others.
DType dtype_from_name(const std::string& name);

struct VectorFileOptions {
    /// Dimension and type ("float32", "float16", "float64", "uint8", "int8", "uint16", "int16") of
    /// a raw file, which needs both. Other formats say themselves; what is given here is then
    /// compared with the file (HDF5 converts types, so there only d is).
    int d = 0;
    std::string dtype;
    /// HDF5: the dataset's name. Empty: `train` for vectors, `neighbors` for labels. Other formats
    /// ignore it.
    std::string dataset;
};

/// Row-major n x d.
template <class T>
struct Matrix {
    int64_t n = 0;
    int d = 0;
    std::vector<T> data;
};

/// Reads rows in order, with a buffer of about 1 MB whatever the file's size (HDF5: of a row of
/// chunks, if that is more). One thread at a time; different readers are independent, for HDF5 if
/// its library is a thread-safe build (Debian's is). The file must not change meanwhile; one that
/// shrinks gives an error.
class VectorReader {
public:
    virtual ~VectorReader() = default;
    VectorReader(const VectorReader&) = delete;
    VectorReader& operator=(const VectorReader&) = delete;

    /// Rows, at least 1.
    int64_t n() const { return n_; }
    /// Values in a row, at least 1.
    int d() const { return d_; }
    /// Type in the file (HDF5: the nearest one).
    DType dtype() const { return dtype_; }

    /// Reads the next rows, at most `count`, into out (at least min(count, rows left) x d) and
    /// returns how many: 0 at the end. After an error the position is where it was.
    int64_t read(int64_t count, float* out);
    /// The same as integers; the file must hold integers, and no value above 2^63 - 1.
    int64_t read(int64_t count, int64_t* out);

    /// The next read starts at this row, 0 <= row <= n.
    void seek(int64_t row);

protected:
    VectorReader() = default;
    virtual void read_rows(int64_t first, int64_t count, float* out) = 0;
    virtual void read_rows(int64_t first, int64_t count, int64_t* out) = 0;

    std::string path_;
    int64_t n_ = 0;
    int d_ = 0;
    DType dtype_ = DType::f32;

private:
    template <class T>
    int64_t read_next(int64_t count, T* out);

    int64_t next_ = 0;
};

/// Opens a file of vectors and checks all that can be checked without reading it through.
/// A .npy file of integers of 32 or 64 bits is refused: it holds labels.
std::unique_ptr<VectorReader> open_vectors(const std::string& path,
                                           const VectorFileOptions& options = {});

/// The first max_rows rows (all of them if negative) as float32.
Matrix<float> read_vectors(const std::string& path, const VectorFileOptions& options = {},
                           int64_t max_rows = -1);

/// Labels, such as exact neighbours: .npy of integers, .ivecs, or an HDF5 dataset of integers
/// (`neighbors` if not named). Values are returned as they are, -1 included.
Matrix<int64_t> read_labels(const std::string& path, const std::string& dataset = "");

/// Writes n rows of d values, through a temporary file (see AtomicFile): the target appears, or
/// is replaced, in close(). Destruction without close() leaves no trace. One thread at a time.
class VectorWriter {
public:
    virtual ~VectorWriter() = default;
    VectorWriter(const VectorWriter&) = delete;
    VectorWriter& operator=(const VectorWriter&) = delete;

    /// Appends count rows; the first form for DType::f32, the second for i32 and i64, where a
    /// value that does not fit the file's integers is an error. More than n rows are an error.
    virtual void append(const float* rows, int64_t count) = 0;
    virtual void append(const int64_t* rows, int64_t count) = 0;

    /// Makes the file durable and visible. Fewer than n rows are an error.
    virtual void close() = 0;

protected:
    VectorWriter() = default;
};

/// By extension: .npy for f32, i32 and i64, .fvecs for f32, .ivecs for i32 and i64 (whose values
/// must fit int32); descriptors such as /dev/stdout take .npy. Others are refused before anything
/// is written. n may be 0 (the readers call such a file empty), d must not.
std::unique_ptr<VectorWriter> create_vectors(const std::string& path, DType dtype, int d,
                                             int64_t n);

} // namespace faiss_vlc
