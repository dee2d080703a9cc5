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
/// Where the model has regions it looks into the nearest ones only. It ranks all anchors for
/// queries far off the lattice, which lie where training had none. Holds scratch of the size of
/// what it ranks; one per thread.
class AnchorRanking {
public:
    static constexpr int kMost = 64; ///< queries at once

    /// How many queries of a group to score together: more gain nothing.
    static int at_once(const Model& model, int width);

    /// Keeps the scores of at most `most` <= kMost queries.
    explicit AnchorRanking(const Model& model, int most = 1);

    /// Scores all anchors, or those of the regions that each looks into, for count <= most queries,
    /// each another one, for the nearest() that follows with this width. What several look into is
    /// loaded once for all of them.
    void score(int count, const RoundedQuery* const* queries, int width = 0);

    /// Sets `order` to the n best anchors of a query (at most m), best first: by int8 distance, or
    /// inner product, with the lists' bias; ties to the smaller number. It looks into as many
    /// regions as for `width` anchors, at least n: with m into all. With the same width, fewer
    /// anchors are the first of more. Scores them if that was not done or is forgotten.
    /// Not sorted, the first is the best and the others are in any order.
    void nearest(const RoundedQuery& query, int n, int width, std::vector<int64_t>& order,
                 bool sorted = true);
    void nearest(const RoundedQuery& query, int n, std::vector<int64_t>& order) {
        nearest(query, n, n, order);
    }

    /// The regions with these centres, nearest first; ties to the smaller number.
    static void order_regions(const Model& model, const RankTables& centres,
                              const RoundedQuery& query, std::vector<int32_t>& order);

    /// The query changes, or goes.
    void forget(const RoundedQuery& query);

    /// The nearest anchor of each row (as Model::to_assign makes them), the first of equal ones,
    /// whatever the bias: where vectors are added.
    static void assign(const Model& model, int rows, const int8_t* x, int32_t* label);
    /// Then those of rows off the lattice (x: as to_assign makes them of `row`, float rows x d).
    static void assign_off_lattice(const Model& model, int rows, const float* row, const int8_t* x,
                                   int32_t* label);

private:
    /// Anchors that lie in a row in the tables of regions.
    struct Run {
        int score; ///< where their scores begin
        int first; ///< the first one's place in the tables
    };
    /// Regions in a row that the same queries look into.
    struct RegionRun {
        int first, end;
        uint64_t lookers; ///< a bit for each query
    };
    /// Scores, and whose they are.
    struct Scored {
        const RoundedQuery* query = nullptr;
        int regions = 0; ///< that it looks into; 0: all anchors
        int padded = 0;  ///< scores, those that pad tiles included
        std::vector<int32_t> score;
        std::vector<Run> runs; ///< in order of both; with regions only
    };
    const Model& model_;
    std::vector<Scored> scored_;
    std::vector<int32_t> minima_, spare_, of_centres_;
    std::vector<uint64_t> found_;
    std::vector<uint64_t> lookers_; ///< by region, of several queries: see RegionRun
    std::vector<RegionRun> runs_;

    Scored* find(const RoundedQuery& query);
    int regions_for(const RoundedQuery& query, int width) const;
    void score_all(int count, Scored* const* scored);
    void score_regions(int count, Scored* const* scored);
    void choose_regions(int count, Scored* const* scored);
    void add_run(int region, uint64_t lookers);
    void score_tiles(const AnchorTiles& tiles, int count, const RoundedQuery* const* queries,
                     int32_t* const* scores);
    void score_run(const RegionRun& run, Scored* const* scored);
    uint64_t* smallest(int n, const int32_t* scores, int k);
    int select(const Scored& scored, int n);
};

} // namespace faiss_vlc
