#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <faiss_vlc/container/input_file.h>
#include <faiss_vlc/vectors/vector_file.h>

/// What the parts of vector_file share. Not for users of the library.
namespace faiss_vlc {
namespace vector_file {

/// Does a file of this type hold integers, which may be labels?
bool holds_integers(DType dtype);
/// Integers of more than 16 bits, which .npy and raw files hold labels as: float32 would round
/// some.
bool is_label_only(DType dtype);

/// Lower case, with the dot; empty if the name has none.
std::string extension_of(const std::string& path);

/// n rows of d values at `offset`; each starts with an int32 that equals d if has_prefix.
struct FlatLayout {
    uint64_t offset = 0;
    int64_t n = 0;
    int d = 0;
    DType dtype = DType::f32;
    bool has_prefix = false;
};

/// The layout that a .npy header declares, not yet compared with the file's size.
FlatLayout parse_npy_header(const InputFile& file);
/// The bytes before the data, of version 1.0.
std::string make_npy_header(DType dtype, int d, int64_t n);

enum class Content { vectors, labels };

std::unique_ptr<VectorReader> open_flat(const std::string& path, const std::string& extension,
                                        const VectorFileOptions& options, Content content);
std::unique_ptr<VectorReader> open_hdf5(const std::string& path, const VectorFileOptions& options,
                                        Content content);

} // namespace vector_file
} // namespace faiss_vlc
