#pragma once

#include <cstdint>

namespace faiss_vlc {

/// What training found of the nearest neighbours (10, or fewer in tiny samples) of held-out
/// vectors among other rows of its sample. A count divided by `sought` is a recall. It is that of a
/// small base of vectors like the training's: a larger base, or queries of another kind, find
/// less. All 0 in an index that is not trained, or was by a version that didn't count.
struct HeldOutRecall {
    /// Held-out vectors. Where there are none: training rows, which find themselves.
    int64_t queries = 0;
    int64_t base = 0;   ///< rows of the sample that they were compared with
    int64_t sought = 0; ///< true neighbours of all queries
    int64_t nprobe = 0; ///< the default nprobe, for in_lists and probed
    /// Those in the lists that nprobe reaches: what an exact order of their vectors finds.
    int64_t in_lists = 0;
    int64_t decoded = 0;   ///< by plain decoding (t1 = t2 = c = 0), all lists probed
    int64_t estimated = 0; ///< by the estimate, all lists probed
    int64_t probed = 0;    ///< by the estimate with nprobe lists: what a search finds by default
    /// By a product quantizer of as many bytes, all lists probed: one of 8 bits a block, trained
    /// on the same residuals, which it rounds to 8 bits a dimension. 0 where `base` is below 4096:
    /// its codebooks would know the rows by heart.
    int64_t product = 0;
    /// Those among the nearest on the int8 lattice, as many as a list has vectors (20 at least).
    int64_t on_lattice = 0;

    /// Whether a product quantizer finds clearly more: 2 % of what is sought, and what chance may
    /// add to that.
    bool below_product() const;
    /// Whether the lattice is too coarse for lists of this size: less than 3/4 are on_lattice.
    bool coarse_lattice() const { return 4 * on_lattice < 3 * sought; }
};

/// What add() counted since the last reset(); files keep it, and removing rows doesn't change it. A
/// row is outside if it is farther from its anchor than 1.25 times what nearly all of training's
/// were, or if its code catches less of it than theirs.
struct AddedRows {
    int64_t rows = 0;    ///< all that were added or updated
    int64_t outside = 0; ///< of these outside of what training saw
    int64_t twice = 0;   ///< of these over twice as far from their anchor as the bound
    float farthest = 0;  ///< the largest such distance, in bounds; 0 if there was none outside

    /// Whether there are so many that training again pays: over 5 % of at least 1000 rows.
    bool many_outside() const { return rows >= 1000 && outside > rows / 20; }
    void add(const AddedRows& other);
};

} // namespace faiss_vlc
