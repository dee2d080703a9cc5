// Queries in lattice coordinates, their scores against all anchors and their rotation into each
// frame: what faiss_vlc/query/query.h's Query does for one query. Everything is exact or a float
// made by the same operations in the same order, each of them rounded.
//
// Options: DOT4_PTX (NVIDIA's 4-way product), DOT4_KHR (cl_khr_integer_dot_product), or neither.
#pragma OPENCL FP_CONTRACT OFF

#if defined(DOT4_PTX)
inline int dot_signed(uint a, uint b, int sum) {
    int result;
    __asm__("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}
inline int dot_unsigned(uint a, uint b, int sum) { // bytes of a are unsigned
    int result;
    __asm__("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}
#elif defined(DOT4_KHR)
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
inline int dot_signed(uint a, uint b, int sum) {
    return sum + dot_4x8packed_ss_int(a, b);
}
inline int dot_unsigned(uint a, uint b, int sum) {
    return sum + dot_4x8packed_us_int(a, b);
}
#else
inline int dot_signed(uint a, uint b, int sum) {
    const int4 p = convert_int4(as_char4(a)) * convert_int4(as_char4(b));
    return sum + ((p.s0 + p.s1) + (p.s2 + p.s3));
}
inline int dot_unsigned(uint a, uint b, int sum) {
    const int4 p = convert_int4(as_uchar4(a)) * convert_int4(as_char4(b));
    return sum + ((p.s0 + p.s1) + (p.s2 + p.s3));
}
#endif

// To the nearest integer, ties to even, as numeric.h has it.
inline int round_even(float v) {
    return as_int(v + 12582912.0f) - 0x4b400000;
}

#define FINE_PART (1.0f / 128.0f)

// One work-item per query and component, padding included. planes: a component for rotation is
// 256 * signed byte + unsigned byte; the first plane holds the signed ones. If it is fine a third
// plane holds what that rounds off, in FINE_PART, signed.
__kernel void prepare_queries(RankShape shape, __global const float* x, __global const float* mean,
                              __global const Head* heads, __global float* lattice,
                              __global char* rank8, __global char* planes) {
    const size_t at = get_global_id(0);
    const int d = shape.d;
    const int dp = shape.dp;
    if (at >= (size_t)shape.n * dp) {
        return;
    }
    const size_t query = at / dp;
    const int k = (int)(at % dp);
    const float u = k < d ? (x[query * d + k] - mean[k]) * shape.scale : 0.0f;
    const Head head = heads[query];
    lattice[at] = u;
    rank8[at] = (char)round_even(min(127.0f, max(-127.0f, u * head.rank_scale)));
    const int wide = k < d ? (short)round_even(u * head.rotation_scale) : 0;
    __global char* to = planes + query * shape.parts * dp + k;
    to[0] = (char)(wide >> 8);
    to[dp] = (char)(wide & 255);
    if (shape.parts == 3) {
        const float low = (u * head.rotation_scale - (float)wide) * (1.0f / FINE_PART);
        to[2 * dp] = (char)(k < d ? round_even(low) : 0);
    }
}

#define TILE 64 // rows of either side that 64 work-items multiply
#define STEP 16 // words at a time

// acc += products of TILE rows of a and as many of b, of `words` words (4 bytes) each. A work-item
// brings one of each and has 8 x 8 sums.
inline void multiply_tile(__global const uint* from_a, __global const uint* from_b, int words,
                          int is_unsigned, __local uint* tile_a, __local uint* tile_b, int* acc) {
    const int id = (int)get_local_id(0);
    const int row = id / 8 * 8;
    const int column = id % 8 * 8;
    for (int k = 0; k < words; k += STEP) {
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = 0; i < STEP; i += 4) { // rows are multiples of 4 words
            const uint4 some_a = k + i < words ? vload4(0, from_a + k + i) : (uint4)(0);
            const uint4 some_b = k + i < words ? vload4(0, from_b + k + i) : (uint4)(0);
            tile_a[(i + 0) * TILE + id] = some_a.s0;
            tile_a[(i + 1) * TILE + id] = some_a.s1;
            tile_a[(i + 2) * TILE + id] = some_a.s2;
            tile_a[(i + 3) * TILE + id] = some_a.s3;
            tile_b[(i + 0) * TILE + id] = some_b.s0;
            tile_b[(i + 1) * TILE + id] = some_b.s1;
            tile_b[(i + 2) * TILE + id] = some_b.s2;
            tile_b[(i + 3) * TILE + id] = some_b.s3;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = 0; i < STEP; i++) {
            uint left[8];
            uint right[8];
            vstore4(vload4(0, tile_a + i * TILE + row), 0, left);
            vstore4(vload4(0, tile_a + i * TILE + row + 4), 0, left + 4);
            vstore4(vload4(0, tile_b + i * TILE + column), 0, right);
            vstore4(vload4(0, tile_b + i * TILE + column + 4), 0, right + 4);
#pragma unroll
            for (int r = 0; r < 8; r++) {
#pragma unroll
                for (int c = 0; c < 8; c++) {
                    acc[r * 8 + c] = is_unsigned ? dot_unsigned(left[r], right[c], acc[r * 8 + c])
                                                 : dot_signed(left[r], right[c], acc[r * 8 + c]);
                }
            }
        }
    }
}

// scores (int n x score_stride, a multiple of TILE): offset_j + factor <q, a_j> - |q| reach_j. A
// work-group of 64 takes TILE queries and TILE anchors.
__kernel void score_anchors(RankShape shape, __global const uint* queries,
                            __global const uint* anchors, __global const int* offset,
                            __global const float* reach, __global const Head* heads,
                            __global int* scores) {
    __local uint tile_a[STEP * TILE];
    __local uint tile_b[STEP * TILE];
    const int n = shape.n;
    const int m = shape.m;
    const int words = shape.dp / 4;
    const int stride = shape.score_stride;
    const int factor = shape.factor;
    const int tiles = stride / TILE;
    const int first_query = (int)get_group_id(0) / tiles * TILE;
    const int first_anchor = (int)get_group_id(0) % tiles * TILE;
    int acc[64];
    for (int i = 0; i < 64; i++) {
        acc[i] = 0;
    }
    const int id = (int)get_local_id(0);
    multiply_tile(queries + (size_t)min(first_query + id, n - 1) * words,
                  anchors + (size_t)min(first_anchor + id, m - 1) * words, words, 0, tile_a, tile_b,
                  acc);
    const int column = first_anchor + id % 8 * 8;
    int start[8];
    float gain[8];
#pragma unroll
    for (int c = 0; c < 8; c++) {
        start[c] = offset[min(column + c, m - 1)];
        gain[c] = reach[min(column + c, m - 1)];
    }
#pragma unroll
    for (int r = 0; r < 8; r++) {
        const int query = first_query + id / 8 * 8 + r;
        if (query < n) {
            __global int* to = scores + (size_t)query * stride + column;
            const float norm = heads[query].rank_norm;
            const int4 gain0 = convert_int4(norm * vload4(0, gain) + 0.5f);
            const int4 gain1 = convert_int4(norm * vload4(1, gain) + 0.5f);
            vstore4(vload4(0, start) + factor * vload4(2 * r, acc) - gain0, 0, to);
            vstore4(vload4(1, start) + factor * vload4(2 * r + 1, acc) - gain1, 1, to);
        }
    }
}

// The scores of queries off the lattice, as off_lattice.h has them. One work-item per query and
// anchor: such queries are few.
__kernel void score_off_lattice(RankShape shape, __global const float* lattice,
                                __global const char* anchors, __global const int* offset,
                                __global const Head* heads, __global int* scores) {
    const size_t at = get_global_id(0);
    const int m = shape.m;
    const int dp = shape.dp;
    if (at >= (size_t)shape.n * m) {
        return;
    }
    const size_t query = at / m;
    const int j = (int)(at % m);
    const int shift = heads[query].rank_shift;
    const float scale = heads[query].rank_scale;
    if (shift == 0) {
        return;
    }
    __global const float* u = lattice + query * dp;
    __global const char* a = anchors + (size_t)j * dp;
    int sum = 0;
    for (int k = 0; k < dp; k += 4) {
        const int4 x = as_int4(vload4(0, u + k) * scale + 12582912.0f) - 0x4b400000;
        const int4 p = x * convert_int4(vload4(0, a + k));
        sum += (p.s0 + p.s1) + (p.s2 + p.s3);
    }
    scores[query * shape.score_stride + j] = (offset[j] >> min(shift, 31)) - sum;
}

// rotated (float n x frames x rotated_stride, a multiple of TILE): the queries along the `slots`
// axes of each frame that they need, whose norms are 1 / inverse_norm. frame_queries: `most` for
// each frame.
__kernel void rotate_queries(RankShape shape, __global const uint* planes,
                             __global const uint* axes, __global const float* inverse_norm,
                             __global const Head* heads, __global const uint* frame_count,
                             __global const uint* frame_queries, __global float* rotated) {
    __local uint tile_a[STEP * TILE];
    __local uint tile_b[STEP * TILE];
    __local uint query[TILE];
    const int frames = shape.frames;
    const int slots = shape.slots;
    const int words = shape.dp / 4;
    const int stride = shape.rotated_stride;
    const int tiles = stride / TILE;
    const int frame = (int)get_group_id(0) / tiles % frames;
    const int first_axis = (int)get_group_id(0) % tiles * TILE;
    const int first = (int)get_group_id(0) / tiles / frames * TILE;
    const int count = (int)frame_count[frame];
    if (first >= count) {
        return;
    }
    int acc[64];
    for (int i = 0; i < 64; i++) {
        acc[i] = 0;
    }
    const int id = (int)get_local_id(0);
    query[id] = frame_queries[(size_t)frame * shape.most + min(first + id, count - 1)];
    __global const uint* plane = planes + (size_t)query[id] * shape.parts * words;
    __global const uint* axis =
            axes + ((size_t)frame * slots + min(first_axis + id, slots - 1)) * words;
    multiply_tile(plane, axis, words, 0, tile_a, tile_b, acc);
    for (int i = 0; i < 64; i++) {
        acc[i] *= 256;
    }
    multiply_tile(plane + words, axis, words, 1, tile_a, tile_b, acc);
    const int column = first_axis + id % 8 * 8;
    const int is_fine = shape.turned == 3;
    if (is_fine) { // the sums so far wait in `rotated`
#pragma unroll
        for (int r = 0; r < 8; r++) {
            const int row = id / 8 * 8 + r;
            if (first + row < count) {
                __global float* to =
                        rotated + ((size_t)query[row] * frames + frame) * stride + column;
                vstore4(convert_float4(vload4(2 * r, acc)), 0, to);
                vstore4(convert_float4(vload4(2 * r + 1, acc)), 1, to);
            }
        }
        for (int i = 0; i < 64; i++) {
            acc[i] = 0;
        }
        multiply_tile(plane + 2 * words, axis, words, 0, tile_a, tile_b, acc);
    }
    float inverse[8];
#pragma unroll
    for (int c = 0; c < 8; c++) {
        inverse[c] = inverse_norm[frame * slots + min(column + c, slots - 1)];
    }
#pragma unroll
    for (int r = 0; r < 8; r++) {
        const int row = id / 8 * 8 + r;
        if (first + row < count) {
            const float unit = heads[query[row]].unit;
            __global float* to = rotated + ((size_t)query[row] * frames + frame) * stride + column;
            float4 low = 0;
            float4 high = 0;
            if (is_fine) {
                low = vload4(0, to);
                high = vload4(1, to);
            }
            const float4 more_low = convert_float4(vload4(2 * r, acc));
            const float4 more_high = convert_float4(vload4(2 * r + 1, acc));
            low = is_fine ? low + more_low * FINE_PART : more_low;
            high = is_fine ? high + more_high * FINE_PART : more_high;
            vstore4(low * (unit * vload4(0, inverse)), 0, to);
            vstore4(high * (unit * vload4(1, inverse)), 1, to);
        }
    }
}
