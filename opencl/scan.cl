// Estimates of distances, list by list: each list's codes are read once for QUERIES queries that
// probe it. faiss_vlc/kernels/list_scan.h and query/query.h's Query::list specify them, number by
// number.

// Options: PLANES (of a query's rounded residual, 1 or 2).
#ifndef PLANES
#define PLANES 1
#endif

#define QUERIES 8   // of a task
#define VECTORS 4   // of a work-item, at a time
#define SCANNERS 64 // work-items
#define PER_QUERY (SCANNERS / QUERIES)
#define GAMMAS 32
#define SMALLEST_QUERY 1e-30f
#define FINE_UNIT (1.0f / 128.0f)
#define LENGTH_ZERO (1.0f / 64.0f)
#define LENGTH_BIAS ((127u - 6u) << 23)

// Pairs of a query and a list by list: where each list's begin, and its tasks. One work-group.
// A task is up to QUERIES pairs and `chunk` vectors of a list.
__kernel void lay_out_tasks(ScanShape shape, __global const uint* list_count,
                            __global const uint* list_size, __local uint* sums,
                            __global uint* pair_begin, __global uint* task_begin,
                            __global uint* task_count) {
    const uint m = (uint)shape.m;
    const uint chunk = shape.chunk;
    const uint id = (uint)get_local_id(0);
    const uint size = (uint)get_local_size(0);
    uint pairs = 0;
    uint tasks = 0;
    for (uint first = 0; first < m; first += size) {
        const uint j = first + id;
        const uint count = j < m ? list_count[j] : 0;
        const uint length = j < m ? list_size[j] : 0;
        const uint own = (count + QUERIES - 1) / QUERIES * ((length + chunk - 1) / chunk);
        const uint pairs_to = group_prefix(sums, count);
        const uint all_pairs = sums[size - 1];
        const uint tasks_to = group_prefix(sums, own);
        if (j < m) {
            pair_begin[j] = pairs + pairs_to - count;
            task_begin[j] = tasks + tasks_to - own;
        }
        pairs += all_pairs;
        tasks += sums[size - 1];
    }
    if (id == 0) {
        task_count[0] = tasks;
    }
}

// One work-item per pair: pairs of a list lie together.
__kernel void gather_pairs(ScanShape shape, uint count, __global const int* probes,
                           __global const uint* slots, __global const uint* starts,
                           __global const uint* pair_begin, __global Pair* pairs) {
    const uint i = (uint)get_global_id(0);
    if (i < count) {
        __global Pair* to = pairs + pair_begin[probes[i]] + slots[i];
        to->query = i / (uint)shape.nprobe;
        to->start = starts[i];
    }
}

// One work-item per list: its tasks.
__kernel void list_tasks(ScanShape shape, __global const uint* list_count,
                         __global const uint* list_size, __global const uint* list_block,
                         __global const uint* pair_begin, __global const uint* task_begin,
                         __global Task* tasks) {
    const uint j = (uint)get_global_id(0);
    if (j >= (uint)shape.m) {
        return;
    }
    const uint count = list_count[j];
    const uint size = list_size[j];
    const uint chunks = (size + shape.chunk - 1) / shape.chunk;
    const uint own = (count + QUERIES - 1) / QUERIES * chunks;
    for (uint t = 0; t < own; t++) {
        const uint pair = t / chunks * QUERIES;
        const uint first = t % chunks * shape.chunk;
        __global Task* to = tasks + task_begin[j] + t;
        to->list = j;
        to->block = list_block[j];
        to->pair = pair_begin[j] + pair;
        to->pairs = min((uint)QUERIES, count - pair);
        to->first = first;
        to->last = min(size, first + shape.chunk);
    }
}

// Distances as integers in the same order; what is no number comes last.
inline int order_key(float estimate) {
    const int bits = as_int(estimate + 0.0f); // there is one zero
    return estimate <= FLT_MAX ? bits ^ ((bits >> 31) & 0x7fffffff) : INT_MAX;
}

// Lanes `lane` and `lane` + 8 of the 16 of |u - a|^2 or <u, a>, added.
inline float two_lanes(__global const float* u, __global const float* a, int dp, int lane,
                       int inner_product) {
    float lane0 = 0;
    float lane1 = 0;
    for (int k = lane; k < dp; k += 16) {
        const float u0 = u[k];
        const float u1 = u[k + 8];
        const float a0 = a[k];
        const float a1 = a[k + 8];
        lane0 += inner_product ? u0 * a0 : (u0 - a0) * (u0 - a0);
        lane1 += inner_product ? u1 * a1 : (u1 - a1) * (u1 - a1);
    }
    return lane0 + lane1;
}

// The sum of 8 of them.
inline float add_lanes(__local const float* part) {
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7]));
}

// A query and a list: what turns products into distances.
typedef struct {
    ulong target; // of the list's first key
    float base;
    float penalty;
    float times; // of products
    float reach;
    float away;
} Meeting;

// All but times and target. sum: |q - a|^2 or <q, a>.
inline Meeting meet(ScanShape shape, __global const Head* head, float length, float sum) {
    const int inner_product = shape.inner_product;
    Meeting m;
    m.base = inner_product ? -sum : sum;
    m.penalty = inner_product ? head->penalty
                              : shape.c * min(sum, shape.most_distance) /
                                        (shape.energy > 0 ? shape.energy : 1.0f);
    m.reach = inner_product ? -sum : sqrt(sum);
    m.away = inner_product ? head->norm * length : length;
    m.times = 0;
    m.target = 0;
    return m;
}

// A vector's factors, and what its gamma contributes.
typedef struct {
    float l;
    int is_far;
    GammaStep step;
} Factors;

inline Factors unpack_factors(uint bits, __local const GammaStep* table, float usual_length) {
    Factors f;
    f.l = as_float(((bits >> 5) << 16) + LENGTH_BIAS) - LENGTH_ZERO;
    f.is_far = f.l > usual_length;
    f.step = table[bits & (GAMMAS - 1)];
    return f;
}

// unit: |r|^2 of l = 1.
inline int distance_key(Meeting m, Factors f, float dot2, float unit, int inner_product) {
    const float l = f.l;
    const float usual = unit * (f.step.own + m.penalty * f.step.miss);
    const float far = inner_product ? 0.0f : unit * f.step.far;
    const float add = f.is_far ? far : usual;
    const float mul = f.is_far ? m.times : m.times * f.step.share;
    const float estimate = m.base + l * (l * add - mul * dot2);
    const float apart = m.reach - m.away * l;
    const float least = inner_product ? apart : apart * apart;
    return order_key(least > estimate ? least : estimate);
}

inline float4 weigh(__global const float* y, __global const float* b, __global const float* step,
                    uint field) {
    return (vload4(field, y) - vload4(field, b)) * vload4(field, step);
}

// A PackedField, which takes one load, by name.
typedef struct {
    uint row;
    uint lanes;
    uint shift;
    uint is_first;
    uint mask;
    uint index;
} Field;

inline Field unpack_field(uint4 packed) {
    const Field field = {packed.s0,          packed.s1 >> 16, packed.s1 & 7,
                         packed.s1 >> 8 & 1, packed.s2,       packed.s3};
    return field;
}

// The code bytes of a row, as far as it has lanes.
inline uint load_row(__global const uchar* block, Field field, uint lane) {
    __global const uchar* row = block + field.row;
    return field.lanes == 4   ? ((__global const uint*)row)[lane]
           : field.lanes == 2 ? (uint)((__global const ushort*)row)[lane]
                              : (uint)row[lane];
}

// fields: of PackedField, row by row. keys: query x stride. bases: of each pair the distance to the
// list's anchor. Work-groups take tasks in turn.
__kernel void scan_lists(ScanShape shape, __global const uint4* fields,
                         __global const GammaStep* gammas, __global const ListTraits* lists,
                         __global const float* anchors, __global const float* anchor_rotated,
                         __global const float* steps, __global const uchar* codes,
                         __global const Head* heads, __global const float* lattice,
                         __global const float* rotated, __global const Pair* pairs,
                         __global const Task* tasks, __global const uint* task_count,
                         __local uint* query8, __global float* bases, __global int* keys) {
    __local float part[SCANNERS];
    __local float distances[SCANNERS];
    __local int halves[PLANES * SCANNERS];
    __local Meeting meetings[QUERIES];
    __local GammaStep table[GAMMAS];
    const uint id = (uint)get_local_id(0);
    const int n_fields = shape.fields;
    const int slots = shape.slots;
    const int dp = shape.dp;
    const int code_size = shape.code_size;
    const int inner_product = shape.inner_product;
    for (uint i = id; i < GAMMAS; i += SCANNERS) {
        table[i] = gammas[i];
    }
    const uint all_tasks = task_count[0];
    for (uint task = (uint)get_group_id(0); task < all_tasks; task += (uint)get_num_groups(0)) {
        barrier(CLK_LOCAL_MEM_FENCE);
        const uint list = tasks[task].list;
        const uint first = tasks[task].first;
        const uint last = tasks[task].last;
        const int in_task = (int)tasks[task].pairs;
        const float list_scale = lists[list].scale;
        const float length = lists[list].length;

        // the queries' residuals; there are PER_QUERY work-items for each
        const int q = (int)id / PER_QUERY;
        const int t = (int)id % PER_QUERY;
        const uint pair = tasks[task].pair + min(q, in_task - 1);
        const uint query = pairs[pair].query;
        const uint frame = lists[list].frame;
        __global const float* y =
                rotated + ((size_t)query * shape.frames + frame) * shape.rotated_stride;
        __global const float* b = anchor_rotated + (size_t)list * slots;
        __global const float* step = steps + (size_t)frame * slots;
        float largest = 0;
        for (int f = t; f < n_fields; f += PER_QUERY) {
            const float4 w = fabs(weigh(y, b, step, (uint)f));
            largest = max(largest, max(max(w.s0, w.s1), max(w.s2, w.s3)));
        }
        part[id] = largest;
        distances[id] = two_lanes(lattice + (size_t)query * dp, anchors + (size_t)list * dp, dp, t,
                                  inner_product);
        barrier(CLK_LOCAL_MEM_FENCE);
        __local const float* parts = part + q * PER_QUERY;
        for (int i = 0; i < PER_QUERY; i++) {
            largest = max(largest, parts[i]);
        }
        const float scale = largest > SMALLEST_QUERY ? 127.0f / largest : 0.0f;
        int half_sum = 0;
#if PLANES == 2
        int fine_sum = 0;
#endif
        for (int f = t; f < n_fields; f += PER_QUERY) {
            const Field field = unpack_field(fields[f]);
            const float4 w = weigh(y, b, step, field.index) * scale;
            const int4 v =
                    (int4)(round_even(w.s0), round_even(w.s1), round_even(w.s2), round_even(w.s3));
            query8[f * QUERIES + q] = as_uint(convert_char4(v));
            half_sum += (v.s0 + v.s1 + v.s2 + v.s3) * (int)(field.mask & 255);
#if PLANES == 2
            const float4 left = (w - convert_float4(v)) / FINE_UNIT;
            const int4 fine = (int4)(round_even(left.s0), round_even(left.s1), round_even(left.s2),
                                     round_even(left.s3));
            query8[(n_fields + f) * QUERIES + q] = as_uint(convert_char4(fine));
            fine_sum += (fine.s0 + fine.s1 + fine.s2 + fine.s3) * (int)(field.mask & 255);
#endif
        }
        halves[id] = half_sum;
#if PLANES == 2
        halves[SCANNERS + id] = fine_sum;
#endif
        if (t == 0) {
            const float dot_scale = largest * list_scale * (0.5f / 127.0f);
            Meeting m = meet(shape, heads + query, length, add_lanes(distances + q * PER_QUERY));
            m.times = inner_product ? dot_scale : 2.0f * dot_scale;
            m.target = query * shape.stride + pairs[pair].start;
            meetings[q] = m;
            if (first == 0 && q < in_task) {
                bases[pair] = m.base;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (t == 0) {
            for (uint plane = 0; plane < PLANES; plane++) {
                int sum = 0;
                for (int i = 0; i < PER_QUERY; i++) {
                    sum += halves[plane * SCANNERS + id + i];
                }
                halves[plane * SCANNERS + id] = sum;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);

        const float unit = length * length;
        const uint lane = id % 16;
        __global const uchar* blocks = codes + (size_t)tasks[task].block * 16 * code_size;
        for (uint at = first; at < last; at += SCANNERS * VECTORS) {
            float dot2[VECTORS * QUERIES];
            __global const uchar* block[VECTORS];
            uint word[VECTORS];
#pragma unroll
            for (int i = 0; i < VECTORS; i++) {
                const uint number = min(at + i * SCANNERS + id, last - 1) / 16;
                block[i] = blocks + (size_t)number * 16 * code_size;
                word[i] = 0;
            }
#pragma unroll
            for (int plane = 0; plane < PLANES; plane++) {
                __local const uint* own_plane = query8 + plane * n_fields * QUERIES;
                int acc[VECTORS * QUERIES];
#pragma unroll
                for (int i = 0; i < VECTORS * QUERIES; i++) {
                    acc[i] = 0;
                }
                for (int f = 0; f < n_fields; f++) {
                    const Field field = unpack_field(fields[f]);
                    if (field.is_first) {
#pragma unroll
                        for (int i = 0; i < VECTORS; i++) {
                            word[i] = load_row(block[i], field, lane);
                        }
                    }
                    uint own[QUERIES];
                    vstore4(vload4(0, own_plane + f * QUERIES), 0, own);
                    vstore4(vload4(0, own_plane + f * QUERIES + 4), 0, own + 4);
#pragma unroll
                    for (int i = 0; i < VECTORS; i++) {
                        const uint level = (word[i] >> field.shift) & field.mask;
#pragma unroll
                        for (int r = 0; r < QUERIES; r++) {
                            acc[i * QUERIES + r] =
                                    dot_unsigned(level, own[r], acc[i * QUERIES + r]);
                        }
                    }
                }
#pragma unroll
                for (int i = 0; i < VECTORS * QUERIES; i++) {
                    const int half_of = halves[plane * SCANNERS + i % QUERIES * PER_QUERY];
                    const float sum = (float)(2 * acc[i] - half_of);
                    dot2[i] = plane == 0 ? sum : dot2[i] + sum * FINE_UNIT;
                }
            }
#pragma unroll
            for (int i = 0; i < VECTORS; i++) {
                const uint v = at + i * SCANNERS + id;
                if (v >= last) {
                    continue;
                }
                const uint bits =
                        ((__global const ushort*)(block[i] + 16 * shape.code_bytes))[lane];
                const Factors factors = unpack_factors(bits, table, shape.usual_length);
#pragma unroll
                for (int r = 0; r < QUERIES; r++) {
                    if (r < in_task) {
                        const Meeting m = meetings[r];
                        keys[m.target + v] = distance_key(m, factors, dot2[i * QUERIES + r], unit,
                                                          inner_product);
                    }
                }
            }
        }
    }
}
