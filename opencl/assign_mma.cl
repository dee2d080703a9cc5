// The nearest anchors of each row by mma.sync, from NVIDIA's compute capability 8.0 on; what it
// leaves where is told in assign_tensor.cl. A warp takes 32 rows through all anchors, N_TILE at a
// time; anchors are read in the order of its registers, straight through the first-level cache.
//
// Build options: K_STEPS, N_TILE (32 or 64 anchors), WARPS per work-group.

#define THREADS (WARPS * 32)
#define ROWS_HELD (K_STEPS <= 12) // rows stay in registers

// From anchor8 m x dp: 16 bytes per [64 anchors][32 dimensions][16 anchors][lane of the warp].
__kernel void pack_mma(__global const char* anchor8, int m, int dp, int padded,
                       __global uchar* packed) {
    const size_t id = get_global_id(0);
    if (id >= (size_t)padded * (2 * K_STEPS)) {
        return;
    }
    const int lane = (int)(id % 32);
    const int j = (int)(id / (128 * K_STEPS)) * 64 + (int)(id / 32 % 4) * 16 + lane / 4;
    const int k = (int)(id / 128 % K_STEPS) * 32 + lane % 4 * 4;
    __global const char* from = anchor8 + (size_t)j * dp + k;
    int4 v = 0;
    if (j < m) {
        v.x = *(__global const int*)from;
        v.y = k + 16 < dp ? *(__global const int*)(from + 16) : 0;
    }
    if (j + 8 < m) {
        from += (size_t)8 * dp;
        v.z = *(__global const int*)from;
        v.w = k + 16 < dp ? *(__global const int*)(from + 16) : 0;
    }
    *(__global int4*)(packed + id * 16) = v;
}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void
assign_mma(__global const char* rows, __global const int* row_constant,
           __global const uchar* packed, __global const int* constants, __global const int* norm,
           int n, int m, int dp, int neighbours, int skip_own, __global int* label,
           __global int* dist) {
    __local int2 kept[16][THREADS]; // (score, tile) of the winners: touched every 2^bits tiles
    const int id = (int)get_local_id(0);
    const int lane = id % 32;
    const int q = lane % 4;
    const int first = (int)get_group_id(0) * THREADS + id / 32 * 32;
    const int row0 = first + lane / 4;
    __global const int* from[4];
#pragma unroll
    for (int h = 0; h < 4; h++) {
        from[h] = (__global const int*)(rows + (size_t)min(row0 + 8 * h, n - 1) * dp) + q;
    }
#if ROWS_HELD
    int x[K_STEPS][2][4];
#pragma unroll
    for (int k = 0; k < K_STEPS; k++) {
        load_rows(from, k, dp, x[k]);
    }
#endif
    const int bits = TILE_BITS(constants[0], dp);
    const int mask = (1 << bits) - 1;
    const int scale = 2 << bits;
    int best[16];
#pragma unroll
    for (int i = 0; i < 16; i++) {
        best[i] = INT_MIN;
        kept[i][id] = (int2)(INT_MIN, -1);
    }
    const int passes = (m + N_TILE - 1) / N_TILE;
    for (int pass = 0; pass < passes; pass++) {
        const int at = pass * N_TILE;
        __global const int4* anchors = (__global const int4*)packed +
                                       (size_t)(at / 64) * (128 * K_STEPS) + at % 64 * 2 + lane;
        int c[2][N_TILE / 8][4];
#if ROWS_HELD
#pragma unroll
#else
#pragma unroll 1
#endif
        for (int k = 0; k < K_STEPS; k++) {
#if ROWS_HELD
#define X x[k]
#else
            int now[2][4];
            load_rows(from, k, dp, now);
#define X now
            if (k == 0) {
#pragma unroll
                for (int i = 0; i < N_TILE; i++) {
                    c[i / (N_TILE / 2)][i % (N_TILE / 2) / 4][i % 4] = 0;
                }
            }
#endif
#pragma unroll
            for (int t = 0; t < N_TILE / 16; t++) {
                const int4 b = anchors[k * 128 + t * 32];
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    if (ROWS_HELD && k == 0) {
                        FIRST_MULTIPLY(c[h][2 * t], X[h], b.x, b.y);
                        FIRST_MULTIPLY(c[h][2 * t + 1], X[h], b.z, b.w);
                    } else {
                        MULTIPLY(c[h][2 * t], X[h], b.x, b.y);
                        MULTIPLY(c[h][2 * t + 1], X[h], b.z, b.w);
                    }
                }
            }
        }
        __global const int4* add =
                (__global const int4*)(constants + CONSTANTS_FROM + at / 64 * 64 + at % 64 / 4) +
                q * 4;
// for each of a row's classes i and each 16 anchors t
#define KEEP(VALUE)                                                                              \
    _Pragma("unroll") for (int t = 0; t < N_TILE / 16; t++) {                                    \
        const int4 plus = add[t];                                                                \
        const int constant_of[4] = {plus.x, plus.y, plus.z, plus.w};                             \
        _Pragma("unroll") for (int i = 0; i < 16; i++) {                                         \
            const int h = i / 4;                                                                 \
            const int value =                                                                    \
                    c[h / 2][2 * t + i % 4 / 2][h % 2 * 2 + i % 2] * scale + constant_of[i % 4]; \
            best[i] = max(best[i], VALUE);                                                       \
        }                                                                                        \
    }
        if (skip_own && first < at + N_TILE && first + 32 > at) {
            const int own = row0 - at - q * 2;
            KEEP(t * 16 + i % 4 / 2 * 8 + i % 2 - i / 4 * 8 == own ? INT_MIN : value)
        } else {
            KEEP(value)
        }
        const int seen = (at + N_TILE) / 16;
        if ((seen & mask) == 0) {
#pragma unroll
            for (int i = 0; i < 16; i++) {
                int2 known = kept[i][id];
                int score = known.x;
                int tile = known.y;
                unpack(bits, seen, best + i, &score, &tile);
                kept[i][id] = (int2)(score, tile);
            }
        }
    }
#pragma unroll
    for (int h = 0; h < 4; h++) {
        long key[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int2 known = kept[h * 4 + i][id];
            int score = known.x;
            int tile = known.y;
            unpack(bits, passes * (N_TILE / 16), best + h * 4 + i, &score, &tile);
            key[i] = winner_key(score, tile, q, i);
        }
        store_winners(key, q, row0 + 8 * h, n, neighbours, row_constant, constants, bits, norm,
                      label, dist);
    }
}
