#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/train/stages/arrays.h>

namespace faiss_vlc {

// assign.h and near.h by the loops of the CPU's level (kernels/simd.h), for rows and anchors that
// lie as devices have them. On OpenMP's threads.

/// Whether the level has more than what compilers of kernels know of: a unit for tiles.
bool loops_beat_kernels();

/// Anchors in the tiles of kernels/simd.h's AnchorTiles.
struct PackedAnchors {
    int m;
    int dp;
    const int8_t* packed;  ///< (m padded to 16) x dp
    const int32_t* offset; ///< m padded to 16: norm + bias; INT32_MAX where it pads
    const int32_t* norm;   ///< m
};

/// assign_rows; square (n): |x|^2 of each row.
void assign_rows_by_loops(int64_t n, const int8_t* x, const int32_t* square,
                          const PackedAnchors& anchors, const Assigned& to);

/// Rows sorted by the anchor that they were nearest to.
struct SortedRows {
    const int8_t* x;
    const int32_t* square;
    const int32_t* first; ///< m + 1: where in `order` an anchor's begin
    const int32_t* order;
};

/// assign_near_rows; list: m x near_stride(length), see near.h.
void assign_near_by_loops(const SortedRows& rows, const AnchorView& anchors, int length,
                          const int32_t* list, const Assigned& to);

/// Scores of anchors among each other, from which lists of near ones are chosen. Keeps two numbers
/// an anchor.
class NearScores {
public:
    /// Before the first score() of these anchors.
    void begin(const AnchorView& anchors);
    /// |a_o|^2 - 2 <a_o, a_j> of `count` anchors j from `begin` on: score (count x padded, a
    /// multiple of 16). An anchor gets INT32_MIN for itself, what pads m to 16 INT32_MAX. packed:
    /// as PackedAnchors has it.
    void score(const AnchorView& anchors, const int8_t* packed, int begin, int count, int padded,
               int32_t* score) const;

private:
    std::vector<int32_t> offset_, component_sum_;
};

} // namespace faiss_vlc
