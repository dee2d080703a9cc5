#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/query/off_lattice.h>

namespace faiss_vlc {

/// A query as anchors are ranked for it.
struct RoundedQuery {
    std::vector<int8_t> x;   ///< dp; off the lattice: the high bytes
    std::vector<int8_t> low; ///< dp; only there
    OffLattice off;
    float norm = 0; ///< |x|, where the model's ranks have reach

    explicit RoundedQuery(int dp) : x(dp), low(dp) {}
};

/// Finds the anchors, and so the lists, that are nearest to queries: the only way to them for
/// single queries, groups, the quantizer and add(), so that how they are found is decided here.
/// Holds scratch of the size of all anchors; one per thread.
class AnchorRanking {
public:
    /// How many queries of a group to score together: more gain nothing.
    static int at_once(const Model& model);

    /// Keeps the scores of at most `most` <= kManyTogether queries.
    explicit AnchorRanking(const Model& model, int most = 1);

    /// Scores all anchors for count <= most queries, each another one, for the nearest() that
    /// follows. From kTogether on they take less time than one by one.
    void score(int count, const RoundedQuery* const* queries);

    /// Sets `order` to the n best anchors of a query (at most m), best first: by int8 distance, or
    /// inner product, with the lists' bias; ties to the smaller number. Scores them if that was not
    /// done or is forgotten.
    void nearest(const RoundedQuery& query, int n, std::vector<int64_t>& order);

    /// The query changes, or goes.
    void forget(const RoundedQuery& query);

    /// The nearest anchor of each row (as Model::to_assign makes them), the first of equal ones,
    /// whatever the bias: where vectors are added.
    static void assign(const Model& model, int rows, const int8_t* x, int32_t* label);
    /// Then those of rows off the lattice (x: as to_assign makes them of `row`, float rows x d).
    static void assign_off_lattice(const Model& model, int rows, const float* row, const int8_t* x,
                                   int32_t* label);

private:
    /// Scores, and whose they are.
    struct Scored {
        const RoundedQuery* query = nullptr;
        std::vector<int32_t> score;
    };
    const Model& model_;
    std::vector<Scored> scored_;
    std::vector<int32_t> minima_, spare_;
    std::vector<uint64_t> found_;

    Scored* find(const RoundedQuery& query);
    void add_reach(Scored& scored) const;
};

} // namespace faiss_vlc
