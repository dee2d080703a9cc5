#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <faiss_vlc/model/lattice.h>

namespace faiss_vlc {

/// How vectors find their lists where lengths differ much, for inner products. Not a vector x is
/// compared with anchors there, but what it is routed by: its direction x / |x|, and the rank that
/// its length has among the sample's, from 0 to 1, times a weight. So lists hold vectors of about
/// one direction and one length, and as many as others do. By L2 one list would hold most short
/// vectors and another a single long one.
struct Routing {
    /// Components that the rank is spread over: one alone would need a larger range than int8.
    static constexpr int kRankComponents = 16;
    static constexpr int kSteps = 64; ///< of ranks

    float weight = 0;            ///< of the rank beside the direction's length of 1; 0: not used
    std::vector<float> lengths;  ///< kSteps + 1 rising: the length at each step of the rank
    Lattice lattice;             ///< of d + kRankComponents dimensions
    std::vector<int8_t> anchors; ///< m x padded_dim(lattice.d)

    bool used() const { return weight > 0; }
    int dp() const { return padded_dim(lattice.d); }

    /// Sets lengths: of n >= 1 vectors, rising.
    void set_lengths(const std::vector<float>& rising);
    /// Sets weight and lattice. directions: the lattice of vectors of length 1.
    void set_weight(float rank_weight, const Lattice& directions);

    float rank_of(double length) const;
    float length_at(float rank) const;

    /// One vector (float d) in coordinates of the lattice, see Lattice::scale_row; out float
    /// lattice.d.
    void scale_row(const float* x, float* out) const;
    /// One vector (float d) on the lattice (int8 dp(), padding 0).
    void encode_row(const float* x, int8_t* out) const;

    /// Where an anchor (dp() components, fixed point) lies among vectors: its direction's mean
    /// times the length of its rank. out: float d. Returns that length.
    float centre(const int32_t* anchor, float* out) const;

    bool same_as(const Routing& other) const;
    size_t memory() const;

private:
    void route(const float* x, float* routed) const;
};

/// |x| of a vector (float d), whatever its size.
double length_of(int d, const float* x);

} // namespace faiss_vlc
