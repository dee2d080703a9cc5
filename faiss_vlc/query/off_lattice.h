#pragma once

#include <cstdint>

namespace faiss_vlc {

/// How a vector is rounded that clamping to the int8 lattice would turn: it is not clamped, but
/// divided by a power of two as far as that is needed, and has two bytes a component. Anchors are
/// scored by
///
///     floor(offset_j / 2^shift) - <x, a_j>         x = round(u / 2^(shift - 1))
///
/// which is half of |u - a_j|^2 - |u|^2, with the bias, in units of 2^(shift - 1). All sums stay
/// within int32.
struct OffLattice {
    int shift = 0;    ///< 1 or more; 0: of an ordinary vector
    bool far = false; ///< a component lies beyond twice the lattice's reach: training has no such

    /// For a vector in lattice coordinates (float d, not clamped). It is an ordinary one where
    /// clamping takes away no more than a sixteenth of its length, or where it is not finite.
    static OffLattice of(int d, const float* u);
    /// Whether a rounded vector (int8 dp) may be another than an ordinary one, seen at less cost.
    static bool may_be(int dp, const int8_t* x);

    bool is() const { return shift > 0; }
    float scale() const; ///< 2^(1 - shift)
    /// x as 128 high + low (int8 each).
    void round(int d, const float* u, int8_t* high, int8_t* low) const;
};

} // namespace faiss_vlc
