#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <faiss/MetricType.h>

#include <faiss_vlc/axes/frame.h>
#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/codec/estimator.h>
#include <faiss_vlc/findings.h>
#include <faiss_vlc/model/codebook.h>
#include <faiss_vlc/model/derived.h>
#include <faiss_vlc/model/lattice.h>
#include <faiss_vlc/model/regions/regions.h>
#include <faiss_vlc/model/routing.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/second/second_tier.h>

namespace faiss_vlc {

/// How an index was trained: kept in the file for `vlc info`; nothing depends on it.
struct TrainingRecord {
    int64_t n = 0;          ///< vectors of the sample
    int32_t iterations = 0; ///< that were run
    uint32_t seed = 0;
    float energy_train = 0; ///< mean squared distance to the nearest anchor, in the data's units
    float energy_held = 0;
    /// The same of each iteration as it began, on the rows that it saw; if vectors are routed, of
    /// what they are routed by. None where anchors were given.
    std::vector<float> energies;
};

/// All that training learns, as a file stores it, with what is derived of it; immutable afterwards
/// and shared by index and lists. Everything here lives in lattice coordinates, u = (x - mean) *
/// scale (see lattice.h); a distance in the data's units is a lattice distance / scale^2.
class Model {
public:
    int d = 0;
    int m = 0;
    faiss::MetricType metric = faiss::METRIC_L2;
    Lattice lattice;
    AnchorGrid grid = AnchorGrid::int8;
    std::vector<int8_t> anchors8;    ///< m x dp: the anchors, or for float16 their rounded copies
    std::vector<uint16_t> anchors16; ///< m x d float16 bits, grid float16 only
    Routing routing;                 ///< of vectors to lists; not used: by anchors8
    float rank_scale = 1;            ///< what anchors8 are rounded copies of the anchors times
    std::vector<float> spread;       ///< m: e_j, RMS residual of a list relative to all
    std::vector<Frame> frames;
    std::vector<uint8_t> group; ///< m: the frame of each anchor's residuals
    Layout layout;
    std::vector<float> sigma; ///< levels: frames x axes, deviation of residual * sqrt(E) / |r|
    Codebook codebook;        ///< words
    bool whole_words = false; ///< words are of vectors, not of residuals: codes start from 0
    Estimator estimator;
    /// Lists are ranked by |q - a_j|^2 + rank_bias * E * e_j^2, or <q, a_j> + rank_bias * |q| *
    /// sqrt(E) * e_j for inner products (E: estimator.energy). 0: by the anchor alone.
    float rank_bias = 0;
    Regions regions;            ///< of anchors, in which queries look for lists; not used: in all
    bool fine_queries = false;  ///< levels: queries have a fine plane, see list_scan.h
    bool fine_rotation = false; ///< of all frames, see Frame::fine
    int default_nprobe = 1;
    std::shared_ptr<const SecondTier> second; ///< of codes; null: there is none
    TrainingRecord record;
    HeldOutRecall recall; ///< for people, as the record
    /// l up to which add() counts a row as like the sample's; estimates depend on the estimator's.
    float usual_length = kUnbounded;

    /// Derives what search and encoding need from the fields above; to be called once they are set.
    void finish();
    /// Sets anchors8 to the rounded copies of anchors16 times the rank_scale that it chooses, for a
    /// model that routes: long rows need a wide lattice, on which anchors would be short.
    void round_anchors();
    /// Sets rank_bias and what is derived from it, estimator.energy being set.
    void bias_ranks(float bias);
    /// Sets regions and what is derived from them.
    void set_regions(Regions made);
    const Derived& derived() const { return derived_; }

    int dp() const { return padded_dim(d); }
    int slots() const { return frames[0].slots(); }
    /// Bytes of a packed code: the first tier's, then the second's.
    int code_size() const { return layout.code_size() + (second ? second->code_size() : 0); }

    /// Anchor j as a vector (float d) in the data's units.
    void anchor(int j, float* out) const;

    const Frame& frame_of(int j) const { return frames[group[j]]; }
    /// The steps of list j's axes, per slot.
    const float* steps_of(int j) const { return &derived_.step[size_t(group[j]) * slots()]; }

    class Coder; ///< coder.h

    /// What decides which list a vector is added to: the nearest of assign_anchors(), int8 m x
    /// padded_dim(assign_dims()), to what to_assign() makes of it.
    int assign_dims() const { return routing.used() ? routing.lattice.d : d; }
    const std::vector<int8_t>& assign_anchors() const {
        return routing.used() ? routing.anchors : anchors8;
    }
    void to_assign(const float* x, int8_t* out) const {
        routing.used() ? routing.encode_row(x, out) : lattice.encode_row(x, out);
    }
    /// The same, neither clamped nor rounded; out float assign_dims().
    void to_assign_unrounded(const float* x, float* out) const {
        routing.used() ? routing.scale_row(x, out) : lattice.scale_row(x, out);
    }

    /// |q - a_j|^2 and <q, a_j> for q in lattice coordinates (float dp, padding 0); for whole words
    /// with 0 in the place of the anchor.
    float anchor_distance(const float* q, int j) const;
    float anchor_dot(const float* q, int j) const;

    /// The factors of a packed code as 16 bits; 0 where it has none.
    uint16_t factors_of(const uint8_t* code) const {
        return join_factors(layout.factor_bytes, code + layout.code_bytes);
    }
    /// What the levels or words of a packed code of list j are taken times.
    float code_scale(int j, const uint8_t* code) const;
    /// Whether refining needs a query's coordinates in the second tier's frame.
    bool turns_to_refine() const { return second && !second->by_decoding(); }
    /// What second codes of list j are counted in, by a packed first code.
    SecondList second_list(int j, const uint8_t* code) const;
    /// Its `square`: `energy` is the list's, or of words the square of their code_scale.
    float first_square(const uint8_t* code, float energy) const;
    /// What list j's codes start from, its anchor or 0: float d in lattice coordinates.
    void start_of(int j, float* out) const;
    /// A packed code's residual in list j's frame: out gets float slots.
    void decode_residual(int j, const uint8_t* code, float* out) const;
    /// Decodes a packed code of list j: a_j (or 0) + R^T r^, in the data's units.
    void decode(int j, const uint8_t* code, float* out) const;

    /// Sets `second` of a model that is finished, and what is derived for it.
    void add_second(std::shared_ptr<const SecondTier> tier);

    /// The same training: codes of one are codes of the other.
    bool same_as(const Model& other) const;
    /// Bytes of memory, of what is derived too.
    size_t memory() const;

private:
    Derived derived_;
};

} // namespace faiss_vlc
