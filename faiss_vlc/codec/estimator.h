#pragma once

#include <cstdint>
#include <cstring>

namespace faiss_vlc {

// The factors of a vector: 16 bits that describe its residual r and the decoded residual r^.
//   bits 0-4   gamma = <r, r^> / |r|^2 on a linear grid of 32 steps that training chose
//   bits 5-15  rho = |r|^2 / (mean energy * spread_j^2): 5 bits of exponent, 6 of mantissa
// The rho code is a piece of a float32, so it decodes in a shift, an addition and a subtraction.

constexpr int kGammaSteps = 32;
constexpr float kRhoZero = 1.0f / 65536.0f; ///< code 0 is rho = 0 exactly
constexpr uint32_t kRhoBias = uint32_t(127 - 16) << 23;

inline float decode_rho(uint16_t factors) {
    const uint32_t bits = (uint32_t(factors >> 5) << 17) + kRhoBias;
    float value;
    std::memcpy(&value, &bits, 4);
    return value - kRhoZero;
}

/// How distances are estimated. With D = |q - a|^2, E the mean squared residual and
/// e = 1 - gamma (the share of |r|^2 that decoding misses),
///
///   L2:   |q - x|^2 ~ D (1 + c e |r|^2 / E) + |r|^2 (gamma + t1 e)
///                     - 2 (1 + t2 (1/gamma - 1)) <q - a, r^>
///
///   IP:   -<q, x> ~ -<q, a> + c e |q| |r|^2 / sqrt(E) - (1 + t2 (1/gamma - 1)) <q, r^>
///
/// t1 = t2 = c = 0 is plain decoding (up to the difference between <r, r^> and |r^|^2),
/// t1 = t2 = 1, c = 0 is the unbiased estimate (Gao and Long, RaBitQ, 2024), exact at q = x.
/// Between them bias is traded for variance; c accounts for the neighbours that noise brings in
/// from the larger number of vectors farther away. Training chooses all three by recall.
struct Estimator {
    float gamma_low = 0.5f; ///< gamma of code 0
    float gamma_step = 1.0f / 64;
    float t1 = 1;
    float t2 = 0.7f;
    float c = 0.3f;
    float energy = 1; ///< E, in squared lattice units

    /// <r, r^> <= 0 (a residual that its codes miss altogether) takes the grid's lowest step.
    uint16_t encode(double residual_square, double residual_dot, float spread) const;

    float gamma(int code) const { return gamma_low + float(code) * gamma_step; }

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

    /// The tables of one list: distance = D + rho * add[gamma] - mul[gamma] * dot2, where dot2 is
    /// the integer sum of scan.h and dot_scale turns it into <q - a, r^>.
    /// query_norm is |q|, for inner products only.
    void tables(const Steps& steps, float list_distance, float query_norm, float spread,
                float dot_scale, float* add, float* mul) const;
};

} // namespace faiss_vlc
