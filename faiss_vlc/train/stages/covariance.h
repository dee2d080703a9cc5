#pragma once

#include <cstdint>

#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// int64 d x d: sum over the `count` sample rows in `rows` of u u^T with u = x_i - a8 of the row's
/// nearest anchor (int32 n x neighbours labels). Exact, so the order of summation does not matter.
void residual_covariance(const Shape& shape, const int8_t* x, const int8_t* anchors8,
                         const int32_t* label, const int32_t* rows, int64_t count, int64_t* sums);

/// Whether the CPU's level (kernels/simd.h) has loops for this that beat compiled kernels.
bool has_covariance_loops();

/// The same by those loops, on OpenMP's threads. Each takes 4 dp^2 + 512 dp bytes.
void covariance_by_loops(const Shape& shape, const int8_t* x, const int8_t* anchors8,
                         const int32_t* label, const int32_t* rows, int64_t count, int64_t* sums);

} // namespace faiss_vlc
