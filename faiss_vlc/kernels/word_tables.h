#pragma once

#include <cstdint>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/lib/numeric.h>

// The arithmetic of Simd::Words::tables, which compilers vectorise for the level that includes it.
// Static: see numeric.h.

namespace faiss_vlc {

static inline float word_value(const int32_t* dots, const float* penalty, float share, int i) {
    return penalty ? float(dots[i]) - share * penalty[i] : float(dots[i]);
}

/// The least and the largest value of a block.
static inline void word_range(const int32_t* dots, const float* penalty, float share, int b,
                              float* least, float* most) {
    float low[kLanes], high[kLanes];
    for (int i = 0; i < kLanes; i++) {
        low[i] = high[i] = word_value(dots, penalty, share, b * kWords + i);
    }
    for (int w = kLanes; w < kWords; w += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            const float v = word_value(dots, penalty, share, b * kWords + w + i);
            low[i] = v < low[i] ? v : low[i];
            high[i] = v > high[i] ? v : high[i];
        }
    }
    *least = low[0];
    *most = high[0];
    for (int i = 1; i < kLanes; i++) {
        *least = low[i] < *least ? low[i] : *least;
        *most = high[i] > *most ? high[i] : *most;
    }
}

static inline TableScale table_scale(int blocks, const int32_t* dots, const float* penalty,
                                     float share, bool few_blocks = false) {
    float range = 0, base = 0;
    for (int b = 0; b < blocks; b++) {
        float least, most;
        word_range(dots, penalty, share, b, &least, &most);
        range += most - least;
        base += least;
    }
    return {range > 0 ? table_room(blocks, few_blocks) / range : 0.0f, base};
}

/// The entries of block b, in the order of the words.
static inline void table_entries(const int32_t* dots, const float* penalty, float share, int b,
                                 float step, uint16_t* entries) {
    float least, most;
    word_range(dots, penalty, share, b, &least, &most);
    for (int w = 0; w < kWords; w++) {
        const float v = word_value(dots, penalty, share, b * kWords + w);
        entries[w] = uint16_t(round_even((v - least) * step));
    }
}

} // namespace faiss_vlc
