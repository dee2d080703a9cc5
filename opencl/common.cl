// Shared by all kernels: this file comes first in the one program that holds them all.
// OpenCL C 1.2, no extensions. The integer functions equal those of faiss_vlc/lib/integer_math.h.

#define ANCHOR_BITS 16
#define MAX_ANCHOR (127 << ANCHOR_BITS)
#define SPREAD_BITS 4
#define MAX_BIAS (1 << 28)
#define NO_SCORE INT_MAX

#if defined(HOST) && !defined(DOT_PORTABLE)
// HOST: PoCL on this CPU, where all address spaces are one
#define PREFETCH(address) __builtin_prefetch((const void*)(size_t)(address))
#else
#define PREFETCH(address)
#endif

// floor(sqrt(v)), bit by bit
inline uint isqrt64(ulong v) {
    ulong root = 0;
    for (ulong bit = (ulong)1 << 31; bit != 0; bit >>= 1) {
        const ulong next = root | bit;
        root = next * next <= v ? next : root;
    }
    return (uint)root;
}

inline int isqrt32(uint v) {
    uint root = 0;
    for (uint bit = 1u << 15; bit != 0; bit >>= 1) {
        const uint next = root | bit;
        root = next * next <= v ? next : root;
    }
    return (int)root;
}

// log2(v) with 8 fraction bits, v >= 1
inline int ilog2_q8(uint v) {
    const int e = 31 - (int)clz(v);
    return (int)(((ulong)v << 8) >> e) - 256 + (e << 8);
}

inline uint hash32(uint a, uint b, uint c) {
    uint h = a * 0x9e3779b1u;
    h = (h ^ (h >> 15)) + b * 0x85ebca77u;
    h = (h ^ (h >> 13)) * 0xc2b2ae3du + c * 0x27d4eb2fu;
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h *= 0x846ca68bu;
    return h ^ (h >> 16);
}

// a / b to the nearest, halves away from zero, b > 0
inline long round_div(long a, long b) {
    return (a >= 0 ? a + b / 2 : a - b / 2) / b;
}

inline long clamp_long(long v, long low, long high) {
    return v < low ? low : v > high ? high : v;
}

// A fixed-point number to the nearest one with 11 significant bits, ties to even: a float16, as
// long as neither end of its exponent range is met (anchors and spreads stay inside).
inline int round_to_half(int v) {
    const uint size = abs(v);
    const int drop = 31 - (int)clz(size | 1u) - 10;
    if (drop <= 0) {
        return v;
    }
    const uint rest = size & ((1u << drop) - 1u);
    const uint tie = 1u << (drop - 1);
    uint kept = size >> drop;
    kept += (rest > tie || (rest == tie && (kept & 1u))) ? 1u : 0u;
    const int rounded = (int)(kept << drop);
    return v < 0 ? -rounded : rounded;
}

#if defined(HOST)
// The rows of one of `parts` parts, each of which a work-item takes: see row_parts in sizes.h.
inline int part_begin(int n, int part, int parts) {
    return (int)((long)n * part / parts);
}
inline int part_end(int n, int part, int parts) {
    return part_begin(n, part + 1, parts);
}

// part_count (parts x m) becomes what the parts before have, count (m) what all have.
__kernel void add_parts(__global int* part_count, int m, int parts, __global int* count) {
    const int j = (int)get_global_id(0);
    if (j >= m) {
        return;
    }
    int sum = 0;
    for (int p = 0; p < parts; p++) {
        const int own = part_count[(size_t)p * m + j];
        part_count[(size_t)p * m + j] = sum;
        sum += own;
    }
    count[j] = sum;
}
#endif

// The anchor of a segment: the last j with first_segment[j] <= segment (empty ones come before it).
inline int anchor_of_segment(__global const int* first_segment, int m, int segment) {
    int low = 0;
    int high = m;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (first_segment[middle] <= segment) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// Adds up three numbers over the work-group (a power of two) by a tree in local memory, 3 * group
// size longs: the sums are then at partial[0], partial[size] and partial[2 * size].
inline void group_sum3(__local long* partial, long a, long b, long c) {
    const size_t id = get_local_id(0);
    const size_t size = get_local_size(0);
    partial[id] = a;
    partial[size + id] = b;
    partial[2 * size + id] = c;
    for (size_t half_size = size / 2; half_size > 0; half_size /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < half_size) {
            partial[id] += partial[id + half_size];
            partial[size + id] += partial[size + id + half_size];
            partial[2 * size + id] += partial[2 * size + id + half_size];
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}
