#pragma once

#include <cstdint>

namespace faiss_vlc {

/// What the stages work on: arrays of the caller's.

/// Anchors as rows are compared with them.
struct AnchorView {
    int m;
    int dp;
    const int8_t* anchors8;        ///< m x dp
    const int32_t* norm;           ///< m, of these
    const int32_t* bias = nullptr; ///< m; null: none
};

/// What assigning leaves of each row: its nearest anchors, at most `neighbours`.
struct Assigned {
    int neighbours;
    int32_t* label; ///< rows x neighbours
    int32_t* dist;  ///< rows x neighbours, squared, without bias
};

/// All that updates and moves change.
struct AnchorArrays {
    int32_t* anchor; ///< m x dp, fixed point
    int8_t* anchor8; ///< m x dp
    int32_t* norm;   ///< m, of anchor8
    int32_t* spread; ///< m
    int32_t* bias;   ///< m
};

/// Sums over the training rows, per anchor.
struct AnchorSums {
    int64_t* weight; ///< m, over all neighbours
    int64_t* sum;    ///< m x dp, weighted, over all neighbours
    int32_t* count;  ///< m, of the rows nearest to it
    int64_t* energy; ///< m, of the same rows
};

} // namespace faiss_vlc
