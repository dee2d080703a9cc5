// The nearest anchors of each row: faiss_vlc/train/stages/assign.h is the specification. A
// work-item takes ROWS rows through all anchors, 16 at a time: lane l of a vector belongs to the
// anchors j with j mod 16 == l and keeps the best of them, so a winner costs a compare and two
// selects.
//
// ROWS and one of DOT_VNNI, DOT_AVX2, DOT_PORTABLE, DOT_PACKED are build options. Packed anchors,
// tile = 16:
//   VNNI          [tile][d / 4][anchor of the tile][4 dims], unsigned: value + 128
//   AVX2, PACKED  the same, signed
//   PORTABLE      [tile][d][anchor of the tile], signed
// VNNI multiplies unsigned by signed bytes; the 128 <x, 1> too much is the same for all anchors of
// a row, so only row_constant knows of it. AVX2 has no signed product of bytes either, and its
// unsigned operand must be below 128 to be exact: it takes |a|, and x with all bits flipped where
// a < 0. That is -x - 1 instead of -x, so sums of an anchor start from start_j = sum of |a| over
// a < 0.

#define LANES ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
// Scores stay below 2^30 (d <= 4096); a row's own anchor gets more when it is to be left out.
#define SCORE_LIMIT (1 << 30)

// Puts one anchor into its lane of a tile; returns what its sums start from.
inline int pack_anchor(__global const char* anchor8, int valid, int dp, __global uchar* tile,
                       int lane) {
    int start = 0;
    for (int group = 0; group < dp / 4; group++, tile += 64) {
        const char4 value = valid ? vload4(group, anchor8) : (char4)(0);
#if defined(DOT_PORTABLE)
        tile[lane] = as_uchar(value.s0);
        tile[lane + 16] = as_uchar(value.s1);
        tile[lane + 32] = as_uchar(value.s2);
        tile[lane + 48] = as_uchar(value.s3);
#elif defined(DOT_PACKED)
        vstore4(as_uchar4(value), lane, tile);
#elif defined(DOT_AVX2)
        vstore4(as_uchar4(value), lane, tile);
        const int4 negative = max(-convert_int4(value), 0);
        start += negative.s0 + negative.s1 + negative.s2 + negative.s3;
#else
        // padding is 0 without the 128: its sums must stay 0
        vstore4(valid ? as_uchar4(value) ^ (uchar4)(128) : (uchar4)(0), lane, tile);
#endif
    }
    return start;
}

// One work-item per anchor, padding included.
__kernel void pack_anchors(__global const char* anchor8, int m, int dp, int padded,
                           __global uchar* packed, __global int* start_j) {
    const int anchor = (int)get_global_id(0);
    if (anchor >= padded) {
        return;
    }
    const int lane = anchor % 16;
    start_j[anchor] = pack_anchor(anchor8 + (size_t)min(anchor, m - 1) * dp, anchor < m, dp,
                                  packed + (size_t)(anchor / 16) * dp * 16, lane);
}

// constant_j = norm_j + bias_j; padding never wins
__kernel void anchor_constants(__global const int* norm, __global const int* bias, int use_bias,
                               int m, int padded, __global int* constant_j) {
    const int j = (int)get_global_id(0);
    if (j < padded) {
        constant_j[j] = j >= m ? NO_SCORE : use_bias ? norm[j] + bias[j] : norm[j];
    }
}

// What has to be added to norm_j - 2 * dot to get the squared distance.
__kernel void row_constants(__global const char* rows, int n, int dp, __global int* row_constant) {
    const int i = (int)get_global_id(0);
    if (i >= n) {
        return;
    }
    __global const char* x = rows + (size_t)i * dp;
    int square = 0;
    int sum = 0;
    for (int k = 0; k < dp; k++) {
        const int v = x[k];
        square += v * v;
        sum += v;
    }
#if defined(DOT_VNNI)
    square += 256 * sum;
#endif
    row_constant[i] = square;
}

inline int min_lane(int16 v) {
    const int8 a = min(v.lo, v.hi);
    const int4 b = min(a.lo, a.hi);
    const int2 c = min(b.lo, b.hi);
    return min(c.x, c.y);
}

// The K best of 16 lanes by (score, anchor).
inline void store_row(int16 best, int16 tile, int row, int neighbours, int row_constant,
                      __global const int* constant_j, __global const int* norm, __global int* label,
                      __global int* dist) {
    const int16 anchor = tile * 16 + LANES;
    for (int r = 0; r < neighbours; r++) {
        const int score = min_lane(best);
        const int j = min_lane(select((int16)(INT_MAX), anchor, best == (int16)(score)));
        const size_t at = (size_t)row * neighbours + r;
        if (score < SCORE_LIMIT) {
            label[at] = j;
            dist[at] = score - constant_j[j] + norm[j] + row_constant;
        } else {
            label[at] = -1;
            dist[at] = INT_MAX;
        }
        best = select(best, (int16)(NO_SCORE), anchor == (int16)(j));
    }
}

#if ROWS == 2
#define EACH_ROW(DO) DO(0) DO(1)
#define EACH_ROW_OF(DO, what) DO(0, what) DO(1, what)
#elif ROWS == 4
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3)
#define EACH_ROW_OF(DO, what) DO(0, what) DO(1, what) DO(2, what) DO(3, what)
#elif ROWS == 6
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define EACH_ROW_OF(DO, what) \
    DO(0, what) DO(1, what) DO(2, what) DO(3, what) DO(4, what) DO(5, what)
#else
#error "ROWS must be 2, 4 or 6"
#endif

// Per way to multiply: WORD is how a row is read, TILES the tiles taken at once, and macros over
// the row number r: SUMS declares and clears the sums, PASS is the loop over dimensions, EACH_SUM
// hands over (row, tile of the pass, sum as int16).
#if defined(DOT_VNNI)
#if !defined(__AVX512F__)
#error "the OpenCL compiler does not target AVX-512"
#endif

#define WORD int
#define TILES 4
// sum += unsigned bytes of a times signed bytes of w, by fours
#define DOT(sum, a, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w))
#define SUMS(r) int16 sum##r##0 = 0, sum##r##1 = 0, sum##r##2 = 0, sum##r##3 = 0;
#define STEP(r)                           \
    {                                     \
        const int16 w = (int16)(x##r[g]); \
        DOT(sum##r##0, a0, w);            \
        DOT(sum##r##1, a1, w);            \
        DOT(sum##r##2, a2, w);            \
        DOT(sum##r##3, a3, w);            \
    }
#define PASS                                                                             \
    {                                                                                    \
        __global const int16* p = (__global const int16*)packed + (size_t)tile * groups; \
        for (int g = 0; g < groups; g++) {                                               \
            const int16 a0 = p[g], a1 = p[g + groups];                                   \
            const int16 a2 = p[g + 2 * groups], a3 = p[g + 3 * groups];                  \
            EACH_ROW(STEP)                                                               \
        }                                                                                \
    }
#define EACH_SUM(DO, r) \
    DO(r, 0, sum##r##0) DO(r, 1, sum##r##1) DO(r, 2, sum##r##2) DO(r, 3, sum##r##3)

#elif defined(DOT_AVX2)
#if !defined(__AVX2__)
#error "the OpenCL compiler does not target AVX2"
#endif

#define WORD int
#define TILES 1
// Builtins, not assembly: see takes_assembly in kernels.cpp. Pairs of products stay inside 16 bits:
// 2 * 127 * 128 < 2^15.
typedef char char32 __attribute__((ext_vector_type(32)));
#define DOT(sum, size, sign, w)       \
    sum += __builtin_ia32_pmaddwd256( \
            __builtin_ia32_pmaddubsw256(size, __builtin_astype((w) ^ (sign), char32)), ones);
#define SIGN_SIZE(a, sign, size)                                     \
    const char32 bytes_##sign = __builtin_astype(a, char32);         \
    const char32 negative_##sign = bytes_##sign < (char32)((char)0); \
    const int8 sign = __builtin_astype(negative_##sign, int8);       \
    const char32 size = (bytes_##sign ^ negative_##sign) - negative_##sign;
#define SUMS(r)                              \
    int8 low##r = vload8(2 * tile, start_j); \
    int8 high##r = vload8(2 * tile + 1, start_j);
#define STEP(r)                         \
    {                                   \
        const int8 w = (int8)(x##r[g]); \
        DOT(low##r, size0, sign0, w)    \
        DOT(high##r, size1, sign1, w)   \
    }
#define PASS                                                                               \
    {                                                                                      \
        const short16 ones = (short16)(1);                                                 \
        __global const int8* p = (__global const int8*)packed + (size_t)tile * groups * 2; \
        for (int g = 0; g < groups; g++) {                                                 \
            SIGN_SIZE(p[2 * g], sign0, size0)                                              \
            SIGN_SIZE(p[2 * g + 1], sign1, size1)                                          \
            EACH_ROW(STEP)                                                                 \
        }                                                                                  \
    }
#define EACH_SUM(DO, r) DO(r, 0, (int16)(low##r, high##r))

#elif defined(DOT_PORTABLE)

#define WORD char4
#define TILES 1
// two products of bytes within [-127, 127] fit 16 bits
#define SUMS(r) int16 sum##r = 0;
#define STEP(r)                                                                                \
    {                                                                                          \
        const short4 w = convert_short4(x##r[g]);                                              \
        sum##r += convert_int16(a0 * w.s0 + a1 * w.s1) + convert_int16(a2 * w.s2 + a3 * w.s3); \
    }
#define PASS                                                                                      \
    {                                                                                             \
        __global const char16* p = (__global const char16*)packed + (size_t)tile * groups * 4;    \
        for (int g = 0; g < groups; g++) {                                                        \
            const short16 a0 = convert_short16(p[4 * g]), a1 = convert_short16(p[4 * g + 1]);     \
            const short16 a2 = convert_short16(p[4 * g + 2]), a3 = convert_short16(p[4 * g + 3]); \
            EACH_ROW(STEP)                                                                        \
        }                                                                                         \
    }
#define EACH_SUM(DO, r) DO(r, 0, sum##r)

#elif defined(DOT_PACKED)
// For GPUs: 4 products at once where the device has an instruction for that.
#if defined(DOT4_PTX)
inline int dot4(int a, int b, int sum) {
    int result;
    __asm__("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}
#elif defined(cl_khr_integer_dot_product)
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
inline int dot4(int a, int b, int sum) {
    return sum + dot_4x8packed_ss_int((uint)a, (uint)b);
}
#else
inline int dot4(int a, int b, int sum) {
    const short4 p = convert_short4(as_char4(a)) * convert_short4(as_char4(b));
    return sum + (p.s0 + p.s1) + (p.s2 + p.s3);
}
#endif

#define WORD int4
#define TILES 1
#define SUMS(r) int16 sum##r = 0;
#define DOT(r, lane, w) sum##r.s##lane = dot4(a.s##lane, w, sum##r.s##lane);
#define DOTS(r, w) \
    DOT(r, 0, w)   \
    DOT(r, 1, w)   \
    DOT(r, 2, w)   \
    DOT(r, 3, w)   \
    DOT(r, 4, w)   \
    DOT(r, 5, w)   \
    DOT(r, 6, w)   \
    DOT(r, 7, w)   \
    DOT(r, 8, w)   \
    DOT(r, 9, w) DOT(r, a, w) DOT(r, b, w) DOT(r, c, w) DOT(r, d, w) DOT(r, e, w) DOT(r, f, w)
#define FETCH(r) const int4 word##r = x##r[g];
#define STEP0(r) DOTS(r, word##r.s0)
#define STEP1(r) DOTS(r, word##r.s1)
#define STEP2(r) DOTS(r, word##r.s2)
#define STEP3(r) DOTS(r, word##r.s3)
// rows are multiples of 16 bytes
#define PASS                                                                             \
    {                                                                                    \
        __global const int16* p = (__global const int16*)packed + (size_t)tile * groups; \
        for (int g = 0; g < groups / 4; g++, p += 4) {                                   \
            EACH_ROW(FETCH)                                                              \
            int16 a = p[0];                                                              \
            EACH_ROW(STEP0)                                                              \
            a = p[1];                                                                    \
            EACH_ROW(STEP1)                                                              \
            a = p[2];                                                                    \
            EACH_ROW(STEP2)                                                              \
            a = p[3];                                                                    \
            EACH_ROW(STEP3)                                                              \
        }                                                                                \
    }
#define EACH_SUM(DO, r) DO(r, 0, sum##r)

#else
#error "no way to multiply is chosen"
#endif

// `skip_own`: row i is anchor i and must not find itself.
__kernel void assign(__global const char* rows, __global const int* row_constant,
                     __global const uchar* packed, __global const int* start_j,
                     __global const int* constant_j, __global const int* norm, int n, int m, int dp,
                     int neighbours, int skip_own, __global int* label, __global int* dist) {
    const int first = (int)get_global_id(0) * ROWS;
    if (first >= n) {
        return;
    }
    const int groups = dp / 4;
    const int tiles = (m + 15) / 16;
#define OPEN(r)                                                                        \
    __global const WORD* x##r =                                                        \
            (__global const WORD*)(rows + (size_t)min(first + r, n - 1) * (size_t)dp); \
    int16 best##r = NO_SCORE;                                                          \
    int16 at##r = -1;
    EACH_ROW(OPEN)
#undef OPEN
    for (int tile = 0; tile < tiles; tile += TILES) {
        EACH_ROW(SUMS)
        PASS const int has_own =
                skip_own && first < (tile + TILES) * 16 && first + ROWS > tile * 16;
#define KEEP(r, t, sum)                                                    \
    {                                                                      \
        int16 score = vload16(tile + t, constant_j) - 2 * sum;             \
        if (has_own) {                                                     \
            score = select(score, (int16)(SCORE_LIMIT),                    \
                           (tile + t) * 16 + LANES == (int16)(first + r)); \
        }                                                                  \
        at##r = select(at##r, (int16)(tile + t), score < best##r);         \
        best##r = min(best##r, score);                                     \
    }
#define KEEP_ROW(r) EACH_SUM(KEEP, r)
        EACH_ROW(KEEP_ROW)
    }
#define STORE(r)                                                                              \
    if (first + r < n) {                                                                      \
        store_row(best##r, at##r, first + r, neighbours, row_constant[first + r], constant_j, \
                  norm, label, dist);                                                         \
    }
    EACH_ROW(STORE)
}

// The first of each row's `neighbours` values.
__kernel void take_first(__global const int* values, int n, int neighbours, __global int* first) {
    const int i = (int)get_global_id(0);
    if (i < n) {
        first[i] = values[(size_t)i * neighbours];
    }
}

// Changes against the previous nearest labels (replaced) and energies of rows before and from
// n_train: three sums per work-group, which the host adds up.
__kernel void summarize(__global const int* label, __global const int* dist, int n, int n_train,
                        int neighbours, __global int* previous, __local long* partial,
                        __global long* sums) {
    const int local_id = (int)get_local_id(0);
    long changes = 0;
    long train = 0;
    long held = 0;
    for (size_t i = get_global_id(0); i < (size_t)n; i += get_global_size(0)) {
        const int nearest = label[i * neighbours];
        const int energy = dist[i * neighbours];
        changes += nearest != previous[i] ? 1 : 0;
        previous[i] = nearest;
        if (i < (size_t)n_train) {
            train += energy;
        } else {
            held += energy;
        }
    }
    group_sum3(partial, changes, train, held);
    if (local_id < 3) {
        sums[get_group_id(0) * 3 + local_id] = partial[local_id * get_local_size(0)];
    }
}
