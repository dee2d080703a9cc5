#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <faiss_vlc/model/lattice.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train/shared/share.h>

namespace faiss_vlc {

/// Sizes of one training run. Sample rows [0, n_train) train, the rest is held out.
struct Shape {
    int64_t n = 0;
    int64_t n_train = 0;
    int d = 0;
    int dp = 0;         ///< d rounded up to kLatticePad; the padding is zero
    int m = 0;          ///< anchors
    int neighbours = 1; ///< nearest anchors kept per vector, 1 to 4
};

constexpr int kSpreadBits = 4; ///< fraction bits of an anchor's spread
constexpr int kClasses = 16;   ///< residue classes that keep one best anchor each, see assign.h
constexpr int kMaxBias = 1 << 28;
constexpr int64_t kAllRows = INT64_MAX;

/// Numbers that Engine::reduce makes.
inline size_t sums_size(const Shape& shape) {
    return size_t(shape.m) * size_t(shape.dp + 3);
}

/// The sizes that a share of the sample has.
inline Shape share_of(Shape shape, const Share& share) {
    shape.n = share.before(shape.n);
    shape.n_train = share.before(shape.n_train);
    return shape;
}

/// The int8 rows of a sample, dp components each: all, or those of a share.
struct SampleView {
    SampleView(const int8_t* rows, const Share& its = {}) : all(rows), share(its) {}

    /// Row i and the others of its block of kRowBlock lie together.
    const int8_t* row(int64_t i, int dp) const { return all + size_t(share.row(i)) * size_t(dp); }

    const int8_t* all;
    Share share;
};

struct AssignSummary {
    int64_t changes = 0;      ///< vectors whose nearest anchor is another than at the last assign
    int64_t energy_train = 0; ///< sum of squared lattice distances over the training rows
    int64_t energy_held = 0;  ///< the same over the held-out rows
};

struct ReduceParams {
    int32_t inv_t = 0; ///< 32 * 65536 / T: scale of the Gibbs table
    Robust robust = Robust::none;
    int32_t tau2 = 0;        ///< squared distance beyond which a vector counts as an outlier
    int64_t rows = kAllRows; ///< training rows that take part: the first ones
};

struct UpdateParams {
    int32_t step = 256; ///< share of the way to the mean, in 1/256; may be more than all of it
    int32_t max_step = kMaxAnchor; ///< clamp of a component's move, fixed point
    int32_t mean_count = 1;        ///< n_train / m
    int32_t bias_scale = 0;        ///< squared distance per factor 2 in list size
    int32_t noise_scale = 0;       ///< amplitude of the random bias, squared distance
    uint32_t seed = 0;
    uint32_t iteration = 0;
};

/// One change of the set of anchors; no anchor occurs twice in one list of moves.
struct Move {
    enum Kind : int32_t { merge = 0, split = 1 };
    int32_t kind;
    int32_t dst; ///< merge: takes the mean of both; split: takes one half
    int32_t src; ///< merge: is free afterwards; split: keeps the other half
    uint32_t salt;
};

/// A device that trains: the plain C++ reference, an OpenCL device or several. Every implementation
/// gives the same integers. Not thread-safe; errors are FaissExceptions.
class Engine {
public:
    virtual ~Engine() = default;

    /// "reference" or the device's name, or the devices'.
    virtual std::string name() const = 0;

    /// Takes the sample (n rows), which is copied, or read until the next begin() where a device
    /// has no memory for all of it or reads the host's, and allocates all that training needs:
    /// nothing after it allocates in proportion to n or m. Previous labels start as -1.
    virtual void begin(const Shape& shape, const SampleView& sample) = 0;

    /// int32 m x dp fixed point, and int32 m.
    virtual void set_anchors(const int32_t* anchors) = 0;
    virtual void set_bias(const int32_t* bias) = 0;
    virtual void set_labels(const int32_t* nearest) = 0; ///< n previous labels, to resume

    /// Per anchor the `length` anchors near it, for assign, see near.h.
    virtual void list_near(int length) = 0;
    /// Assigns the first `rows` rows (at most n). The first `known` (a multiple of kRowBlock, or
    /// all of them) were assigned by the last assign: they are compared with the list of their
    /// anchor, as list_near left it; the others with all anchors.
    virtual AssignSummary assign(int64_t rows = kAllRows, int64_t known = 0) = 0;
    virtual void reduce(const ReduceParams& params) = 0;
    virtual void update(const UpdateParams& params) = 0;
    virtual void nearest(int32_t* label, int32_t* dist) = 0; ///< per anchor, see maintain.h
    /// The rows of a merged anchor count as the other's from then on.
    virtual void apply(const Move* moves, int count) = 0;
    virtual void quantize(AnchorGrid grid) = 0; ///< int8 or float16

    /// int64 d x d: sum over `count` sample rows of (x - a8)(x - a8)^T, a8 the nearest anchor's
    /// int8 copy.
    virtual void covariance(const int32_t* rows, int64_t count, int64_t* sums) = 0;

    virtual void get_counts(int32_t* counts) = 0;     ///< m, of the last reduce
    virtual void get_energies(int64_t* energies) = 0; ///< m, of the last reduce
    virtual void get_weights(int64_t* weights) = 0;   ///< m, of the last reduce
    /// All that the last reduce left (sums_size numbers: weights, energies, counts, sums), and
    /// other numbers in its place.
    virtual void get_sums(int64_t* sums) = 0;
    virtual void set_sums(const int64_t* sums) = 0;
    virtual void get_anchors(int32_t* anchors) = 0; ///< m x dp
    virtual void get_spreads(int32_t* spreads) = 0; ///< m, of the last update
    virtual void get_bias(int32_t* bias) = 0;       ///< m
    virtual void get_labels(int32_t* nearest) = 0;  ///< n, nearest anchor of each row
    /// To that anchor, of the first `rows` rows (at most n).
    virtual void get_distances(int32_t* distances, int64_t rows = kAllRows) = 0;
};

} // namespace faiss_vlc
