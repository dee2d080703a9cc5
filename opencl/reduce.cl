// Weighted sums per anchor over the training rows: faiss_vlc/train/stages/reduce.h is the
// specification. Entries (row, neighbour) are sorted by anchor (count, prefix, scatter; their order
// within an anchor is free, as all sums are exact), cut into segments of at most SEGMENT entries of
// one anchor, added up per segment in 32 bits (SEGMENT * 256 * 127 < 2^31), and per anchor in 64.

#define SEGMENT 256
#define FIRST_ENTRY 512 // flag beside a weight: the row's nearest anchor
#define ROBUST_NONE 0
#define ROBUST_HUBER 1

// An entry is kept if it is a row's first (counts and energies need it) or weighs something.
inline int keeps_entry(int r, int weight) {
    return r == 0 || weight > 0;
}

// Weights of row i's entries.
inline void weigh_row(int i, __global const int* label, __global const int* dist,
                      __global const int* bias, __global const short* gibbs_table, int neighbours,
                      int inv_t, int robust, int tau2, int tau, int* w) {
    const size_t first = (size_t)i * neighbours;
    const long base = (long)dist[first] + bias[label[first]];
    int total = 0;
    for (int r = 0; r < neighbours; r++) {
        w[r] = 0;
        const int j = label[first + r];
        if (j >= 0) {
            const long excess = max((long)dist[first + r] + bias[j] - base, (long)0);
            w[r] = gibbs_table[min((excess * inv_t) >> 16, (long)255)];
            total += w[r];
        }
    }
    for (int r = 0; r < neighbours; r++) {
        if (label[first + r] >= 0) {
            w[r] = total == 256 ? w[r] : (256 * w[r] + total / 2) / total; // the same, faster
            const int square = dist[first + r];
            if (robust != ROBUST_NONE && square > tau2) {
                const int s = isqrt32((uint)square);
                w[r] = robust == ROBUST_HUBER ? (int)(((long)w[r] * tau + s / 2) / s) : 0;
            }
        }
    }
}

#if defined(HOST)
// For CPUs, whose atomics cost more than all else here does: a work-item takes one of `parts` parts
// of the rows and counts for itself. part_count: parts x m.
__kernel void weigh_parts(__global const int* label, __global const int* dist,
                          __global const int* bias, __global const short* gibbs_table, int n_train,
                          int neighbours, int inv_t, int robust, int tau2, int tau, int m,
                          int parts, __global short* weight, __global int* part_count) {
    const int part = (int)get_global_id(0);
    if (part >= parts) {
        return;
    }
    __global int* own = part_count + (size_t)part * m;
    for (int j = 0; j < m; j++) {
        own[j] = 0;
    }
    const int end = part_end(n_train, part, parts);
    for (int i = part_begin(n_train, part, parts); i < end; i++) {
        const size_t first = (size_t)i * neighbours;
        if (label[first] < 0) {
            continue; // not assigned yet
        }
        int w[4];
        weigh_row(i, label, dist, bias, gibbs_table, neighbours, inv_t, robust, tau2, tau, w);
        for (int r = 0; r < neighbours; r++) {
            const int j = label[first + r];
            weight[first + r] = (short)w[r];
            if (j >= 0 && keeps_entry(r, w[r])) {
                own[j]++;
            }
        }
    }
}

__kernel void scatter_entry_parts(__global const int* label, __global const short* weight,
                                  int n_train, int neighbours, int m, int parts,
                                  __global const int* first_entry, __global int* part_count,
                                  __global int* entry_row, __global short* entry_weight) {
    const int part = (int)get_global_id(0);
    if (part >= parts) {
        return;
    }
    __global int* own = part_count + (size_t)part * m;
    const int end = part_end(n_train, part, parts);
    for (int i = part_begin(n_train, part, parts); i < end; i++) {
        for (int r = 0; r < neighbours; r++) {
            const size_t from = (size_t)i * neighbours + r;
            const int j = label[from];
            const int w = weight[from];
            if (j >= 0 && keeps_entry(r, w)) {
                const int to = first_entry[j] + own[j]++;
                entry_row[to] = i;
                entry_weight[to] = (short)(r == 0 ? w + FIRST_ENTRY : w);
            }
        }
    }
}
#endif

__kernel void weigh_entries(__global const int* label, __global const int* dist,
                            __global const int* bias, __global const short* gibbs_table,
                            int n_train, int neighbours, int inv_t, int robust, int tau2, int tau,
                            __global short* weight, __global int* entry_count) {
    const int i = (int)get_global_id(0);
    if (i >= n_train) {
        return;
    }
    const size_t first = (size_t)i * neighbours;
    if (label[first] < 0) {
        return; // not assigned yet
    }
    int w[4];
    weigh_row(i, label, dist, bias, gibbs_table, neighbours, inv_t, robust, tau2, tau, w);
    for (int r = 0; r < neighbours; r++) {
        const int j = label[first + r];
        if (j >= 0 && keeps_entry(r, w[r])) {
            atomic_inc(entry_count + j);
        }
        weight[first + r] = (short)w[r];
    }
}

// One work-group: entry_count becomes where each anchor's entries start (a cursor for the scatter);
// first_entry and first_segment (m + 1 each) say the same for good.
__kernel void prefix(__global int* entry_count, int m, __global int* first_entry,
                     __global int* first_segment, __local int* entries, __local int* segments) {
    const int id = (int)get_local_id(0);
    const int size = (int)get_local_size(0);
    const int share = (m + size - 1) / size;
    const int begin = min(id * share, m);
    const int end = min(begin + share, m);
    int entry_sum = 0;
    int segment_sum = 0;
    for (int j = begin; j < end; j++) {
        entry_sum += entry_count[j];
        segment_sum += (entry_count[j] + SEGMENT - 1) / SEGMENT;
    }
    entries[id] = entry_sum;
    segments[id] = segment_sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (id == 0) {
        int entry_at = 0;
        int segment_at = 0;
        for (int k = 0; k < size; k++) {
            const int e = entries[k];
            const int s = segments[k];
            entries[k] = entry_at;
            segments[k] = segment_at;
            entry_at += e;
            segment_at += s;
        }
        first_entry[m] = entry_at;
        first_segment[m] = segment_at;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int entry_at = entries[id];
    int segment_at = segments[id];
    for (int j = begin; j < end; j++) {
        const int count = entry_count[j];
        first_entry[j] = entry_at;
        first_segment[j] = segment_at;
        entry_count[j] = entry_at;
        entry_at += count;
        segment_at += (count + SEGMENT - 1) / SEGMENT;
    }
}

__kernel void scatter_entries(__global const int* label, __global const short* weight, int n_train,
                              int neighbours, __global int* cursor, __global int* entry_row,
                              __global short* entry_weight) {
    const int i = (int)get_global_id(0);
    if (i >= n_train) {
        return;
    }
    for (int r = 0; r < neighbours; r++) {
        const size_t from = (size_t)i * neighbours + r;
        const int j = label[from];
        const int w = weight[from];
        if (j >= 0 && keeps_entry(r, w)) {
            const int to = atomic_inc(cursor + j);
            entry_row[to] = i;
            entry_weight[to] = (short)(r == 0 ? w + FIRST_ENTRY : w);
        }
    }
}

#if defined(HOST)
// For CPUs: one work-item per segment, 64 dimensions at a time.
__kernel void sum_segments_alone(__global const char* rows, __global const int* dist,
                                 __global const int* entry_row, __global const short* entry_weight,
                                 __global const int* first_entry, __global const int* first_segment,
                                 int m, int dp, int neighbours, __global int* segment_sum,
                                 __global long* segment_scalars) {
    const int segment = (int)get_global_id(0);
    const int j = anchor_of_segment(first_segment, m, segment);
    const int begin = first_entry[j] + (segment - first_segment[j]) * SEGMENT;
    const int end = min(begin + SEGMENT, first_entry[j + 1]);
    __global int* out = segment_sum + (size_t)segment * dp;
    for (int e = begin; e < end; e++) {
        PREFETCH(dist + (size_t)entry_row[e] * neighbours); // for what comes last
    }
    for (int column = 0; column < dp; column += 64) {
        const int parts = min((dp - column) / 16, 4);
        int16 sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
        for (int e = begin; e < end; e++) {
            PREFETCH(rows + (size_t)entry_row[min(e + 8, end - 1)] * dp + column);
            __global const char* x = rows + (size_t)entry_row[e] * dp + column;
            const int16 w = (int16)(entry_weight[e] & (FIRST_ENTRY - 1));
            sum0 += convert_int16(vload16(0, x)) * w;
            if (parts > 1) {
                sum1 += convert_int16(vload16(1, x)) * w;
            }
            if (parts > 2) {
                sum2 += convert_int16(vload16(2, x)) * w;
            }
            if (parts > 3) {
                sum3 += convert_int16(vload16(3, x)) * w;
            }
        }
        vstore16(sum0, 0, out + column);
        if (parts > 1) {
            vstore16(sum1, 1, out + column);
        }
        if (parts > 2) {
            vstore16(sum2, 2, out + column);
        }
        if (parts > 3) {
            vstore16(sum3, 3, out + column);
        }
    }
    long total = 0;
    long count = 0;
    long energy = 0;
    for (int e = begin; e < end; e++) {
        const int w = entry_weight[e];
        total += w & (FIRST_ENTRY - 1);
        if (w & FIRST_ENTRY) {
            count += 1;
            energy += dist[(size_t)entry_row[e] * neighbours];
        }
    }
    segment_scalars[(size_t)segment * 3] = total;
    segment_scalars[(size_t)segment * 3 + 1] = count;
    segment_scalars[(size_t)segment * 3 + 2] = energy;
}
#endif

// One work-group per segment. Work-items form a grid of row lanes x 16-dimension columns; lanes are
// added up by a tree in local memory (one int16 per work-item).
__kernel void sum_segments(__global const char* rows, __global const int* dist,
                           __global const int* entry_row, __global const short* entry_weight,
                           __global const int* first_entry, __global const int* first_segment,
                           int m, int dp, int neighbours, __global int* segment_sum,
                           __global long* segment_scalars, __local int16* part,
                           __local long* partial) {
    const int segment = (int)get_group_id(0);
    const int id = (int)get_local_id(0);
    const int size = (int)get_local_size(0);

    const int low = anchor_of_segment(first_segment, m, segment);
    const int begin = first_entry[low] + (segment - first_segment[low]) * SEGMENT;
    const int end = min(begin + SEGMENT, first_entry[low + 1]);

    const int columns = dp / 16;
    const int width = min(columns, size);
    int lanes = 1;
    while (lanes * 2 * width <= size) {
        lanes *= 2;
    }
    const int column = id % width;
    const int lane = id / width;
    for (int base = 0; base < columns; base += width) {
        int16 sum = 0;
        if (lane < lanes && base + column < columns) {
            for (int e = begin + lane; e < end; e += lanes) {
                __global const char* x = rows + (size_t)entry_row[e] * dp + (base + column) * 16;
                sum += convert_int16(vload16(0, x)) * (entry_weight[e] & (FIRST_ENTRY - 1));
            }
        }
        part[id] = sum;
        for (int half_size = lanes / 2; half_size > 0; half_size /= 2) {
            barrier(CLK_LOCAL_MEM_FENCE);
            if (lane < half_size) {
                part[id] += part[id + half_size * width];
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane == 0 && base + column < columns) {
            vstore16(part[id], 0, segment_sum + (size_t)segment * dp + (base + column) * 16);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    long total = 0;
    long count = 0;
    long energy = 0;
    for (int e = begin + id; e < end; e += size) {
        const int w = entry_weight[e];
        total += w & (FIRST_ENTRY - 1);
        if (w & FIRST_ENTRY) {
            count += 1;
            energy += dist[(size_t)entry_row[e] * neighbours];
        }
    }
    group_sum3(partial, total, count, energy);
    if (id < 3) {
        segment_scalars[(size_t)segment * 3 + id] = partial[id * size];
    }
}

// One work-item per anchor and 16 dimensions.
__kernel void combine_segments(__global const int* segment_sum,
                               __global const long* segment_scalars,
                               __global const int* first_segment, int m, int dp, int more,
                               __global long* sum, __global long* weight_j, __global int* count_j,
                               __global long* energy_j) {
    const int columns = dp / 16;
    const size_t id = get_global_id(0);
    if (id >= (size_t)m * columns) {
        return;
    }
    const int j = (int)(id / columns);
    const int column = (int)(id % columns);
    const int begin = first_segment[j];
    const int end = first_segment[j + 1];
    long16 total = more ? vload16(0, sum + (size_t)j * dp + column * 16) : 0;
    for (int s = begin; s < end; s++) {
        total += convert_long16(vload16(0, segment_sum + (size_t)s * dp + column * 16));
    }
    vstore16(total, 0, sum + (size_t)j * dp + column * 16);
    if (column == 0) {
        long weight = more ? weight_j[j] : 0;
        long count = more ? count_j[j] : 0;
        long energy = more ? energy_j[j] : 0;
        for (int s = begin; s < end; s++) {
            weight += segment_scalars[(size_t)s * 3];
            count += segment_scalars[(size_t)s * 3 + 1];
            energy += segment_scalars[(size_t)s * 3 + 2];
        }
        weight_j[j] = weight;
        count_j[j] = (int)count;
        energy_j[j] = energy;
    }
}
