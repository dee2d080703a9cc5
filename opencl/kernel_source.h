#pragma once

namespace faiss_vlc {

/// OpenCL C text of opencl/<stem>.cl, embedded when building (embed_kernels.cmake).
/// Zero-terminated, lives as long as the process; throws when there is no such file.
const char* kernel_source(const char* stem);

} // namespace faiss_vlc
