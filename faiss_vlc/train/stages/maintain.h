#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/stages/arrays.h>

namespace faiss_vlc {

/// The nearest other anchor of each anchor and its squared distance (ties to the smaller index);
/// -1 and INT32_MAX where there is no other.
void nearest_anchors(int m, int dp, const int8_t* anchors8, const int32_t* norm, int32_t* label,
                     int32_t* dist);

/// Applies moves. merge: dst becomes the mean of dst and src weighted by their counts (at least 1
/// each). split: dst and src become src plus and minus a random offset of about .3 of its spread;
/// dst takes over src's bias.
void apply_moves(const Shape& shape, const Move* moves, int move_count, const int32_t* count,
                 const AnchorArrays& anchors);

/// Snaps anchors to the grid they are stored on, and spreads to float16.
void quantize_anchors(const Shape& shape, AnchorGrid grid, int32_t* anchor, int8_t* anchor8,
                      int32_t* norm, int32_t* spread);

struct MaintainParams {
    float merge_fraction = 0.25f; ///< of the mean distance between nearest anchors
    float split_factor = 4.0f;    ///< times the mean list size, or the mean list energy
};

/// What moves are planned by, per anchor.
struct AnchorStatistics {
    const int32_t* count;      ///< m
    const int64_t* energy;     ///< m
    const int32_t* near_label; ///< m, see nearest_anchors
    const int32_t* near_dist;  ///< m
};

/// Moves that are to be applied in this order, and the scratch of planning them.
struct MovePlan {
    MovePlan() = default;
    /// With room for m anchors, so that planning allocates nothing.
    explicit MovePlan(int m);
    void clear();

    std::vector<Move> merges, splits;
    std::vector<int32_t> order;
    std::vector<uint8_t> touched;
};

/// Decides what to merge and to split. The number of anchors stays: an anchor without vectors, or
/// one merged into its neighbour, is the other half of a split. Empty anchors are always used, a
/// merge happens only where an anchor is too big.
void plan_moves(const Shape& shape, const MaintainParams& params, uint32_t salt,
                const AnchorStatistics& anchors, MovePlan& plan);

} // namespace faiss_vlc
