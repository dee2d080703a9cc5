#pragma once

#include <cstdint>
#include <cstring>

#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

// The loops around a unit that multiplies tiles: 16 rows of 64 bytes each. `T` is that unit: the
// processor's (nearest.cpp), or plain C++ that does the same and checks that it is used well
// (tests). Its tiles:
//   rows      16 rows of a step, which is 64 of their components
//   anchors   16 groups of 4 components of a tile of 16 anchors: just as AnchorTiles has them
//   sums      16 rows x 16 anchors, int32
// Static: each user has a copy of its own.

/// What T::begin() takes, as the processor reads it.
struct TileConfig {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t bytes[16]; ///< in a row of each tile
    uint8_t rows[16];   ///< of each
};
static_assert(sizeof(TileConfig) == 64, "the processor reads 64 bytes");

/// 8 tiles, all whole.
alignas(64) constexpr TileConfig kWholeTiles{
        1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

constexpr int kTileRows = 16;
constexpr int kStepBytes = 64;        ///< of a row
constexpr int kTileNumbers = 16 * 16; ///< in a tile of sums
constexpr int kRowBytes = 1 << 16;    ///< of rows that are compared with all anchors at once
constexpr int kMostRows = 128;        ///< the same; more gain nothing
constexpr int kMostGroups = kRowBytes / kTileRows / 4; ///< that these loops take

/// 16 numbers, one for each anchor of a tile.
typedef int32_t Lanes __attribute__((vector_size(64)));

static inline int tile_steps(const AnchorTiles& anchors) {
    return (anchors.groups + 15) / 16;
}

/// A multiple of 16.
static inline int rows_at_once(const AnchorTiles& anchors) {
    const int fit = kRowBytes / (tile_steps(anchors) * kStepBytes) / kTileRows * kTileRows;
    return fit < kMostRows ? fit : kMostRows;
}

/// The rows one after the other, each filled up to whole steps with zeros, and rows of zeros up to
/// a whole tile.
static inline void pack_rows(const AnchorTiles& anchors, int rows, const int8_t* const* x,
                             int8_t* packed) {
    const int64_t size = int64_t(tile_steps(anchors)) * kStepBytes;
    const int64_t bytes = int64_t(anchors.groups) * 4;
    for (int r = 0; r < rows; r++, packed += size) {
        std::memcpy(packed, x[r], size_t(bytes));
        std::memset(packed + bytes, 0, size_t(size - bytes));
    }
    const int more = (kTileRows - rows % kTileRows) % kTileRows;
    std::memset(packed, 0, size_t(more * size));
}

/// Where a step of a tile of anchors is read. What lies behind its last group meets zeros of the
/// rows, but has to be there: a step that reaches beyond all anchors is copied to `spare`.
static inline const int8_t* anchor_step(const AnchorTiles& anchors, int tile, int step,
                                        int8_t* spare) {
    const int64_t from = int64_t(tile) * anchors.groups + int64_t(step) * 16;
    const int64_t there = int64_t(anchors.tiles) * anchors.groups - from;
    const int8_t* groups = anchors.packed + from * 64;
    if (there >= 16) {
        return groups;
    }
    std::memcpy(spare, groups, size_t(there * 64));
    std::memset(spare + there * 64, 0, size_t((16 - there) * 64));
    return spare;
}

/// A comparison of packed rows with anchors.
struct TileJob {
    const AnchorTiles& anchors;
    int steps;
    const int8_t* rows; ///< packed
    int8_t* spare;      ///< 1024 bytes
    int32_t* sums;      ///< 4 tiles of them
};

/// The n-th of N tiles of anchors meets B blocks of rows. Tiles of the unit: 0 to 3 are sums, then
/// come B of rows, the others are for anchors in turns.
template <class T, int B, int N, int n>
static inline void meet_anchors(const TileJob& job, int tile, int step) {
    if constexpr (n < N) {
        constexpr int kAnchors = 4 + B + n % (4 - B);
        T::template load<kAnchors>(anchor_step(job.anchors, tile + n, step, job.spare), 64);
        T::template dot<n, 4, kAnchors>();
        if constexpr (B > 1) {
            T::template dot<N + n, 5, kAnchors>();
        }
    }
}

template <class T, int S>
static inline void store_sums(int32_t* sums) {
    T::template store<S>(sums + S * kTileNumbers, 64);
}

/// Products of B blocks of 16 rows from `block` on with N tiles of anchors: sums[b N + n] is a tile
/// of them. B N <= 4.
template <class T, int B, int N>
static inline void multiply_tiles(const TileJob& job, int block, int tile) {
    const int64_t size = int64_t(job.steps) * kStepBytes;
    const int8_t* rows = job.rows + block * kTileRows * size;
    T::template zero<0>();
    T::template zero<1>();
    T::template zero<2>();
    T::template zero<3>();
    for (int step = 0; step < job.steps; step++) {
        T::template load<4>(rows + step * kStepBytes, size);
        if constexpr (B > 1) {
            T::template load<5>(rows + kTileRows * size + step * kStepBytes, size);
        }
        meet_anchors<T, B, N, 0>(job, tile, step);
        meet_anchors<T, B, N, 1>(job, tile, step);
        meet_anchors<T, B, N, 2>(job, tile, step);
        meet_anchors<T, B, N, 3>(job, tile, step);
    }
    store_sums<T, 0>(job.sums);
    if constexpr (B * N > 1) {
        store_sums<T, 1>(job.sums);
    }
    if constexpr (B * N > 2) {
        store_sums<T, 2>(job.sums);
        store_sums<T, 3>(job.sums);
    }
}

/// The best of each class for 16 rows, see Nearest::classes.
struct ClassBests {
    int rows;
    int32_t* score; ///< rows x 16
    int32_t* tile;  ///< rows x 16
};

/// Takes what 16 rows and N tiles of anchors have made into account.
template <int N>
static inline void keep_best(const AnchorTiles& anchors, int tile, const int32_t* sums, int rows,
                             int32_t* score, int32_t* at) {
    Lanes own[N];
    std::memcpy(own, anchors.offsets + tile * 16, sizeof(own));
    for (int r = 0; r < rows; r++) {
        Lanes best, where;
        std::memcpy(&best, score + r * 16, sizeof(best));
        std::memcpy(&where, at + r * 16, sizeof(where));
        for (int n = 0; n < N; n++) {
            Lanes dot;
            std::memcpy(&dot, sums + n * kTileNumbers + r * 16, sizeof(dot));
            const Lanes number = Lanes{} + (tile + n);
            const Lanes met = own[n] - (dot + dot);
            where = met < best ? number : where;
            best = met < best ? met : best;
        }
        std::memcpy(score + r * 16, &best, sizeof(best));
        std::memcpy(at + r * 16, &where, sizeof(where));
    }
}

template <class T, int B, int N>
static inline void multiply_and_keep(const TileJob& job, int block, int tile,
                                     const ClassBests& bests) {
    multiply_tiles<T, B, N>(job, block, tile);
    for (int b = 0; b < B; b++) {
        const int first = (block + b) * kTileRows;
        const int rows = bests.rows - first < kTileRows ? bests.rows - first : kTileRows;
        keep_best<N>(job.anchors, tile, job.sums + b * N * kTileNumbers, rows,
                     bests.score + first * 16, bests.tile + first * 16);
    }
}

/// Nearest::classes for at most rows_at_once() rows. Two blocks of rows share the anchors that they
/// load, while these lie in the nearest cache.
template <class T>
static inline void best_of_classes(const AnchorTiles& anchors, const int8_t* const* x,
                                   const ClassBests& bests) {
    alignas(64) int8_t packed[kRowBytes];
    alignas(64) int8_t spare[16 * 64];
    alignas(64) int32_t sums[4 * kTileNumbers];
    const TileJob job{anchors, tile_steps(anchors), packed, spare, sums};
    pack_rows(anchors, bests.rows, x, packed);
    for (int i = 0; i < bests.rows * 16; i++) {
        bests.score[i] = INT32_MAX;
        bests.tile[i] = 0;
    }
    const int blocks = (bests.rows + kTileRows - 1) / kTileRows, pairs = blocks / 2 * 2;
    T::begin(kWholeTiles);
    for (int t = 0; t < anchors.tiles && pairs > 0; t += 2) {
        for (int block = 0; block < pairs; block += 2) {
            if (t + 2 <= anchors.tiles) {
                multiply_and_keep<T, 2, 2>(job, block, t, bests);
            } else {
                multiply_and_keep<T, 2, 1>(job, block, t, bests);
            }
        }
    }
    if (pairs < blocks) {
        int t = 0;
        for (; t + 4 <= anchors.tiles; t += 4) {
            multiply_and_keep<T, 1, 4>(job, pairs, t, bests);
        }
        for (; t < anchors.tiles; t++) {
            multiply_and_keep<T, 1, 1>(job, pairs, t, bests);
        }
    }
    T::end();
}

/// Nearest::classes.
template <class T>
static inline void best_of_classes_of_all(const AnchorTiles& anchors, int rows,
                                          const int8_t* const* x, int32_t* score, int32_t* tile) {
    const int most = rows_at_once(anchors);
    for (int r = 0; r < rows; r += most) {
        const int some = rows - r < most ? rows - r : most;
        best_of_classes<T>(anchors, x + r, {some, score + r * 16, tile + r * 16});
    }
}

/// Nearest::rows.
template <class T>
static inline void nearest_of_rows(const AnchorTiles& anchors, int rows, const int8_t* x,
                                   int32_t* label) {
    alignas(64) int32_t score[kMostRows * 16], tile[kMostRows * 16];
    const int8_t* row[kMostRows];
    const int most = rows_at_once(anchors);
    for (int r = 0; r < rows; r += most) {
        const int some = rows - r < most ? rows - r : most;
        for (int i = 0; i < some; i++) {
            row[i] = x + int64_t(r + i) * anchors.groups * 4;
        }
        best_of_classes<T>(anchors, row, {some, score, tile});
        for (int i = 0; i < some; i++) {
            uint64_t first = UINT64_MAX;
            for (int c = 0; c < 16; c++) {
                const uint64_t key = rank_key(score[i * 16 + c], tile[i * 16 + c] * 16 + c);
                first = key < first ? key : first;
            }
            label[r + i] = int32_t(uint32_t(first));
        }
    }
}

/// Scores of N tiles of anchors.
template <class T, int N>
static inline void multiply_and_score(const TileJob& job, int tile, int count, int32_t factor,
                                      int32_t* const* scores) {
    multiply_tiles<T, 1, N>(job, 0, tile);
    for (int n = 0; n < N; n++) {
        Lanes own;
        std::memcpy(&own, job.anchors.offsets + (tile + n) * 16, sizeof(own));
        for (int q = 0; q < count; q++) {
            Lanes dot;
            std::memcpy(&dot, job.sums + n * kTileNumbers + q * 16, sizeof(dot));
            const Lanes score = own + factor * dot;
            std::memcpy(scores[q] + (tile + n) * 16, &score, sizeof(score));
        }
    }
}

/// Rank::many.
template <class T>
static inline void score_many(const AnchorTiles& anchors, int count, const int8_t* const* x,
                              int32_t factor, int32_t* const* scores) {
    static_assert(kManyTogether <= kTileRows, "they are one tile");
    alignas(64) int8_t packed[kRowBytes];
    alignas(64) int8_t spare[16 * 64];
    alignas(64) int32_t sums[4 * kTileNumbers];
    const TileJob job{anchors, tile_steps(anchors), packed, spare, sums};
    pack_rows(anchors, count, x, packed);
    T::begin(kWholeTiles);
    int t = 0;
    for (; t + 4 <= anchors.tiles; t += 4) {
        multiply_and_score<T, 4>(job, t, count, factor, scores);
    }
    for (; t < anchors.tiles; t++) {
        multiply_and_score<T, 1>(job, t, count, factor, scores);
    }
    T::end();
}

} // namespace faiss_vlc
