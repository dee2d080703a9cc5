#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <faiss/MetricType.h>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/codec/estimator.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/model/frame.h>
#include <faiss_vlc/model/lattice.h>
#include <faiss_vlc/parameters.h>

namespace faiss_vlc {

/// How an index was trained: kept in the file for `vlc info`; nothing depends on it.
struct TrainingRecord {
    int64_t n = 0;          ///< vectors of the sample
    int32_t iterations = 0; ///< that were run
    uint32_t seed = 0;
    float energy_train = 0; ///< mean squared distance to the nearest anchor, in the data's units
    float energy_held = 0;
};

/// All that training learns; immutable afterwards and shared by index and lists.
/// Everything here lives in lattice coordinates, u = (x - mean) * scale (see lattice.h); a
/// distance in the data's units is a lattice distance / scale^2.
class Model {
public:
    int d = 0;
    int m = 0;
    faiss::MetricType metric = faiss::METRIC_L2;
    Lattice lattice;
    AnchorGrid grid = AnchorGrid::int8;
    std::vector<int8_t> anchors8;    ///< m x dp: the anchors, or for float16 their rounded copies
    std::vector<uint16_t> anchors16; ///< m x d float16 bits, grid float16 only
    std::vector<float> spread;       ///< m: e_j, RMS residual of a list relative to all
    std::vector<Frame> frames;
    std::vector<uint8_t> group; ///< m: the frame of each anchor's residuals
    Layout layout;
    std::vector<float> sigma; ///< frames x axes: standard deviation of residual / spread
    Estimator estimator;
    /// Lists are ranked by |q - a_j|^2 + rank_bias * E * e_j^2, or <q, a_j> + rank_bias * |q| *
    /// sqrt(E) * e_j for inner products (E: estimator.energy). 0: by the anchor alone.
    float rank_bias = 0;
    int default_nprobe = 1;
    TrainingRecord record;

    /// Derives what search needs from the fields above; to be called once they are set.
    void finish();
    /// Sets rank_bias and what is derived from it, estimator.energy being set.
    void bias_ranks(float bias);

    int dp() const { return padded_dim(d); }
    int slots() const { return frames[0].slots(); }

    /// Anchor j as a vector (float d) in the data's units.
    void anchor(int j, float* out) const;

    const Frame& frame_of(int j) const { return frames[group[j]]; }
    /// The steps of list j's axes, per slot.
    const float* steps_of(int j) const { return &step[size_t(group[j]) * slots()]; }

    /// The nearest anchor of each row (int8 rows x dp), the first of equal ones.
    void nearest(int rows, const int8_t* x, int32_t* label) const;

    class Coder; ///< encode.h

    /// |q - a_j|^2 and <q, a_j> for q in lattice coordinates (float dp, padding 0).
    float anchor_distance(const float* q, int j) const;
    float anchor_dot(const float* q, int j) const;

    /// Decodes a packed code of list j: a_j + R^T (J_j level), in the data's units.
    void decode(int j, const uint8_t* code, float* out) const;

    /// The same training: codes of one are codes of the other.
    bool same_as(const Model& other) const;
    /// Bytes of memory.
    size_t memory() const;
    /// Fetches what Query::list(j) will read into the cache.
    void prefetch(int j) const;

    // Derived, read-only.
    std::vector<int32_t> anchor_norm;   ///< m padded to 16 with INT32_MAX, of anchors8
    std::vector<int32_t> component_sum; ///< m padded to 16
    std::vector<int32_t> rank_offset;   ///< m padded to 16: norm and bias; 0 for inner products
    std::vector<float> reach; ///< m padded to 16: bias of inner products per |q|; empty without one
    std::vector<int8_t> ranked;        ///< anchors8 in tiles, see Simd::rank_tiles
    std::vector<float> anchor_lattice; ///< m x dp in lattice coordinates, grid float16 only
    std::vector<float> anchor_rotated; ///< m x slots
    std::vector<float> step;           ///< frames x slots: sigma * step of the width, 0 where empty
    std::vector<float> inverse_step;   ///< frames x slots, 0 where empty
    std::vector<int16_t> levels_less_one; ///< slots: 2^b - 1
};

/// What goes by a whole query; with it each component can be prepared by itself, as a device does.
struct QueryHead {
    enum Kind {
        kUsual,
        kExtreme,  ///< too large for arithmetic that is the same everywhere
        kUnusable, ///< NaN or infinite
    };
    Kind kind = kUsual;
    float rank_scale = 0;     ///< makes the int8 components that are ranked by
    float rank_norm = 0;      ///< of these
    float rotation_scale = 0; ///< see Frame::scaling
    float unit = 0;
    float penalty = 0; ///< see Estimator::product_penalty
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

class Query;

/// What ranking leaves behind, of the size of all anchors. Queries of one thread may share it.
struct RankScratch {
    explicit RankScratch(const Model& model);
    const Query* scored = nullptr; ///< whose scores they are
    std::vector<int32_t> score, minima;
    std::vector<uint64_t> found;
};

/// One query against a model: ranks anchors and prepares lists. Holds scratch; one per thread.
class Query {
public:
    /// Ranks by the scratch, which has to live on, or by one of its own.
    explicit Query(const Model& model, RankScratch* scratch = nullptr);

    /// float d; false if a component is NaN or infinite.
    bool set(const float* x);

    /// The same vector's head. Leaves nothing set.
    QueryHead head(const float* x);

    /// Scores the anchors for kTogether queries that are set and share no scratch, for the rank()
    /// that follows: faster than one by one.
    static void score_together(const std::unique_ptr<Query>* queries);
    /// The same for this one.
    void score();

    /// The nprobe best lists (at most m), best first: by int8 distance, or inner product; ties to
    /// the smaller number.
    const std::vector<int64_t>& rank(int nprobe);

    /// Says that list j will be asked for, so that its frame may be rotated into before; whether
    /// that is still to be done; and does it for 2 to kTogether queries that are set.
    void want(int j);
    bool wants(int frame) const { return rotation_[frame] == Rotation::wanted; }
    static void rotate_together(int count, Query* const* queries, int frame);

    /// Fetches into the cache what list(j) will read of this query's.
    void prefetch(int j) const;

    /// Prepares a scan of list j, see scan.h. Valid until the next call.
    const ListScan& list(int j);

    float distance(float estimate) const { return in_metric_(base_, estimate); }
    /// And back (a bound for range_search).
    float estimate(float distance) const;

private:
    const Model& model_;
    MetricDistance in_metric_;
    Estimator::Steps steps_;
    std::vector<float> lattice_; ///< dp; for inner products without the mean taken off
    float rank_scale_ = 1;
    std::vector<int16_t> scaled_; ///< see Frame::quantize
    float unit_ = 0;
    std::unique_ptr<float[]> rotated_; ///< frames x slots, as far as lists have asked for it
    enum class Rotation : uint8_t { none, wanted, done };
    std::vector<Rotation> rotation_; ///< per frame
    std::vector<float> weighted_, zero_;
    std::vector<int8_t> rank8_, query8_;
    float rank_norm_ = 0; ///< |rank8_|
    std::unique_ptr<RankScratch> own_scratch_;
    RankScratch& scratch_;
    std::vector<int64_t> order_;
    float norm_ = 0;    ///< |q|, inner products
    float base_ = 0;    ///< <q, mean> in squared lattice units, inner products
    float largest_ = 0; ///< max|w| of the query itself, inner products
    int frame_ = -1;    ///< that query8_ is made for, inner products
    ListScan scan_{};

    bool set_lattice(const float* x);
    void round_to_ranks();
    void add_reach();
    void set_product_terms();
    float* rotation(int frame) const { return &rotated_[size_t(frame) * model_.slots()]; }
    const float* rotated(int frame);
    int32_t half_of(const int8_t* q8) const;
};

} // namespace faiss_vlc
