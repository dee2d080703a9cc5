#pragma once

#include <algorithm>
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

/// Parts that a CPU's kernels take rows in to sort them by anchor, each with counts of its own. A
/// part has as many rows as anchors at least, so that its counts cost less than its rows. No fewer
/// for more rows.
inline int32_t row_parts(int64_t rows, int m, uint32_t compute_units) {
    const int64_t most = std::max<int64_t>(1, rows / std::max(m, 1024));
    return int32_t(std::min<int64_t>(most, 4 * int64_t(std::max<uint32_t>(compute_units, 1))));
}

} // namespace faiss_vlc
