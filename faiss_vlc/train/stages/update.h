#pragma once

#include <cstdint>

#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/stages/arrays.h>

namespace faiss_vlc {

/// int8 copies (m x dp) and their squared norms (m) of anchors [first, first + count).
void refresh_anchors(int first, int count, int dp, const int32_t* anchor, int8_t* anchor8,
                     int32_t* norm);

/// Moves each anchor that has weight towards its mean by step / 256 of the way, each component by
/// at most max_step; then its spread (RMS distance of its rows, kSpreadBits fraction bits: the
/// scale of the anchor's diagonal Jacobian) and its bias: bias_scale per doubling of the list size
/// over the mean, plus noise.
void update_anchors(const Shape& shape, const UpdateParams& params, const AnchorSums& sums,
                    const AnchorArrays& anchors);

} // namespace faiss_vlc
