#pragma once

#include <cmath>
#include <cstdint>

namespace faiss_vlc {

// What training decides on: integers, and doubles made of correctly rounded operations only.
// libm's exp and log differ between versions; these do not. opencl/common.cl has the integer ones.

/// floor(sqrt(v)).
inline uint32_t isqrt(uint64_t v) {
    uint64_t root = 0;
    for (uint64_t bit = uint64_t(1) << 31; bit != 0; bit >>= 1) {
        const uint64_t next = root | bit;
        if (next * next <= v) {
            root = next;
        }
    }
    return uint32_t(root);
}

/// log2(v) with 8 fraction bits, for v >= 1: exact at powers of two, linear between them.
inline int32_t ilog2_q8(uint32_t v) {
    const int e = 31 - __builtin_clz(v);
    return int32_t(((uint64_t(v) << 8) >> e) - 256) + (e << 8);
}

/// Mixes three words into one: the only source of randomness.
inline uint32_t hash32(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t h = a * 0x9e3779b1u;
    h = (h ^ (h >> 15)) + b * 0x85ebca77u;
    h = (h ^ (h >> 13)) * 0xc2b2ae3du + c * 0x27d4eb2fu;
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h *= 0x846ca68bu;
    return h ^ (h >> 16);
}

/// a / b rounded to the nearest, halves away from zero; b > 0.
inline int64_t round_div(int64_t a, int64_t b) {
    return (a >= 0 ? a + b / 2 : a - b / 2) / b;
}

/// exp and natural log to about 1e-15, the same bits everywhere. Static: the code of one
/// instruction set must never become the copy that the linker keeps for all.
static inline double stable_exp(double x) {
    constexpr double kLn2 = 0.693147180559945309;
    if (x < -700) {
        return 0;
    }
    const double k = std::floor(x / kLn2 + 0.5);
    const double r = x - k * kLn2;
    double sum = 1;
    for (int i = 16; i >= 1; i--) {
        sum = 1 + sum * r / i;
    }
    return std::ldexp(sum, int(k));
}

static inline double stable_log(double x) {
    constexpr double kLn2 = 0.693147180559945309;
    int e;
    double m = std::frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    const double s = (m - 1) / (m + 1);
    const double s2 = s * s;
    double sum = 0;
    for (int i = 25; i >= 1; i -= 2) {
        sum = sum * s2 + 1.0 / i;
    }
    return 2 * s * sum + e * kLn2;
}

} // namespace faiss_vlc
