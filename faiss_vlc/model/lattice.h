#pragma once

#include <cstdint>
#include <vector>

namespace faiss_vlc {

constexpr int kLatticePad = 16;
constexpr int kAnchorBits = 16; ///< fraction bits of an anchor in training
constexpr int kMaxAnchor = 127 << kAnchorBits;

/// The int8 copy of a component of an anchor, which lies within +-kMaxAnchor.
inline int8_t round_anchor(int32_t fixed_point) {
    return int8_t((fixed_point + (1 << (kAnchorBits - 1))) >> kAnchorBits);
}

inline int padded_dim(int d) {
    return (d + kLatticePad - 1) / kLatticePad * kLatticePad;
}

/// Maps float vectors to the int8 lattice on which assignment is decided:
/// q_k = clamp(round((x_k - mean_k) * scale), -127, 127), ties to even.
/// One scale for all dimensions, so that lattice distances are distances times scale.
struct Lattice {
    int d = 0;
    float scale = 1;
    std::vector<float> mean; ///< d

    /// Fits mean and scale to a sample (float n x d). Both disregard wild values: the mean is taken
    /// of components clamped around the median, and the scale lets all but about one component in
    /// 10,000 in, so that outliers don't coarsen the lattice; rows over 32 times as far out as the
    /// median row don't count there, if they are less than a tenth.
    static Lattice fit(int64_t n, int d, const float* x);

    /// One vector in lattice coordinates, neither clamped nor rounded; out float d.
    void scale_row(const float* row, float* out) const;
    /// One vector; out int8 padded_dim(d), padding zero.
    void encode_row(const float* row, int8_t* out) const;
    /// Float n x d to int8 n x padded_dim(d), padding zero.
    void encode(int64_t n, const float* x, int8_t* out) const;

    /// Mean squared distance of vectors (float n x d) from their lattice points, in lattice units;
    /// components beyond the lattice don't count. At most d / 4.
    double rounding(int64_t n, const float* x) const;

    /// An anchor in lattice units (fixed point, kAnchorBits fraction bits) back to a vector.
    void decode_anchor(const int32_t* anchor, float* out) const;
};

} // namespace faiss_vlc
