// Assignment among the anchors near a row's last one: faiss_vlc/train/stages/near.h is the
// specification. Rows are sorted by their last anchor, so that its list is fetched once for all of
// them. After assign.cl, whose ways to multiply it uses. Lists are padded with -1 to `stride`
// anchors, a multiple of 16.

#define NEAR_SEGMENT 256 // rows of one anchor in a work-group, as in reduce.cl's prefix

#if !defined(DOT_PACKED)
inline int dot4(int a, int b, int sum) {
    const short4 p = convert_short4(as_char4(a)) * convert_short4(as_char4(b));
    return sum + (p.s0 + p.s1) + (p.s2 + p.s3);
}
#endif

__kernel void count_labels(__global const int* previous, int n, __global int* count) {
    const int i = (int)get_global_id(0);
    if (i < n) {
        atomic_inc(count + previous[i]);
    }
}

// Rows by anchor, in any order within it.
__kernel void scatter_rows(__global const int* previous, int n, __global int* cursor,
                           __global int* order) {
    const int i = (int)get_global_id(0);
    if (i < n) {
        order[atomic_inc(cursor + previous[i])] = i;
    }
}

#if defined(HOST)
// The same by parts of the rows, see reduce.cl.
__kernel void count_label_parts(__global const int* previous, int n, int m, int parts,
                                __global int* part_count) {
    const int part = (int)get_global_id(0);
    if (part >= parts) {
        return;
    }
    __global int* own = part_count + (size_t)part * m;
    for (int j = 0; j < m; j++) {
        own[j] = 0;
    }
    const int end = part_end(n, part, parts);
    for (int i = part_begin(n, part, parts); i < end; i++) {
        own[previous[i]]++;
    }
}

__kernel void scatter_row_parts(__global const int* previous, int n, int m, int parts,
                                __global const int* first_row, __global int* part_count,
                                __global int* order) {
    const int part = (int)get_global_id(0);
    if (part >= parts) {
        return;
    }
    __global int* own = part_count + (size_t)part * m;
    const int end = part_end(n, part, parts);
    for (int i = part_begin(n, part, parts); i < end; i++) {
        const int j = previous[i];
        order[first_row[j] + own[j]++] = i;
    }
}
#endif

// score: |a_o|^2 - 2 <a_o, a_j> for anchors j from `begin` on, `count` rows of `padded`. An anchor
// gets INT_MIN for itself, padding NO_SCORE. A work-item takes ROWS rows and `share` tiles;
// neighbouring ones take the same tiles.
__kernel void score_anchors(__global const char* anchor8, __global const uchar* packed,
                            __global const int* start_j, __global const int* norm, int begin,
                            int count, int m, int padded, int dp, int share, __global int* score) {
    const int row_blocks = (count + ROWS - 1) / ROWS;
    const int first = (int)get_global_id(0) % row_blocks * ROWS;
    const int first_tile = (int)get_global_id(0) / row_blocks * share;
    const int groups = dp / 4;
    const int tiles = min((m + 15) / 16, first_tile + share);
#define OPEN(r)                              \
    __global const WORD* x##r =              \
            (__global const WORD*)(anchor8 + \
                                   (size_t)(begin + min(first + r, count - 1)) * (size_t)dp);
    EACH_ROW(OPEN)
#undef OPEN
    for (int tile = first_tile; tile < tiles; tile += TILES) {
        EACH_ROW(SUMS)
        PASS
#define PUT(r, t, sum)                                                                 \
    if (first + r < count && tile + t < tiles) {                                       \
        const int16 anchor = (tile + t) * 16 + LANES;                                  \
        int16 value = vload16(tile + t, norm) - 2 * sum;                               \
        value = select(value, (int16)(NO_SCORE), anchor >= (int16)(m));                \
        value = select(value, (int16)(INT_MIN), anchor == (int16)(begin + first + r)); \
        vstore16(value, tile + t, score + (size_t)(first + r) * padded);               \
    }
#define PUT_ROW(r) EACH_SUM(PUT, r)
        EACH_ROW(PUT_ROW)
    }
}

// Minus the sum of the lanes: how many of them are true.
inline int count_lanes(int16 v) {
    const int8 a = v.lo + v.hi;
    const int4 b = a.lo + a.hi;
    return -(b.s0 + b.s1 + b.s2 + b.s3);
}

#if defined(HOST)
// The smallest score with at least `length` up to it, or a number between it and the next if there
// are just `length`: by bisection between the smallest score and the largest of 128 classes'
// smallest ones. The work-group is one work-item.
inline int near_threshold(__global const int* own, int tiles, int length, __local int* bins) {
    int low = NO_SCORE;
    int high = INT_MIN;
    for (int c = 0; c < 8; c++) {
        int16 least = NO_SCORE;
        for (int t = c; t < tiles; t += 8) {
            const int16 value = vload16(t, own);
            least = min(least, select(value, (int16)(NO_SCORE), value == (int16)(INT_MIN)));
        }
        low = min(low, min_lane(least));
        high = max(high, -min_lane(-least));
    }
    high = length > 128 ? SCORE_LIMIT : min(high, SCORE_LIMIT);
    while (low < high) {
        const int middle = (int)(((long)low + high) >> 1);
        int16 met16 = 0;
        for (int t = 0; t < tiles; t++) {
            met16 += vload16(t, own) <= (int16)(middle);
        }
        const int met = count_lanes(met16);
        if (met == length) {
            return middle;
        }
        if (met > length) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return high;
}
#else
#define BINS 256

// The same by histograms, each of the bin of the last one that the threshold lies in. After BINS
// numbers `bins` has 4 more: bounds of the scores, then what was chosen.
inline int near_threshold(__global const int* own, int tiles, int length, __local int* bins) {
    const int id = (int)get_local_id(0);
    const int size = (int)get_local_size(0);
    __local int* bounds = bins + BINS;
    if (id == 0) {
        bounds[0] = NO_SCORE;
        bounds[1] = INT_MIN;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int low = NO_SCORE;
    int high = INT_MIN;
    for (int i = id; i < tiles * 16; i += size) {
        const int value = own[i];
        low = value == INT_MIN ? low : min(low, value);
        high = value == NO_SCORE ? high : max(high, value);
    }
    atomic_min(bounds, low);
    atomic_max(bounds + 1, high);
    barrier(CLK_LOCAL_MEM_FENCE);
    low = bounds[0];
    high = bounds[1];
    int met = 1; // scores below low: the anchor itself
    for (;;) {
        const uint range = (uint)high - (uint)low;
        const int shift = max(24 - (int)clz(range), 0);
        for (int i = id; i < BINS; i += size) {
            bins[i] = 0;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = id; i < tiles * 16; i += size) {
            const int value = own[i];
            if (value >= low && value <= high) {
                atomic_inc(bins + (((uint)value - (uint)low) >> shift));
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id == 0) {
            int bin = 0;
            while (met + bins[bin] < length) {
                met += bins[bin++];
            }
            bounds[2] = bin;
            bounds[3] = met;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        const int bin = bounds[2];
        met = bounds[3];
        const int most = high;
        low += bin << shift;
        high = (int)min((uint)most - (uint)low, (1u << shift) - 1u) + low;
        if (shift == 0 || met + bins[bin] == length) {
            return high;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

#define CANDIDATES 1024 // room for them in local memory

// The `length` smallest scores in two readings, or false where too many are candidates. Scores
// fall into 4 classes a work-item: the length-th smallest of the classes' smallest ones bounds the
// scores that are wanted, and lets few others in. `few` holds 3 x CANDIDATES numbers, `met` 2.
inline bool select_few(__global const int* own, int tiles, int length, __global int* out,
                       __local int* few, __local int* met) {
    const int id = (int)get_local_id(0);
    const int size = (int)get_local_size(0);
    const int quads = tiles * 4;
    if (length > 2 * size || 4 * size > 3 * CANDIDATES) {
        return false;
    }
    int4 least = NO_SCORE;
    int at_quad = id;
    for (; at_quad + 3 * size < quads; at_quad += 4 * size) { // four loads are under way at once
        const int4 a = vload4(at_quad, own);
        const int4 b = vload4(at_quad + size, own);
        const int4 c = vload4(at_quad + 2 * size, own);
        const int4 d = vload4(at_quad + 3 * size, own);
        least = min(least, min(min(a, b), min(c, d)));
    }
    for (; at_quad < quads; at_quad += size) {
        least = min(least, vload4(at_quad, own));
    }
    vstore4(least, id, few);
    if (id == 0) {
        met[0] = 0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int4 less = 0; // minus counts: true is -1, and Oclgrind takes its negation for 255
    int4 same = 0;
    const int filled = id < quads ? 4 * min(size, quads) : 0; // the other classes are empty
    for (int k = 0; k < filled; k++) {
        const int4 value = few[k];
        less += value < least;
        same += value == least;
    }
    const int4 met_here = (less > (int4)(-length)) & (less + same <= (int4)(-length));
    if (any(met_here)) { // all that get here have the same
        met[1] = met_here.x ? least.x : met_here.y ? least.y : met_here.z ? least.z : least.w;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const int bound = met[1];
    __local int* value = few;
    __local int* anchor = few + CANDIDATES;
    __local int* chosen = few + 2 * CANDIDATES;
#define TAKE(v, i)                         \
    if ((v) <= bound) {                    \
        const int place = atomic_inc(met); \
        if (place < CANDIDATES) {          \
            value[place] = (v);            \
            anchor[place] = (i);           \
        }                                  \
    }
#define TAKE_QUAD(v, quad)           \
    if (any((v) <= (int4)(bound))) { \
        TAKE((v).x, (quad)*4)        \
        TAKE((v).y, (quad)*4 + 1)    \
        TAKE((v).z, (quad)*4 + 2)    \
        TAKE((v).w, (quad)*4 + 3)    \
    }
    at_quad = id;
    for (; at_quad + 3 * size < quads; at_quad += 4 * size) {
        const int4 a = vload4(at_quad, own);
        const int4 b = vload4(at_quad + size, own);
        const int4 c = vload4(at_quad + 2 * size, own);
        const int4 d = vload4(at_quad + 3 * size, own);
        TAKE_QUAD(a, at_quad)
        TAKE_QUAD(b, at_quad + size)
        TAKE_QUAD(c, at_quad + 2 * size)
        TAKE_QUAD(d, at_quad + 3 * size)
    }
    for (; at_quad < quads; at_quad += size) {
        const int4 a = vload4(at_quad, own);
        TAKE_QUAD(a, at_quad)
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const int candidates = met[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    if (candidates > CANDIDATES) {
        return false;
    }
    if (id == 0) {
        met[0] = 0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = id; i < candidates; i += size) {
        int rank = 0;
        for (int k = 0; k < candidates; k++) {
            rank += value[k] < value[i] || (value[k] == value[i] && anchor[k] < anchor[i]);
        }
        if (rank < length) {
            chosen[atomic_inc(met)] = anchor[i];
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = id; i < length; i += size) {
        int rank = 0;
        for (int k = 0; k < length; k++) {
            rank += chosen[k] < chosen[i];
        }
        out[rank] = chosen[i];
    }
    return true;
}
#endif

// One work-group per anchor: the `length` smallest scores, ties by number.
__kernel void select_near(__global const int* score, int begin, int m, int padded, int length,
                          int stride, __global int* list, __local int* below, __local int* equal,
                          __local int* bins, __local int* few) {
    const int id = (int)get_local_id(0);
    const int size = (int)get_local_size(0);
    const int j = begin + (int)get_group_id(0);
    __global const int* own = score + get_group_id(0) * (size_t)padded;
    __global int* out = list + (size_t)j * stride;
    const int tiles = (m + 15) / 16;
    for (int p = length + id; p < stride; p += size) {
        out[p] = -1;
    }
#if !defined(HOST)
    if (select_few(own, tiles, length, out, few, below)) {
        return;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    const int share = (tiles + size - 1) / size;
    const int from = min(id * share, tiles);
    const int to = min(from + share, tiles);
    const int high = length == 1 ? INT_MIN : near_threshold(own, tiles, length, bins);
    // all below the threshold, and as many equal to it as there is room for
    int less = 0;
    int same = 0;
    for (int t = from; t < to; t++) {
        const int16 value = vload16(t, own);
        less += count_lanes(value < (int16)(high));
        same += count_lanes(value == (int16)(high));
    }
    below[id] = less;
    equal[id] = same;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (id == 0) {
        int total = 0;
        for (int k = 0; k < size; k++) {
            total += below[k];
        }
        int room = length - total;
        int at = 0;
        for (int k = 0; k < size; k++) {
            const int taken = min(room, equal[k]);
            const int count = below[k] + taken;
            room -= taken;
            below[k] = at;
            equal[k] = taken;
            at += count;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int at = below[id];
    int ties = equal[id];
    for (int t = from; t < to; t++) {
        if (!any(vload16(t, own) <= (int16)(high))) {
            continue;
        }
        for (int lane = 0; lane < 16; lane++) {
            const int value = own[t * 16 + lane];
            if (value < high || (value == high && ties > 0)) {
                ties -= value == high ? 1 : 0;
                out[at++] = t * 16 + lane;
            }
        }
    }
}

// The K best of 16 lanes by (score, position in the list).
inline void store_near(int16 best, int16 tile, int row, int neighbours, int row_constant,
                       __global const int* list, __global const int* bias, __global int* label,
                       __global int* dist) {
    const int16 position = tile * 16 + LANES;
    for (int r = 0; r < neighbours; r++) {
        const int score = min_lane(best);
        const int p = min_lane(select((int16)(INT_MAX), position, best == (int16)(score)));
        const size_t at = (size_t)row * neighbours + r;
        const int j = score < SCORE_LIMIT ? list[p] : -1;
        label[at] = j;
        dist[at] = j < 0 ? INT_MAX : score - bias[j] + row_constant;
        best = select(best, (int16)(NO_SCORE), position == (int16)(p));
    }
}

#define KEEP_NEAR(r, t, sum)                                         \
    {                                                                \
        const int16 score = vload16(tile + t, constant_j) - 2 * sum; \
        at##r = select(at##r, (int16)(tile + t), score < best##r);   \
        best##r = min(best##r, score);                               \
    }

// For devices that read anchors as they lie: one work-group per segment of rows, a work-item takes
// ROWS of them at a time.
__kernel void assign_near(__global const char* rows, __global const char* anchor8,
                          __global const int* norm, __global const int* bias,
                          __global const int* first_row, __global const int* first_segment,
                          __global const int* order, __global const int* lists, int m, int dp,
                          int stride, int neighbours, __global int* label, __global int* dist,
                          __local int* constant_j) {
    const int segment = (int)get_group_id(0);
    if (segment >= first_segment[m]) {
        return;
    }
    const int j = anchor_of_segment(first_segment, m, segment);
    __global const int* list = lists + (size_t)j * stride;
    for (int p = (int)get_local_id(0); p < stride; p += (int)get_local_size(0)) {
        constant_j[p] = list[p] < 0 ? SCORE_LIMIT : norm[list[p]] + bias[list[p]];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const int begin = first_row[j] + (segment - first_segment[j]) * NEAR_SEGMENT;
    const int end = min(begin + NEAR_SEGMENT, first_row[j + 1]);
    for (int first = begin + (int)get_local_id(0) * ROWS; first < end;
         first += (int)get_local_size(0) * ROWS) {
#define OPEN(r)                                                                     \
    const int row##r = order[min(first + r, end - 1)];                              \
    __global const int4* y##r = (__global const int4*)(rows + (size_t)row##r * dp); \
    int own##r = 0;                                                                 \
    int16 best##r = NO_SCORE;                                                       \
    int16 at##r = -1;
        EACH_ROW(OPEN)
#undef OPEN
        for (int g = 0; g < dp / 16; g++) {
#define SQUARE(r)                          \
    {                                      \
        const int4 w = y##r[g];            \
        own##r = dot4(w.s0, w.s0, own##r); \
        own##r = dot4(w.s1, w.s1, own##r); \
        own##r = dot4(w.s2, w.s2, own##r); \
        own##r = dot4(w.s3, w.s3, own##r); \
    }
            EACH_ROW(SQUARE)
        }
        for (int tile = 0; tile < stride / 16; tile++) {
            const int16 near = max(vload16(tile, list), (int16)(0));
#define ZERO(r) int16 sum##r = 0;
            EACH_ROW(ZERO)
            for (int g = 0; g < dp / 16; g++) {
#define WORDS(r) const int4 word##r = y##r[g];
                EACH_ROW(WORDS)
#define ADD(r, lane)                             \
    sum##r.s##lane = dot4(a.s0, word##r.s0,      \
                          dot4(a.s1, word##r.s1, \
                               dot4(a.s2, word##r.s2, dot4(a.s3, word##r.s3, sum##r.s##lane))));
#define LANE(lane)                                                                               \
    {                                                                                            \
        const int4 a = ((__global const int4*)(anchor8 + (size_t)near.s##lane * (size_t)dp))[g]; \
        EACH_ROW_OF(ADD, lane)                                                                   \
    }
                LANE(0)
                LANE(1)
                LANE(2)
                LANE(3)
                LANE(4)
                LANE(5)
                LANE(6) LANE(7) LANE(8) LANE(9) LANE(a) LANE(b) LANE(c) LANE(d) LANE(e) LANE(f)
            }
#define KEEP_ONE(r) KEEP_NEAR(r, 0, sum##r)
            EACH_ROW(KEEP_ONE)
        }
#define STORE_NEAR(r)                                                                    \
    if (first + r < end) {                                                               \
        store_near(best##r, at##r, row##r, neighbours, own##r, list, bias, label, dist); \
    }
        EACH_ROW(STORE_NEAR)
#undef STORE_NEAR
    }
}

#if defined(HOST)
// A tile of a list's anchors as pack_anchors has it. start_j: 16 numbers.
#if defined(DOT_PORTABLE)
inline void pack_listed(__global const char* anchor8, __global const int* list, int dp,
                        __global uchar* tile, __global int* start_j) {
    for (int p = 0; p < 16; p++) {
        start_j[p] = pack_anchor(anchor8 + (size_t)max(list[p], 0) * (size_t)dp, list[p] >= 0, dp,
                                 tile, p);
    }
}
#else
// In each quarter of 4 numbers: the lower halves of a and b by turns, or the upper ones.
#define LOWER(a, b) \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define UPPER(a, b) \
    __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LOWER_PAIRS(a, b) \
    __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define UPPER_PAIRS(a, b) \
    __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)

// 16 bytes of 4 anchors that are 4 apart.
inline int16 load_listed(__global const char* anchor8, __global const int* list, int dp, int k) {
    int4 part[4];
    for (int q = 0; q < 4; q++) {
        const int j = list[4 * q];
        part[q] = j < 0 ? (int4)(0)
                        : vload4(0, (__global const int*)(anchor8 + (size_t)j * (size_t)dp + k));
    }
    return (int16)(part[0], part[1], part[2], part[3]);
}

inline int16 listed_word(int16 word, int16 listed, int16* start) {
#if defined(DOT_VNNI)
    return (word ^ (int16)(0x80808080)) & listed; // padding is 0 without the 128
#else
    for (int byte = 0; byte < 4; byte++) {
        *start += max(-((word << (24 - 8 * byte)) >> 24), 0);
    }
    return word;
#endif
}

inline void pack_listed(__global const char* anchor8, __global const int* list, int dp,
                        __global uchar* tile, __global int* start_j) {
    const int16 listed = vload16(0, list) >= 0;
    __global int* to = (__global int*)tile;
    int16 start = 0;
    for (int k = 0; k < dp; k += 16, to += 64) {
        const int16 a = load_listed(anchor8, list, dp, k);
        const int16 b = load_listed(anchor8, list + 1, dp, k);
        const int16 c = load_listed(anchor8, list + 2, dp, k);
        const int16 d = load_listed(anchor8, list + 3, dp, k);
        const int16 ab = LOWER(a, b), cd = LOWER(c, d);
        const int16 ab2 = UPPER(a, b), cd2 = UPPER(c, d);
        vstore16(listed_word(LOWER_PAIRS(ab, cd), listed, &start), 0, to);
        vstore16(listed_word(UPPER_PAIRS(ab, cd), listed, &start), 1, to);
        vstore16(listed_word(LOWER_PAIRS(ab2, cd2), listed, &start), 2, to);
        vstore16(listed_word(UPPER_PAIRS(ab2, cd2), listed, &start), 3, to);
    }
    vstore16(start, 0, start_j);
}
#endif
#endif

#if defined(HOST)
inline void prefetch_row(__global const char* row, int dp) {
    for (int k = 0; k < dp; k += 64) {
        PREFETCH(row + k);
    }
}

// For CPUs: a work-group is one work-item and takes all rows of an anchor, whose list it packs into
// the cache first. packed: stride x dp bytes, as pack_anchors has them.
__kernel void assign_near_packed(__global const char* rows, __global const int* row_constant,
                                 __global const char* anchor8, __global const int* norm,
                                 __global const int* bias, __global const int* first_row,
                                 __global const int* order, __global const int* lists, int m,
                                 int dp, int stride, int neighbours, __global int* label,
                                 __global int* dist, __local uchar* cache) {
    // on this host address spaces are one
    __global uchar* packed = (__global uchar*)(size_t)cache;
    __global int* constant_j = (__global int*)(packed + (size_t)stride * dp);
    __global int* start_j = constant_j + stride;
    const int j = (int)get_group_id(0);
    if (j >= m || first_row[j] == first_row[j + 1]) {
        return;
    }
    const int begin = first_row[j];
    const int end = first_row[j + 1];
    __global const int* list = lists + (size_t)j * stride;
    for (int p = 0; p < stride; p++) {
        constant_j[p] = list[p] < 0 ? NO_SCORE : norm[list[p]] + bias[list[p]];
    }
    for (int p = 0; p < stride; p += 16) {
        pack_listed(anchor8, list + p, dp, packed + (size_t)p * dp, start_j + p);
    }
    const int groups = dp / 4;
    const int tiles = stride / 16;
    for (int first = begin; first < end; first += ROWS) {
#define OPEN(r)                                                                             \
    const int row##r = order[min(first + r, end - 1)];                                      \
    __global const WORD* x##r = (__global const WORD*)(rows + (size_t)row##r * (size_t)dp); \
    int16 best##r = NO_SCORE;                                                               \
    int16 at##r = -1;
        EACH_ROW(OPEN)
#undef OPEN
#define AHEAD(r) prefetch_row(rows + (size_t)order[min(first + ROWS + r, end - 1)] * dp, dp);
        EACH_ROW(AHEAD)
        for (int tile = 0; tile < tiles; tile += TILES) {
            EACH_ROW(SUMS)
            PASS
#define KEEP_PART(r, t, sum) \
    if (tile + t < tiles) {  \
        KEEP_NEAR(r, t, sum) \
    }
#define KEEP_PARTS(r) EACH_SUM(KEEP_PART, r)
            EACH_ROW(KEEP_PARTS)
        }
#define STORE_NEAR(r)                                                                           \
    if (first + r < end) {                                                                      \
        store_near(best##r, at##r, row##r, neighbours, row_constant[row##r], list, bias, label, \
                   dist);                                                                       \
    }
        EACH_ROW(STORE_NEAR)
    }
}
#endif
