#pragma once

#include <cstdint>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>

namespace faiss_vlc {

/// Throws for sizes whose products leave the kernels' int.
inline void check_sizes(int64_t n, int m, int d, int neighbours) {
    constexpr int kMaxRows = 1 << 30;
    if (n < 0 || n > kMaxRows / neighbours || m < 1 || d < 1 || d > kMaxDim) {
        fail("OpenCL training takes at most %d rows x neighbours and %d dimensions: "
             "got %lld x %d rows, %d anchors, %d dimensions",
             kMaxRows, kMaxDim, (long long)n, neighbours, m, d);
    }
}

} // namespace faiss_vlc
