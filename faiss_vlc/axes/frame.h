#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace faiss_vlc {

/// The axes in which residuals are coded: `kept` rows over d dimensions, strongest variance first.
/// An axis is its int8 row divided by the row's norm; rows use the whole range of int8, so axes are
/// orthogonal to within a few thousandths, which costs less than the bytes it saves. Rotation is
/// done on integers, so every instruction set gives the same result: the vector is scaled so that
/// its norm is 32767, which keeps each 32-bit dot product exact. Where vectors are far longer than
/// their residuals, what that rounds off is turned, too (`fine`).
struct Frame {
    int d = 0;
    int kept = 0;
    std::vector<int8_t> rows; ///< kept x d, in [-127, 127], none of them zero; none if own
    bool own = false;         ///< the vectors' own axes, in their order
    bool fine = false;        ///< vectors are rounded 7 bits more finely before they are turned

    /// Principal axes of a covariance (int64 d x d, symmetric), all d of them, by falling
    /// eigenvalue. Eigen's solver is compiled in with fixed flags: no LAPACK, no libm. Each axis
    /// has its largest component positive.
    static Frame principal(int d, const int64_t* covariance);
    /// Axes that were found elsewhere, `count` of them (float d each, a row every `stride`).
    static Frame rounded(int d, int count, const float* axes, int64_t stride);
    /// The d coordinate axes by falling variance.
    static Frame identity(int d, const int64_t* covariance);
    /// The first `count` of them, given the variance along each coordinate.
    static Frame identity(const std::vector<double>& variance, int count);

    /// The vectors' own axes, in their order: turning is copying.
    static Frame own_axes(int d);

    /// Puts axis order[i] in place i.
    void reorder(const std::vector<int>& order);
    /// Keeps the first `count` axes.
    void keep(int count);

    /// Lays axes out for rotation: output component s is axis slot_axis[s], or 0 where it is
    /// negative or not kept.
    void arrange(const std::vector<int>& slot_axis);

    /// Float d to float slots (rounded up to a multiple of 16, the rest 0).
    void rotate(const float* x, float* y) const;

    /// The same in two steps, for several frames: the first scales x to norm 32767 (int16
    /// scaled_size(): d rounded up to even; if fine twice that, the second half being what was
    /// rounded off, in kLow) and returns what one of its units is worth, 0 if x is.
    float quantize(const float* x, int16_t* q) const;
    int scaled_size() const { return (fine ? 2 : 1) * (d + d % 2); }
    static constexpr float kLow = 1.0f / 128;
    /// The first half.
    static float quantize(int d, const float* x, int16_t* q);
    struct Scaling {
        float scale; ///< of x: it is rounded after that
        float unit;
    };
    static Scaling scaling(int d, const float* x);
    void rotate(const int16_t* q, float unit, float* y) const;
    /// 2 to kTogether vectors at once (simd.h), faster than one by one.
    void rotate_together(int count, const int16_t* const* q, const float* unit,
                         float* const* y) const;

    /// out (d) += R^T y (slots).
    void rotate_back_add(const float* y, float* out) const;

    /// 1 / norm of a row.
    float inverse_norm(int axis) const;

    int slots() const { return int(slot_axis_.size()); }

private:
    void copy_own(const int16_t* q, float unit, float* y) const;
    void add_low(const int16_t* low, int tile, float* sums) const;

    std::vector<int> slot_axis_;      ///< padded to a multiple of 16 with -1
    std::vector<float> inverse_norm_; ///< per slot, 0 where empty
    /// Tiles of 16 slots: pair of dimensions x 16 slots x 2. Copies of a frame share them.
    std::shared_ptr<const std::vector<int8_t>> packed_;
};

} // namespace faiss_vlc
