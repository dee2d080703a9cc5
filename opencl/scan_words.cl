// Estimates of distances from words: what scan_lists does for levels, one query of a task after the
// other. A work-group makes the query's table, which faiss_vlc/query/word_tables.cpp and
// faiss_vlc/kernels/portable/words.cpp specify, number by number; entries have 32 bits here.
//
// Options: WORD_TABLES (the tables' address space: __global where __local has no room for them).
#ifndef WORD_TABLES
#define WORD_TABLES __local
#endif

#define WORDS 256
#define WORD_GROUP 256 // work-items at most; a power of two
#define SLICES 16      // work-items that look through a block's words
#define MOST_HALF 1073741824.0f
#define FAR 1e18f // a query may be too far away for floats
#define TABLE_FENCE (CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)

// The largest of the work-items' values.
inline float group_largest(__local float* part, float value) {
    const uint id = (uint)get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    part[id] = value;
    for (uint rest = (uint)get_local_size(0) / 2; rest > 0; rest /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < rest) {
            part[id] = max(part[id], part[id + rest]);
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return part[0];
}

inline float bounded(float residual) {
    return min(FAR, max(-FAR, residual));
}

// The query's residual y - b, rounded. Returns its largest component, or the unit if that is more.
inline float round_residual(__global const float* y, __global const float* b, int slots,
                            WordShape words, __local float* part, WORD_TABLES short* rounded) {
    const int id = (int)get_local_id(0);
    const int size = (int)get_local_size(0);
    float largest = words.unit;
    for (int s = id; s < slots; s += size) {
        largest = max(largest, fabs(bounded(y[s] - b[s])));
    }
    largest = group_largest(part, largest);
    const float scale = words.limit / largest;
    for (int s = id; s < slots; s += size) {
        rounded[s] = (short)round_even(bounded(y[s] - b[s]) * scale);
    }
    return largest;
}

// What each word of each block adds, as bits of a float.
inline void put_values(int blocks, float share, __global const int* slot,
                       __global const short2* book, __global const float* norms,
                       WORD_TABLES const short* x, WORD_TABLES uint* table) {
    for (int i = (int)get_local_id(0); i < blocks * WORDS; i += (int)get_local_size(0)) {
        const int b = i / WORDS;
        const int last = slot[b + 1];
        int dot = 0;
        for (int s = slot[b]; s < last; s += 2) {
            const short2 word = book[s / 2 * WORDS + i % WORDS];
            dot += (int)word.s0 * x[s] + (int)word.s1 * x[s + 1];
        }
        table[i] = as_uint((float)dot - share * norms[i]);
    }
}

// The least and the largest value of each block. low, high: a float for each work-item.
inline void find_ranges(int blocks, WORD_TABLES const uint* table, __local float* low,
                        __local float* high, WORD_TABLES float* least, WORD_TABLES float* most) {
    const int id = (int)get_local_id(0);
    const int together = (int)get_local_size(0) / SLICES;
    for (int first = 0; first < blocks; first += together) {
        const int b = first + id / SLICES;
        WORD_TABLES const uint* values = table + min(b, blocks - 1) * WORDS;
        float own_low = as_float(values[id % SLICES]);
        float own_high = own_low;
        for (int w = id % SLICES + SLICES; w < WORDS; w += SLICES) {
            const float value = as_float(values[w]);
            own_low = min(own_low, value);
            own_high = max(own_high, value);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        low[id] = own_low;
        high[id] = own_high;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id % SLICES == 0 && b < blocks) {
            for (int i = 1; i < SLICES; i++) {
                own_low = min(own_low, low[id + i]);
                own_high = max(own_high, high[id + i]);
            }
            least[b] = own_low;
            most[b] = own_high;
        }
    }
}

// What makes distances of sums of entries.
typedef struct {
    float step;  // of entries, 0 where all words are alike
    float times; // what half a unit of the sum is worth
    int shift;   // 2 sum - shift is twice the sum
} TableScale;

inline TableScale scale_table(WordShape words, WORD_TABLES const float* least,
                              WORD_TABLES const float* most, float share, float largest) {
    float range = 0;
    float base = 0;
    for (int b = 0; b < words.blocks; b++) {
        range += most[b] - least[b];
        base += least[b];
    }
    TableScale by;
    by.step = range > 0 ? words.room / range : 0.0f;
    const float step = by.step > 0 ? by.step : 1.0f;
    const float shift = -2.0f * step * (base + share * words.usual);
    by.shift = (int)rint(min(MOST_HALF, max(-MOST_HALF, shift)));
    by.times = 0.5f * (words.unit * (largest / words.limit)) / step;
    return by;
}

// Entries in the place of values.
inline void put_entries(WordShape words, float step, WORD_TABLES const float* least,
                        WORD_TABLES uint* table) {
    for (int i = (int)get_local_id(0); i < words.blocks * WORDS; i += (int)get_local_size(0)) {
        const float entry = (as_float(table[i]) - least[i / WORDS]) * step;
        table[i] = (uint)(words.few_blocks ? (int)(entry + 0.5f) : round_even(entry));
    }
}

// A vector's factors as 16 bits, from those of its block.
inline uint load_factors(__global const uchar* factors, uint lane, int bytes) {
    return bytes == 2   ? (uint)((__global const ushort*)factors)[lane]
           : bytes == 1 ? (uint)factors[lane] << 8
                        : 0;
}

// table: the work-group's, for each block WORDS uint and its least and largest value, then the
// rounded residual. keys: query x stride. Work-groups take tasks in turn.
__kernel void scan_words(ScanShape shape, WordShape words, __global const GammaStep* gammas,
                         __global const ListTraits* lists, __global const float* anchors,
                         __global const float* anchor_rotated, __global const int* slot,
                         __global const short2* book, __global const float* norms,
                         __global const uchar* codes, __global const Head* heads,
                         __global const float* lattice, __global const float* rotated,
                         __global const Pair* pairs, __global const Task* tasks,
                         __global const uint* task_count, WORD_TABLES uint* table,
                         __global int* keys) {
    __local float low[WORD_GROUP];
    __local float high[WORD_GROUP];
    __local float distances[SCANNERS];
    __local Meeting meetings[QUERIES];
    __local TableScale scale[1];
    __local GammaStep gamma[GAMMAS];
    const uint id = (uint)get_local_id(0);
    const uint size = (uint)get_local_size(0);
    const int blocks = words.blocks;
    const int inner_product = shape.inner_product;
    table += (size_t)get_group_id(0) * words.table_size;
    WORD_TABLES float* least = (WORD_TABLES float*)(table + blocks * WORDS);
    WORD_TABLES float* most = least + blocks;
    WORD_TABLES short* rounded = (WORD_TABLES short*)(most + blocks);
    for (uint i = id; i < GAMMAS; i += size) {
        gamma[i] = gammas[i];
    }
    const uint all_tasks = task_count[0];
    for (uint number = (uint)get_group_id(0); number < all_tasks;
         number += (uint)get_num_groups(0)) {
        const Task task = tasks[number];
        const ListTraits traits = lists[task.list];
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = id; i < SCANNERS; i += size) {
            const uint query = pairs[task.pair + min(i / PER_QUERY, task.pairs - 1)].query;
            distances[i] = two_lanes(lattice + (size_t)query * shape.dp,
                                     anchors + (size_t)task.list * shape.dp, shape.dp,
                                     (int)(i % PER_QUERY), inner_product);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < task.pairs) {
            const Pair pair = pairs[task.pair + id];
            Meeting m = meet(shape, heads + pair.query, traits.length,
                             add_lanes(distances + id * PER_QUERY));
            m.target = pair.query * shape.stride + pair.start;
            meetings[id] = m;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint q = 0; q < task.pairs; q++) {
            Meeting m = meetings[q];
            __global const float* y =
                    rotated + ((size_t)pairs[task.pair + q].query * shape.frames + traits.frame) *
                                      shape.rotated_stride;
            const float largest =
                    round_residual(y, anchor_rotated + (size_t)task.list * shape.slots, shape.slots,
                                   words, low, rounded);
            const float length_scale =
                    words.norms == 2 ? min(FAR, sqrt(m.base / shape.energy)) : (float)words.norms;
            const float share = 0.5f * length_scale * words.unit * (words.limit / largest);
            barrier(TABLE_FENCE);
            put_values(blocks, share, slot, book, norms, rounded, table);
            barrier(TABLE_FENCE);
            find_ranges(blocks, table, low, high, least, most);
            barrier(TABLE_FENCE);
            if (id == 0) {
                scale[0] = scale_table(words, least, most, share, largest);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            put_entries(words, scale[0].step, least, table);
            barrier(TABLE_FENCE);

            const int shift = scale[0].shift;
            const float dot_scale = scale[0].times * traits.scale;
            m.times = inner_product ? dot_scale : 2.0f * dot_scale;
            const float unit = traits.length * traits.length;
            for (uint v = task.first + id; v < task.last; v += size) {
                const uint lane = v % 16;
                __global const uchar* block =
                        codes + ((size_t)task.block + v / 16) * 16 * shape.code_size;
                uint sum = 0;
#pragma unroll 4
                for (int b = 0; b < blocks; b++) {
                    sum += table[b * WORDS + block[b * 16 + lane]];
                }
                const int dot2 = 2 * (int)sum - shift;
                const uint bits =
                        load_factors(block + 16 * shape.code_bytes, lane, words.factor_bytes);
                keys[m.target + v] =
                        words.factor_bytes == 0
                                ? order_key(m.base - m.times * (float)dot2)
                                : distance_key(m, unpack_factors(bits, gamma, shape.usual_length),
                                               dot2, unit, inner_product);
            }
            barrier(TABLE_FENCE);
        }
    }
}
