#pragma once

#include <cstdint>
#include <cstring>

namespace faiss_vlc {

// Float sums in one canonical order, the same for every instruction set: 16 lanes (component k goes
// to lane k mod 16), then the lanes pairwise. Built without contraction, so each step rounds once.
// Static: code compiled for one instruction set must not lend its copy to other files.

constexpr int kLanes = 16;

/// To the nearest integer, ties to even, for |v| < 2^22: as lrint(), but compilers vectorise it.
static inline int32_t round_even(float v) {
    const float shifted = v + 12582912.0f; // 1.5 * 2^23: the fraction falls off
    int32_t bits;
    std::memcpy(&bits, &shifted, 4);
    return bits - 0x4b400000;
}

static inline float add_lanes(const float* lane) {
    float half[kLanes];
    for (int i = 0; i < kLanes; i++) {
        half[i] = lane[i];
    }
    for (int width = kLanes / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) {
            half[i] += half[i + width];
        }
    }
    return half[0];
}

static inline float canonical_dot(int n, const float* a, const float* b) {
    float lane[kLanes] = {};
    int k = 0;
    for (; k + kLanes <= n; k += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            lane[i] += a[k + i] * b[k + i];
        }
    }
    for (int i = 0; k + i < n; i++) {
        lane[i] += a[k + i] * b[k + i];
    }
    return add_lanes(lane);
}

static inline float canonical_l2(int n, const float* a, const float* b) {
    float lane[kLanes] = {};
    int k = 0;
    for (; k + kLanes <= n; k += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            const float u = a[k + i] - b[k + i];
            lane[i] += u * u;
        }
    }
    for (int i = 0; k + i < n; i++) {
        const float u = a[k + i] - b[k + i];
        lane[i] += u * u;
    }
    return add_lanes(lane);
}

} // namespace faiss_vlc
