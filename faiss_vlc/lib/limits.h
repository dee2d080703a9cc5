#pragma once

namespace faiss_vlc {

/// Dimensions of a vector. Squared distances of int8 vectors with a bias stay within int32 up to
/// here.
constexpr int kMaxDim = 16384;

/// Beyond, training stores no covariance: the matrix would be larger than the sample.
constexpr int kMaxCovarianceDim = 4096;

constexpr int kMaxLists = 1 << 20; ///< and anchors, one a list

} // namespace faiss_vlc
