#pragma once

#include <cstdint>

namespace faiss_vlc {

struct ListScan;

constexpr int kScanBatch = 64;   ///< vectors scanned at once
constexpr int kTogether = 4;     ///< queries ranked or rotated at once
constexpr int kScanTogether = 2; ///< queries that scan at once: registers hold no more sums

/// A score and its index as one number that sorts by score, then by index.
static inline uint64_t rank_key(int32_t score, int index) {
    return uint64_t(uint32_t(score) ^ 0x80000000u) << 32 | uint32_t(index);
}

/// The loops of encoding. Floats are summed in numeric.h's canonical order.
struct EncodeLoops {
    /// Sum of x_k^2 over d components: lane k mod 4 each, then (0 + 2) + (1 + 3).
    double (*square_sum)(int d, const float* x);

    /// q_k = x_k scale, rounded; within +-32767.
    void (*round_scaled)(int d, const float* x, float scale, int16_t* q);

    /// q_k = (x_k - mean_k) scale, clamped to +-127 and rounded.
    void (*quantize_row)(int d, const float* x, const float* mean, float scale, int8_t* q);

    /// Levels of n slots (a multiple of 16): level_s = (y_s - b_s) inverse_spread inverse_step_s +
    /// most_s / 2, clamped to [0, most_s] and rounded; most_s is 2^b - 1. Returns the sum of
    /// (y_s - b_s) (level_s - most_s / 2) step_s spread, which is <r, r^>.
    float (*levels)(int n, const float* y, const float* b, const float* inverse_step,
                    const float* step, const int16_t* most, float spread, float inverse_spread,
                    uint8_t* level);
};

/// The hot loops, one implementation per instruction set; all give identical results.
/// Chosen once: the best level the CPU has, or the one that VLC_SIMD names
/// (portable | avx2 | avx512 on x86-64, portable | neon on 64-bit ARM); a level that the CPU lacks
/// is an error.
struct Simd {
    const char* name;

    /// sums[i] = sum over pairs p of rows[p][i][0] * x[2p] + rows[p][i][1] * x[2p + 1], i < 16.
    void (*rotate_tile)(int pairs, const int16_t* x, const int8_t* rows, int32_t* sums);

    /// The same of several tiles for kTogether vectors at once; sums[v] gets 16 per tile.
    void (*rotate_together)(int tiles, int pairs, const int16_t* const* x, const int8_t* rows,
                            int32_t* const* sums);

    /// scores[16 t + j] = offsets[16 t + j] + factor <x, a_(16 t + j)>, exact. Anchors come in
    /// tiles of 16: groups of 4 dimensions x 16 anchors x 4 bytes, all in [-127, 127];
    /// component_sums[j] is the sum of a_j's components (an unsigned x signed instruction needs
    /// it).
    void (*rank_tiles)(int tiles, int groups, const int8_t* x, const int8_t* packed,
                       const int32_t* component_sums, const int32_t* offsets, int32_t factor,
                       int32_t* scores);

    /// The same for kTogether vectors at once: each tile is loaded once for all of them.
    void (*rank_together)(int tiles, int groups, const int8_t* const* x, const int8_t* packed,
                          const int32_t* component_sums, const int32_t* offsets, int32_t factor,
                          int32_t* const* scores);

    /// minima[g] = the least of scores[g], scores[g + groups], ...; n and groups are multiples
    /// of 16.
    void (*group_minima)(int n, const int32_t* scores, int groups, int32_t* minima);

    /// Writes score << 32 | index, order-preserving as unsigned, of each score <= bound, in order
    /// of index (n a multiple of 16; room for n). Returns how many.
    int (*select_within)(int n, const int32_t* scores, int32_t bound, uint64_t* found);

    /// sum (q_k - a_k)^2 over dp components (a multiple of 16) in numeric.h's canonical order.
    float (*anchor_distance)(int dp, const float* q, const int8_t* a);

    /// w_i = (y_i - b_i) step_i over n components (a multiple of 16); q8_i = round(127 w_i /
    /// max|w|), 0 if all are. Returns max|w|.
    float (*quantize_query)(int n, const float* y, const float* b, const float* step, float* w,
                            int8_t* q8);

    /// Distances (float, room for count rounded up to 16) of count <= kScanBatch vectors of a list
    /// from the start of a block on, see scan.h: only the last block may be one of less than 16.
    /// Returns a bit for each that is <= bound.
    uint64_t (*scan_blocks)(const ListScan& list, const uint8_t* blocks, int count, float bound,
                            float* distance);

    /// The same for kScanTogether queries at once, each with its bound: a row's codes are loaded
    /// and masked once for all of them. within[q] gets the bits.
    void (*scan_blocks_together)(const ListScan* const* lists, const uint8_t* blocks, int count,
                                 const float* bounds, float* const* distances, uint64_t* within);

    /// The anchor with the smallest norms[j] - 2 <x, a_j>, the first of equal ones, of each of
    /// `rows` rows (4 groups bytes each): assign.h's nearest. Anchors as in rank_tiles; what pads
    /// the last tile has the norm INT32_MAX.
    void (*nearest)(int rows, int tiles, int groups, const int8_t* x, const int8_t* packed,
                    const int32_t* component_sums, const int32_t* norms, int32_t* label);

    const EncodeLoops* encode;
};

// Simd::nearest of each level, nearest_<level>.cpp.
void nearest_portable(int rows, int tiles, int groups, const int8_t* x, const int8_t* packed,
                      const int32_t* component_sums, const int32_t* norms, int32_t* label);
void nearest_avx2(int rows, int tiles, int groups, const int8_t* x, const int8_t* packed,
                  const int32_t* component_sums, const int32_t* norms, int32_t* label);
void nearest_neon(int rows, int tiles, int groups, const int8_t* x, const int8_t* packed,
                  const int32_t* component_sums, const int32_t* norms, int32_t* label);
void nearest_avx512(int rows, int tiles, int groups, const int8_t* x, const int8_t* packed,
                    const int32_t* component_sums, const int32_t* norms, int32_t* label);

/// The level in use.
const Simd& simd();
/// A level by name, or null if this CPU or build lacks it.
const Simd* find_simd(const char* name);
/// The names of all levels that this CPU has, best last, null-terminated.
const char* const* simd_levels();

} // namespace faiss_vlc
