#include <algorithm>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/vectors/vector_file.h>
#include <faiss_vlc/vectors/vector_file_internal.h>

namespace faiss_vlc {

namespace {

std::unique_ptr<VectorReader> open_any(const std::string& path, const VectorFileOptions& options,
                                       vector_file::Content content) {
    const std::string extension = vector_file::extension_of(path);
    if (extension == ".hdf5" || extension == ".h5") {
        return vector_file::open_hdf5(path, options, content);
    }
    return vector_file::open_flat(path, extension, options, content);
}

template <class T>
Matrix<T> read_all(VectorReader& reader, int64_t max_rows) {
    Matrix<T> matrix;
    matrix.d = reader.d();
    matrix.n = max_rows < 0 ? reader.n() : std::min(max_rows, reader.n());
    matrix.data.resize(checked_count(matrix.n, uint64_t(matrix.d), sizeof(T), "values of a file"));
    reader.read(matrix.n, matrix.data.data());
    return matrix;
}

} // namespace

std::unique_ptr<VectorReader> open_vectors(const std::string& path,
                                           const VectorFileOptions& options) {
    return open_any(path, options, vector_file::Content::vectors);
}

Matrix<float> read_vectors(const std::string& path, const VectorFileOptions& options,
                           int64_t max_rows) {
    return read_all<float>(*open_vectors(path, options), max_rows);
}

Matrix<int64_t> read_labels(const std::string& path, const std::string& dataset) {
    VectorFileOptions options;
    options.dataset = dataset;
    return read_all<int64_t>(*open_any(path, options, vector_file::Content::labels), -1);
}

} // namespace faiss_vlc
