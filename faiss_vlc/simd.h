#pragma once

#include <cstdint>

namespace faiss_vlc {

struct ListScan;

/// The hot loops, one implementation per instruction set; all give identical results.
/// Chosen once: the best level the CPU has, or the one that VLC_SIMD names
/// (portable | avx2 | avx512); a level that the CPU lacks is an error.
struct Simd {
    const char* name;

    /// sums[i] = sum over pairs p of rows[p][i][0] * x[2p] + rows[p][i][1] * x[2p + 1], i < 16.
    void (*rotate_tile)(int pairs, const int16_t* x, const int8_t* rows, int32_t* sums);

    /// dots[16 t + j] = <x, a_(16 t + j)>, exact. Anchors come in tiles of 16: groups of 4
    /// dimensions x 16 anchors x 4 bytes, all in [-127, 127]; component_sums[j] is the sum of
    /// a_j's components (an unsigned x signed instruction needs it).
    void (*rank_tiles)(int tiles, int groups, const int8_t* x, const int8_t* packed,
                       const int32_t* component_sums, int32_t* dots);

    /// sum (q_k - a_k)^2 over dp components (a multiple of 16) in numeric.h's canonical order.
    float (*anchor_distance)(int dp, const float* q, const int8_t* a);

    /// w_i = (y_i - b_i) step_i over n components (a multiple of 16); q8_i = round(127 w_i /
    /// max|w|), 0 if all are. Returns max|w|.
    float (*quantize_query)(int n, const float* y, const float* b, const float* step, float* w,
                            int8_t* q8);

    /// Distances (float 16) of the count vectors in one block, see scan.h. Returns a bit for each
    /// that is <= bound.
    uint32_t (*scan_block)(const ListScan& list, const uint8_t* block, int count, float bound,
                           float* distance);
};

/// The level in use.
const Simd& simd();
/// A level by name, or null if this CPU or build lacks it.
const Simd* find_simd(const char* name);
/// The names of all levels that this CPU has, best last, null-terminated.
const char* const* simd_levels();

} // namespace faiss_vlc
