#pragma once

#include <cstdint>

#include <faiss_vlc/codec/estimator.h>

namespace faiss_vlc {

struct LevelChunk;
struct ListScan;
struct ListSide;
struct ListTerms;
struct WordsView;
struct ValueRange;

constexpr int kScanBatch = 64;    ///< vectors scanned at once
constexpr int kTogether = 4;      ///< queries ranked or rotated at once
constexpr int kManyTogether = 16; ///< queries ranked at once, if a level has a loop for that
constexpr int kSquareRows = 256;  ///< whose differences stay in the near caches
constexpr int kScanTogether = 2;  ///< queries that scan at once: registers hold no more sums

/// A score and its index as one number that sorts by score, then by index.
static inline uint64_t rank_key(int32_t score, int index) {
    return uint64_t(uint32_t(score) ^ 0x80000000u) << 32 | uint32_t(index);
}

/// Rows of int8 components in tiles of 16, as they are ranked: groups of 4 dimensions x 16 rows x 4
/// bytes, all in [-127, 127].
struct AnchorTiles {
    int tiles;
    int groups; ///< 4 dimensions each
    const int8_t* packed;
    const int32_t* component_sums; ///< of each row (an unsigned x signed instruction needs it)
    const int32_t* offsets;        ///< of each row's score
};

/// The 256 words of a block: for each pair of its slots 256 x 2 components.
struct BlockWords {
    int width; ///< slots, even
    const int16_t* words;
    const int32_t* norms; ///< squared
};

/// What the levels of one list's vectors are counted from, per slot.
struct LevelGrid {
    int slots;         ///< a multiple of 16
    const float* base; ///< the anchor
    const float* inverse_step;
    const float* step;
    const int16_t* most; ///< 2^b - 1
    float scale;         ///< of all steps
    float inverse_scale;
};

/// A matrix: element (r, k) is at[r * row + k * column].
struct Strided {
    const float* at;
    int64_t row;
    int64_t column;
};

/// The hot loops, one implementation per instruction set; all give identical results. A level
/// starts from another one's and replaces what it does better, see levels.h.
struct Simd {
    const char* name = nullptr;

    /// Scores of anchors, and the best of them.
    struct Rank {
        /// scores[j] = offsets[j] + factor <x, a_j>, exact.
        void (*tiles)(const AnchorTiles& anchors, const int8_t* x, int32_t factor, int32_t* scores);

        /// The same for kTogether vectors at once: each tile is loaded once for all of them.
        void (*together)(const AnchorTiles& anchors, const int8_t* const* x, int32_t factor,
                         int32_t* const* scores);

        /// The same for 1 to kManyTogether vectors; null where that is no faster.
        void (*many)(const AnchorTiles& anchors, int count, const int8_t* const* x, int32_t factor,
                     int32_t* const* scores);

        /// minima[g] = the least of scores[g], scores[g + groups], ...; n and groups are multiples
        /// of 16.
        void (*group_minima)(int n, const int32_t* scores, int groups, int32_t* minima);

        /// Writes score << 32 | index, order-preserving as unsigned, of each score <= bound, in
        /// order of index (n a multiple of 16; room for n). Returns how many.
        int (*select_within)(int n, const int32_t* scores, int32_t bound, uint64_t* found);
    };

    /// Products with the axes of a frame.
    struct Rotate {
        /// sums[i] = sum over pairs p of rows[p][i][0] * x[2p] + rows[p][i][1] * x[2p + 1], i < 16,
        /// of each tile of 16 rows.
        void (*tiles)(int tiles, int pairs, const int16_t* x, const int8_t* rows, int32_t* sums);

        /// The same for kTogether vectors at once; sums[v] gets 16 per tile.
        void (*together)(int tiles, int pairs, const int16_t* const* x, const int8_t* rows,
                         int32_t* const* sums);
    };

    /// A query's way into a list, and the estimates of the list's vectors.
    struct Scan {
        /// sum (q_k - a_k)^2 over dp components (a multiple of 16) in numeric.h's canonical order.
        float (*anchor_distance)(int dp, const float* q, const int8_t* a);

        /// w_i = (y_i - b_i) step_i over n components (a multiple of 16); q8_i = round(127 w_i /
        /// max|w|), 0 if all are. Returns max|w|.
        float (*quantize_query)(int n, const float* y, const float* b, const float* step, float* w,
                                int8_t* q8);

        /// sum_i q8_i most_i over n components (a multiple of 16), of which most are 0 to 255.
        int32_t (*half)(int n, const int8_t* q8, const int16_t* most);

        /// The three above at once.
        ListTerms (*list_terms)(const ListSide& side);

        /// Estimator::tables of these scales.
        void (*tables)(const Estimator::Steps& steps, const Estimator::Scales& by, float* add,
                       float* mul);

        /// Distances (float, room for count rounded up to 16) of 1 to kScanBatch vectors of a
        /// list from the start of a block on, see list_scan.h: only the last block may be one of
        /// less than 16. Returns a bit for each that is <= bound.
        uint64_t (*blocks)(const ListScan& list, const uint8_t* blocks, int count, float bound,
                           float* distance);

        /// Whether `blocks` heeds ListScan::ahead for kScanBatch vectors. Lines that are asked for
        /// all at once wait for each other.
        bool fetches;

        /// The same for a query with a fine plane.
        uint64_t (*blocks_fine)(const ListScan& list, const uint8_t* blocks, int count, float bound,
                                float* distance);

        /// Distances (float, 16 of them) of count <= 16 vectors whose sums <q8, c> are acc, by
        /// their factors (2 bytes each, with 32 readable): the end of `blocks`, without a fine
        /// plane.
        uint32_t (*distances)(const ListScan& list, const int32_t* acc, const uint8_t* factors,
                              int count, float bound, float* distance);

        /// `blocks` for kScanTogether queries at once, each with its bound: a row's codes are
        /// loaded and masked once for all of them. within[q] gets the bits.
        void (*blocks_together)(const ListScan* const* lists, const uint8_t* blocks, int count,
                                const float* bounds, float* const* distances, uint64_t* within);
    };

    /// Block codes: products with the words of a codebook, tables of them, and sums of what codes
    /// stand for.
    struct Words {
        /// out_i = y_i - base_i over n components (a multiple of 16), within +-1e18. Returns the
        /// largest magnitude.
        float (*residual)(int n, const float* y, const float* base, float* out);

        /// dots[256 b + w] = <x, word w> over the slots of block b, exact.
        void (*products)(const WordsView& book, const int16_t* x, int32_t* dots);

        /// values[256 b + w] = <x, word w> - share * penalty[256 b + w] (penalty: null for none),
        /// and the least and the largest of each block.
        void (*values)(const WordsView& book, const int16_t* x, const float* penalty, float share,
                       float* values, ValueRange* ranges);

        /// Entries of 16 bits, each block's from its least value on: round((value - least) step).
        /// No sum of an entry a block may exceed 65535. A table is for this level's sums() alone:
        /// 512 bytes a block.
        void (*entries)(int blocks, const float* values, const ValueRange* ranges, float step,
                        uint8_t* tables);

        /// acc[v] = sum over blocks of the entry of vector v's word, for count <= kScanBatch
        /// vectors from the start of a block of a list on (room for count rounded up to 16).
        void (*sums)(const ListScan& list, const uint8_t* blocks, int count, int32_t* acc);

        /// The same two for layouts with few blocks: entries of 32 bits, 1024 bytes a block, whose
        /// sums don't exceed 2^28.
        void (*few_entries)(int blocks, const float* values, const ValueRange* ranges, float step,
                            uint8_t* tables);
        void (*few_sums)(const ListScan& list, const uint8_t* blocks, int count, int32_t* acc);
    };

    /// Vectors to codes. Floats are summed in numeric.h's canonical order.
    struct Encode {
        /// Sum of x_k^2 over d components: lane k mod 4 each, then (0 + 2) + (1 + 3).
        double (*square_sum)(int d, const float* x);

        /// q_k = x_k scale, rounded; within +-32767.
        void (*round_scaled)(int d, const float* x, float scale, int16_t* q);

        /// q_k = (x_k - mean_k) scale, clamped to +-127 and rounded.
        void (*quantize_row)(int d, const float* x, const float* mean, float scale, int8_t* q);

        /// level_s = (y_s - base_s) inverse_scale inverse_step_s + most_s / 2, clamped to
        /// [0, most_s] and rounded. Returns the sum of (y_s - base_s) (level_s - most_s / 2) step_s
        /// scale, which is <r, r^>.
        float (*levels)(const LevelGrid& grid, const float* y, uint8_t* level);
    };

    /// Anchors that vectors are assigned to.
    struct Nearest {
        /// The anchor with the smallest offsets[j] - 2 <x, a_j>, the first of equal ones, of each
        /// of `rows` rows (4 groups bytes each): assign.h's nearest, the offsets being norms. What
        /// pads the last tile has the offset INT32_MAX.
        void (*rows)(const AnchorTiles& anchors, int rows, const int8_t* x, int32_t* label);

        /// Of each row (4 groups bytes each) the best anchor of each class j mod 16, as
        /// train/stages/assign.h has them: score[16 r + class] = the smallest offsets[j] - 2 <x,
        /// a_j>, tile[16 r + class] = j / 16 of the first that has it. INT32_MAX and 0 where a
        /// class has no anchor.
        void (*classes)(const AnchorTiles& anchors, int rows, const int8_t* const* x,
                        int32_t* score, int32_t* tile);

        /// The word of one block (see Codebook) with the smallest norm - 2 <x, word>, the first of
        /// equal ones, of each of `rows` rows (`width` int16, even), and that difference.
        void (*words)(const BlockWords& block, int rows, const int16_t* x, uint8_t* word,
                      int32_t* least);
    };

    /// Products of matrices.
    struct Algebra {
        /// sums[r][i] += sum over k of a(r, k) b[k][i], i < 16, term after term by k.
        void (*multiply_add)(const Strided& a, int rows, int inner, const float* b, float* sums);

        /// sums[k][l] += sum over r of u_rk u_rl for l >= k, where u_r = x_r - a_r are at most
        /// kSquareRows differences of rows of 16 tiles int8 components, and sums a square matrix
        /// with a side of 16 tiles; some below the diagonal change as well. Exact as long as sums
        /// fit in 32 bits. room: kSquareRows differences, on a cache line. Null where a level has
        /// nothing better than its compiler.
        void (*add_squares)(int tiles, int rows, const int8_t* const* x, const int8_t* const* a,
                            int16_t* room, int32_t* sums);
    };

    /// One vector's levels, as packed.
    struct Levels {
        /// The sum over places of level times weight (kChunk a chunk, see weight_at); it has to fit
        /// in 31 bits, whatever the levels are. kBehindCode bytes behind the code are readable.
        int32_t (*dot)(int chunks, const LevelChunk* chunk, const uint8_t* code,
                       const int16_t* weights);
    };

    Rank rank = {};
    Rotate rotate = {};
    Scan scan = {};
    Words words = {};
    Encode encode = {};
    Nearest nearest = {};
    Algebra algebra = {};
    Levels levels = {};
};

/// Scan::blocks or blocks_fine for a layout of levels, or the same for words, whichever the list's
/// is.
using ScanCodes = uint64_t (*)(const ListScan& list, const uint8_t* blocks, int count, float bound,
                               float* distance);
ScanCodes scan_codes_of(const ListScan& list);
/// And scans by it.
inline uint64_t scan_codes(const ListScan& list, const uint8_t* blocks, int count, float bound,
                           float* distance) {
    return scan_codes_of(list)(list, blocks, count, bound, distance);
}

/// Rank::tiles for any number of vectors, by whichever loop is the fastest: blocks of tiles that
/// stay in the near caches are scored for all of them.
void rank_together(const AnchorTiles& anchors, int count, const int8_t* const* x, int32_t factor,
                   int32_t* const* scores);

/// The level in use, chosen once: the best that the CPU has, or the one that VLC_SIMD names
/// (portable | avx2 | avx512 | avx512_vbmi | amx on x86-64, portable | neon on 64-bit ARM); amx is
/// there only if it is named. A level that the CPU lacks is an error.
const Simd& simd();
/// A level by name, or null if this CPU or build lacks it.
const Simd* find_simd(const char* name);
/// The names of all levels that this CPU has, best last, null-terminated.
const char* const* simd_levels();

} // namespace faiss_vlc
