#pragma once

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

/// Words::residual: plain, as compilers make of it what a level has. Static: each has a copy of its
/// own.
static inline float word_residual(int n, const float* y, const float* base, float* __restrict out) {
    constexpr float kFar = 1e18f; // a query may be too far away for floats
    float lane[kLanes] = {};
    for (int s = 0; s < n; s += kLanes) {
        for (int i = 0; i < kLanes; i++) { // by value: std::min would become a branch
            float v = y[s + i] - base[s + i];
            v = v > -kFar ? v : -kFar; // so is what is no number
            v = v < kFar ? v : kFar;
            out[s + i] = v;
            v = v < 0 ? -v : v;
            lane[i] = lane[i] < v ? v : lane[i];
        }
    }
    float largest = lane[0];
    for (int i = 1; i < kLanes; i++) {
        largest = largest < lane[i] ? lane[i] : largest;
    }
    return largest;
}

} // namespace faiss_vlc
