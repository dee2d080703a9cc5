#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/train/sample.h>

namespace faiss_vlc {

/// What training knows of outliers on the host; their weights are reduce.h's.

constexpr int64_t kTypicalRows = 16384; ///< that show what is typical

/// What squared distances typically are, as outliers don't move them.
struct Typical {
    int64_t tau2 = 0;   ///< (kappa median distances)^2: beyond this a row is an outlier
    double inliers = 1; ///< share of the energy that is left when outliers count as tau2
};

/// Of the first training rows, which are in random order; dist is reordered. Where nothing lies
/// beyond tau2 the share is exactly 1.
Typical typical_distances(int64_t n_train, float kappa, std::vector<int32_t>& dist);

/// m rows to start anchors from: the first that aren't over three times as far from the middle as
/// the median row, for an outlier would keep the anchor it is given. Simply the first m when robust
/// is none, or when too few of the first 2 m are left.
std::vector<int64_t> starting_rows(const Sample& sample, Robust robust);

} // namespace faiss_vlc
