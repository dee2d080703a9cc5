#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <faiss_vlc/codec/estimator.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/query/anchor_ranking.h>
#include <faiss_vlc/query/level_query.h>
#include <faiss_vlc/query/refinement.h>
#include <faiss_vlc/query/word_tables.h>

namespace faiss_vlc {

/// What goes by a whole query; with it each component can be prepared by itself, as a device does.
struct QueryHead {
    enum Kind {
        kUsual,
        kExtreme,  ///< too large for arithmetic that is the same everywhere
        kUnusable, ///< NaN or infinite
    };
    Kind kind = kUsual;
    float rank_scale = 0;     ///< makes the integer components that are ranked by
    float rank_norm = 0;      ///< of these
    int rank_shift = 0;       ///< OffLattice::shift
    bool rank_far = false;    ///< OffLattice::far
    float rotation_scale = 0; ///< see Frame::scaling
    float unit = 0;
    float penalty = 0; ///< see Estimator::product_penalty
    float norm = 0;    ///< |q|, inner products
    float base = 0;    ///< <q, mean> in squared lattice units, inner products
};

/// Turns estimates of the scan into the metric's distance in the data's units; base: the query's.
class MetricDistance {
public:
    explicit MetricDistance(const Model& model)
        : inner_product_(model.metric == faiss::METRIC_INNER_PRODUCT),
          unit_(1.0 / (double(model.lattice.scale) * model.lattice.scale)) {}

    float operator()(float base, float estimate) const {
        constexpr double kMost = std::numeric_limits<float>::max();
        const double met = inner_product_ ? double(base) - estimate : std::max(0.0f, estimate);
        return float(std::min(kMost, std::max(-kMost, met * unit_)));
    }

private:
    bool inner_product_;
    double unit_;
};

/// One query against a model: ranks anchors and prepares lists. Holds scratch; one per thread.
class Query {
public:
    /// Ranks with the given ranking of the same model, which has to live on, or with one of its
    /// own; the same of tables of words.
    explicit Query(const Model& model, AnchorRanking* ranking = nullptr,
                   WordTables* words = nullptr);

    /// float d; false if a component is NaN or infinite.
    bool set(const float* x);

    /// The same vector's head. Leaves nothing set.
    QueryHead head(const float* x);

    /// What it is ranked by, to be scored together with others'.
    const RoundedQuery& rounded() const { return rounded_; }

    /// The nprobe best lists (at most m), best first: by int8 distance, or inner product; ties to
    /// the smaller number. width and sorted: see AnchorRanking::nearest.
    const std::vector<int64_t>& rank(int nprobe, int width = 0, bool sorted = true);

    /// Says that list j will be asked for, so that its frame may be rotated into before; whether
    /// that is still to be done; and does it for 2 to kTogether queries that are set.
    void want(int j);
    bool wants(int frame) const { return rotation_[frame] == Rotation::wanted; }
    static void rotate_together(int count, Query* const* queries, int frame);
    /// The same of the second tier's frame, where the model is one whose refining turns queries.
    static void turn_together(int count, Query* const* queries);

    /// Fetches into the cache what list(j) will read of this query's; and of the model's, whichever
    /// query it is.
    void prefetch(int j) const;
    static void prefetch(const Model& model, int j);

    /// Says that these lists will be asked for next, one after the other: of words some of their
    /// tables are made together.
    void look_ahead(size_t count, const int64_t* lists) {
        ahead_ = lists;
        ahead_end_ = words_ && !scan_.inner_product ? lists + count : lists;
    }

    /// Sets ListScan::ahead of the list that is prepared.
    void fetch_meanwhile(const uint8_t* ahead) { scan_.ahead = ahead; }

    /// Prepares a scan of list j, see list_scan.h. Valid until the next call, or that of a query
    /// which shares the tables of words.
    const ListScan& list(int j) { return is_usual_ ? level_list(j) : any_list(j); }

    /// Prepares `by` for list j of a model with two tiers, unless it is. It was told to forget()
    /// since it was used for another query.
    void prepare(Refinement& by, int j);
    /// And takes the estimate of a vector of that list by its first and second code.
    float refined(Refinement& by, int j, const uint8_t* first, const uint8_t* second) {
        prepare(by, j);
        return by.estimate(first, second);
    }

    float distance(float estimate) const { return in_metric_(base_, estimate); }
    /// And back (a bound for range_search).
    float estimate(float distance) const;
    /// A wider bound: nearly all vectors whose estimate by both tiers is within `bound` have one by
    /// the first tier within this. For range searches, which scan by the first tier.
    float widened(float bound) const;
    /// The unit of SecondTier::range_slack, for estimates near this one.
    float slack_unit(float estimate) const;

private:
    const Model& model_;
    MetricDistance in_metric_;
    const Simd::Scan& kernels_;
    size_t slots_; ///< the model's
    Estimator::Steps steps_;
    float root_energy_;          ///< of the estimator's energy
    bool is_usual_;              ///< squared distances, codes of levels, anchors of int8
    std::vector<float> lattice_; ///< dp; for inner products without the mean taken off
    float rank_scale_ = 1;
    std::vector<int16_t> scaled_; ///< see Frame::quantize
    float unit_ = 0;
    std::unique_ptr<float[]> rotated_; ///< frames x slots, as far as lists have asked for it
    enum class Rotation : uint8_t { none, wanted, done };
    std::vector<Rotation> rotation_; ///< per frame
    std::vector<float> turned_;      ///< in the second tier's frame, if it is turned
    bool is_turned_ = false;
    std::vector<float> zero_;
    RoundedQuery rounded_;
    std::unique_ptr<AnchorRanking> own_ranking_;
    AnchorRanking& ranking_;
    std::vector<int64_t> order_;
    float norm_ = 0;                     ///< |q|, inner products
    float base_ = 0;                     ///< <q, mean> in squared lattice units, inner products
    float dot_scale_ = 0;                ///< of the query itself, inner products
    int frame_ = -1;                     ///< that the query's side is prepared for, inner products
    std::unique_ptr<LevelQuery> levels_; ///< null: codes of words
    std::unique_ptr<WordTables> own_words_;
    WordTables* words_;              ///< null: codes of levels
    int64_t words_made_ = -1;        ///< for this query, as WordTables::made() counts
    const int64_t* ahead_ = nullptr; ///< lists that will be asked for, see look_ahead()
    const int64_t* ahead_end_ = nullptr;
    int tables_ = 0; ///< that words_made_ made, of the lists in made_for_
    int made_for_[WordTables::kAhead] = {};
    float made_at_[WordTables::kAhead] = {}; ///< and these lists' distances
    ListScan scan_{};

    bool set_lattice(const float* x);
    void round_to_ranks();
    void set_product_terms();
    const ListScan& level_list(int j);
    const ListScan& any_list(int j);
    void set_terms(float length, float dot_scale);
    float* rotation(int frame) const { return &rotated_[size_t(frame) * slots_]; }
    const float* rotated(int frame) {
        if (rotation_[frame] != Rotation::done) {
            rotate(frame);
        }
        return rotation(frame);
    }
    void rotate(int frame);
    const float* turned();
    void take_planes();
    float prepare_levels(const float* y, const float* base, int j);
    float prepare_words(const float* y, const float* base);
    float prepare_words_of(int j);
    float take_words();
    void make_words_of(int j);
};

} // namespace faiss_vlc
