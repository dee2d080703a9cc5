#pragma once

#include <array>
#include <cstdint>

#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/stages/arrays.h>

namespace faiss_vlc {

/// round(256 exp(-u / 32)): Gibbs weights by the excess of squared distance in units of T / 32.
const std::array<int16_t, 256>& gibbs_table();

/// Weights in [0, 256] of one row towards its neighbours: Gibbs weights over squared distance plus
/// bias, which share 256 among them, times the robust weight of each distance.
/// Huber: 1 within tau = sqrt(tau2), tau / distance beyond (Huber, 1964); trim: 1 or 0.
void row_weights(int neighbours, const int32_t* label, const int32_t* dist, const int32_t* bias,
                 const ReduceParams& params, int32_t* weights);

/// Sums over the training rows, exact and so in any order.
void reduce_rows(const Shape& shape, const int8_t* x, const int32_t* label, const int32_t* dist,
                 const int32_t* bias, const ReduceParams& params, const AnchorSums& sums);

} // namespace faiss_vlc
