#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace faiss_vlc {

// The factors of a vector: 16 bits that describe its residual r and the decoded residual r^.
//   bits 0-4   gamma = <r, r^> / |r|^2, one of 32 values that training chose
//   bits 5-15  l = |r| / (sqrt(E) e_j), E the mean energy, e_j the list's spread: 4 bits of
//              exponent, 7 of mantissa
// The code of l is a piece of a float32, so it decodes in a shift, an addition and a subtraction.
// Levels are in units of the vector's own length, so codes carry vectors of any length.

// Words may have 1 byte instead, the upper half of these bits, or none.

constexpr int kGammaSteps = 32;
constexpr int kLengthSteps = 2048;
constexpr int kUnusualGammas = 6;        ///< of them, the lowest: below what training saw
constexpr float kUnbounded = 1e30f;      ///< a limit that nothing reaches
constexpr float kLengthZero = 1.0f / 64; ///< code 0 is l = 0 exactly
constexpr uint32_t kLengthBias = uint32_t(127 - 6) << 23;

inline float decode_length(uint16_t factors) {
    const uint32_t bits = (uint32_t(factors >> 5) << 16) + kLengthBias;
    float value;
    std::memcpy(&value, &bits, 4);
    return value - kLengthZero;
}

/// The 16 bits of what a vector has of them.
inline uint16_t join_factors(int bytes, const uint8_t* factors) {
    return bytes == 2   ? uint16_t(factors[0] | factors[1] << 8)
           : bytes == 1 ? uint16_t(factors[0] << 8)
                        : uint16_t(0);
}

/// How distances are estimated. With D = |q - a|^2, E the mean squared residual and
/// e = 1 - gamma (the share of |r|^2 that decoding misses),
///
///   L2:   |q - x|^2 ~ D + c min(D, most_distance) e |r|^2 / E + |r|^2 (gamma + t1 e)
///                     - 2 (1 + t2 (1/gamma - 1)) <q - a, r^>
///
///   IP:   -<q, x> ~ -<q, a> + c e |q| |r|^2 / sqrt(E) - (1 + t2 (1/gamma - 1)) <q, r^>
///
/// t1 = t2 = c = 0 is plain decoding (up to the difference between <r, r^> and |r^|^2),
/// t1 = t2 = 1, c = 0 is the unbiased estimate (Gao and Long, RaBitQ, 2024), exact at q = x.
/// Between them bias is traded for variance; c accounts for the neighbours that noise brings in
/// from the larger number of vectors farther away. Training chooses all three by recall.
///
/// t2 < 0: the factor of <q - a, r^> is (1 + t2) - t2 gamma / kappa, of which -1 is least squares
/// for codes that are longer than what they stand for.
///
/// For L2, vectors farther from their anchor than training saw (l > usual_length) keep
/// |r^|^2 / |r|^2, one of the values `far`, in the place of gamma and get plain decoding: |q - x|^2
/// ~ D + |r^|^2 - 2 <q - a, r^>, whose error is small where q is near, however long r is.
///
/// No estimate is below what is known anyway: |q - x| >= ||q - a| - |r||, and
/// -<q, x> >= -<q, a> - |q| |r|.
struct Estimator {
    float gamma[kGammaSteps] = {}; ///< of each code, rising, above 0
    float t1 = 1;
    float t2 = 0.7f;
    float c = 0.3f;
    float energy = 1; ///< E, in squared lattice units
    /// The largest D that training saw; the term of c grows no more beyond it.
    float most_distance = kUnbounded;
    float usual_length = kUnbounded; ///< l up to which t1, t2 and c are for
    float far[kGammaSteps] = {};     ///< |r^|^2 / |r|^2 of each code beyond it, rising
    float kappa = 1;                 ///< the mean of |r^|^2 / |r|^2

    /// Sets gamma's values: most of them between low and high, where vectors like the sample's lie,
    /// the others beyond, farther and farther apart.
    void set_gamma(float low, float high);
    /// Sets the values of `far`, likewise.
    void set_far(float low, float high);
    /// The one of them that a share |r^|^2 / |r|^2 is kept as.
    double nearest_far(double share) const;

    /// What a list's lengths and levels are counted in: its spread, but not too little, as a list
    /// of equal vectors may get others later.
    static float list_scale(float spread) {
        constexpr float kLeast = 1.0f / 64;
        return spread > kLeast ? spread : kLeast;
    }
    /// |r| of l = 1 in a list of this spread.
    float length_unit(float spread) const;
    /// The factors' bits of l.
    uint16_t encode_length(double residual_square, float spread) const;
    /// Whether factors with this l are those of an unusually long vector.
    bool is_far(float length) const { return length > usual_length; }
    /// All bits. <r, r^> <= 0 (a residual that its codes miss altogether) takes the lowest gamma.
    uint16_t encode(double residual_square, double residual_dot, float spread) const;
    /// One byte of l, rounded.
    static uint8_t short_length(uint16_t factors) {
        return uint8_t(std::min(255, (factors + 0x80) >> 8));
    }
    /// The same of a far vector: by the bits of l that it is coded with, and |r^|^2.
    uint16_t encode_far(uint16_t length, double decoded_square, float spread) const;

    /// The factor of <q - a, r^>.
    float share(float g) const {
        return t2 < 0 ? (1.0f + t2) - t2 * g / kappa : 1.0f + t2 * (1.0f / g - 1.0f);
    }

    /// What a code of gamma contributes to the tables, whatever list and query.
    struct Step {
        float miss;  ///< e
        float own;   ///< per |r|^2, without c
        float share; ///< of <q - a, r^>
    };
    Step step(bool inner_product, int code) const;
    /// Those of all codes, which a query needs for each of its lists.
    struct Steps {
        bool inner_product;
        float miss[kGammaSteps];
        float own[kGammaSteps];
        float share[kGammaSteps];
    };
    Steps steps(bool inner_product) const;
    /// c |q| / sqrt(E), which inner products take times e |r|^2.
    float product_penalty(float query_norm) const;

    /// What makes the tables of one list of them.
    struct Scales {
        float square;  ///< |r|^2 of l = 1
        float penalty; ///< of what is missed
        float dot;
    };
    /// length: length_unit(); the others as tables() takes them.
    Scales scales(bool inner_product, float list_distance, float query_norm, float length,
                  float dot_scale) const {
        const float penalty = inner_product ? product_penalty(query_norm)
                                            : c * std::min(list_distance, most_distance) /
                                                      (energy > 0 ? energy : 1.0f);
        return {length * length, penalty, (inner_product ? 1.0f : 2.0f) * dot_scale};
    }

    /// The tables of one list: distance = D + l (l add[gamma] - mul[gamma] dot2), where dot2 is
    /// the integer sum of list_scan.h and dot_scale turns it into <q - a, r^> / l.
    /// query_norm is |q|, for inner products only.
    void tables(const Steps& steps, float list_distance, float query_norm, float spread,
                float dot_scale, float* add, float* mul) const;
};

} // namespace faiss_vlc
