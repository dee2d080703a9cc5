#pragma once

#include <cstdint>

#include <faiss_vlc/train/stages/arrays.h>

namespace faiss_vlc {

/// Assignment among the neighbourhood of the last anchor: a row that was nearest to anchor j is
/// compared with the anchors that are near j, not with all m. On 262144 x 128 SIFT rows, m = 1024
/// and lists of 128, .5 to 1 % of the rows miss their nearest anchor for one just behind it.

/// Anchors per list, rounded up to whole tiles of 16.
inline int near_stride(int length) {
    return (length + 15) / 16 * 16;
}

/// Per anchor the `length` (1 to m) anchors nearest to it, ties to the smaller number, in ascending
/// order. Each is in its own list. list int32 m x near_stride(length), padded with -1.
void near_lists(int m, int dp, int length, const int8_t* anchors8, const int32_t* norm,
                int32_t* list);

/// Which list each row is compared with.
struct NearLists {
    int length;
    const int32_t* list;     ///< m x near_stride(length), see near_lists
    const int32_t* previous; ///< rows, 0 to m - 1: the anchor whose list it is
};

/// assign_rows with the list of a row's previous anchor in place of all anchors: class `position in
/// the list mod 16`, ties to the smaller number. There have to be biases.
void assign_near_rows(int64_t n, const int8_t* x, const AnchorView& anchors, const NearLists& lists,
                      const Assigned& to);

} // namespace faiss_vlc
