#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/lib/uncleared.h>
#include <faiss_vlc/model/lattice.h>
#include <faiss_vlc/model/routing.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/ranks.h>
#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// The sample that training sees: rows of the caller's data in random order, the last ones held
/// out.
struct Sample {
    Shape shape;
    std::vector<int64_t> rows; ///< n indices into the caller's vectors
    int64_t first_kept = 0;    ///< from this row on the vectors themselves are kept
    Uncleared<float> x;        ///< (n - first_kept) x d
    Lattice lattice;
    Routing routing;            ///< if lengths differ much; without anchors
    Uncleared<int8_t> x8;       ///< rows x dp: of n rows, or of those that this process holds; on
                                ///< the routing's lattice if it is used
    std::vector<int8_t> head8;  ///< the first 2 m rows, if there are several processes
    Share share;                ///< what this process holds of the rows
    std::vector<int8_t> local8; ///< see local_rows.h; none unless a pace is to be chosen

    /// Queries that the caller gave, as vectors of d components; empty: none.
    std::vector<float> queries;
    /// The shape of x8.
    Shape shape8() const {
        Shape routed = shape;
        if (routing.used()) {
            routed.d = routing.lattice.d;
            routed.dp = routing.dp();
        }
        return routed;
    }

    /// The first 2 m rows (at most n).
    const int8_t* head() const { return head8.empty() ? x8.data() : head8.data(); }
    /// Row i, at least first_kept.
    const float* vector(int64_t i) const { return &x[size_t(i - first_kept) * shape.d]; }
};

/// Rows that a sample keeps as vectors, for choices that are made on the last ones.
constexpr int64_t kKeptRows = 33 * 1024;

/// The number of anchors for n vectors to index and n_train to train on: about 4 sqrt(n), with 39
/// training vectors for each.
int choose_anchors(int64_t n, int64_t n_train);

/// How many rows a sample for m anchors has at most: max_points_per_anchor for each. Where that is
/// left as it is, few anchors have more, as codebooks and choices are made by the sample as well.
int64_t most_rows(int64_t m, int d, const VLCParameters& params);

/// Draws and quantizes the sample. Throws if there are fewer vectors than anchors. Of several
/// processes each gives vectors of its own: the sample is that of all of them, in order. by_length:
/// vectors may be routed by direction and length, if their lengths differ much.
Sample draw_sample(int64_t n, int d, const float* x, const VLCParameters& params,
                   const Ranks& processes = {}, bool by_length = false);

/// How vectors (float n x d, a sample's part in random order) are to be routed to m lists for inner
/// products, without anchors; not used() where their lengths differ little. Of a few weights of the
/// length it takes the one with which a small training finds neighbours among the fewest vectors.
/// scale: of a lattice that fits them.
Routing fit_routing(int64_t n, int d, const float* x, int64_t m, float scale);

/// Queries that choices are made by at most; of more, as many are taken at even steps.
constexpr int64_t kMaxQueries = 4096;

/// Of the queries of all processes (float n x d of this one), in their order, those that choices
/// are made by. A copy.
std::vector<float> draw_queries(int64_t n, int d, const float* x, const Ranks& processes = {});

} // namespace faiss_vlc
