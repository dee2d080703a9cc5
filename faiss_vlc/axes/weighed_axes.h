#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/axes/frame.h>

namespace faiss_vlc {

struct WeighedAxes {
    Frame frame;                ///< all d axes
    std::vector<double> weight; ///< u^T W u of each axis u
};

/// Orthonormal axes for codes whose error e costs e^T W e. Without the demand that they be
/// orthonormal the best ones are those of L V, where W = L L^T and V are the principal axes of
/// L^T C L, C being the covariance (int64 d x d, symmetric); here each is made orthogonal to the
/// stronger ones. W (d x d): symmetric, positive definite. The same on all threads and CPUs.
WeighedAxes weighed_axes(int d, const int64_t* covariance, const std::vector<double>& weight);

} // namespace faiss_vlc
