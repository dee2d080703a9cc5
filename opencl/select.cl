// The smallest of many integer keys, by histograms in local memory: the lists nearest to a query,
// and its best hits. A work-group, whose size is a power of two, takes one query.

#define NO_KEY INT_MAX
#define MANY 64 // keys of a work-item

// The sum of the values of this work-item and those before it. It is kept in a variable: PoCL 7.1
// reads anew what came from memory before a barrier and is used after it, though it has changed.
inline uint group_prefix(__local uint* sums, uint value) {
    const uint id = (uint)get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    sums[id] = value;
    for (uint step = 1; step < (uint)get_local_size(0); step *= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        const uint before = id >= step ? sums[id - step] : 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        value += before;
        sums[id] = value;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return value;
}

// Narrows [low, high], in which the `need`-th smallest key lies, until the keys up to `high` are
// at most `enough`, or `low` is `high`. Key i is keys[i] or, among those that equal `only`, i
// itself. Returns how many keys are up to `high`; `below` are less than `low`. bins has a number
// for each work-item, cell three.
inline uint narrow(__local uint* bins, __local uint* cell, __global const int* keys, uint n,
                   int by_index, int only, uint need, uint enough, int* low, int* high,
                   uint* below) {
    const uint id = (uint)get_local_id(0);
    const uint size = (uint)get_local_size(0);
    uint skipped = 0;
    for (;;) {
        const uint range = (uint)*high - (uint)*low;
        uint shift = 0;
        while ((range >> shift) >= size) {
            shift++;
        }
        bins[id] = 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = id; i < n; i += size) {
            const int key = by_index ? (int)i : keys[i];
            if (key >= *low && key <= *high && (!by_index || keys[i] == only)) {
                atomic_inc(&bins[((uint)key - (uint)*low) >> shift]);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        const uint own = bins[id];
        const uint sum = group_prefix(bins, own);
        if (skipped + sum >= need && skipped + sum - own < need) {
            cell[0] = id;
            cell[1] = sum - own;
            cell[2] = own;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        skipped += cell[1];
        const uint in_bin = cell[2];
        *low = (int)((uint)*low + (cell[0] << shift));
        const uint last = (uint)*low + ((1u << shift) - 1);
        *high = last - (uint)*low < (uint)*high - (uint)*low ? (int)last : *high;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (skipped + in_bin <= enough || *low == *high) {
            *below = skipped;
            return skipped + in_bin;
        }
    }
}

// The `need`-th smallest of n keys; up to `last_index` those that equal it are among the `need`
// first by (key, index). ends: two numbers.
inline int nth_key(__local uint* bins, __local uint* cell, __local int* ends,
                   __global const int* keys, int n, uint need, int* last_index) {
    const uint id = (uint)get_local_id(0);
    const uint size = (uint)get_local_size(0);
    if (id == 0) {
        ends[0] = INT_MAX;
        ends[1] = INT_MIN;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int low = INT_MAX;
    int high = INT_MIN;
    for (uint i = id; i < (uint)n; i += size) {
        low = min(low, keys[i]);
        high = max(high, keys[i]);
    }
    atomic_min(&ends[0], low);
    atomic_max(&ends[1], high);
    barrier(CLK_LOCAL_MEM_FENCE);
    low = ends[0];
    high = ends[1];
    uint below = 0;
    *last_index = n - 1;
    if (narrow(bins, cell, keys, n, 0, 0, need, need, &low, &high, &below) > need) {
        int first = 0;
        uint before;
        narrow(bins, cell, keys, n, 1, high, need - below, need - below, &first, last_index,
               &before);
    }
    return high;
}

// Leaves the anchors out of a query's scores whose region is not among the `visited` ones of least
// (score, number). A query far off the lattice looks in all. scores: int n x score_stride.
__kernel void keep_regions(RegionShape shape, __global const int* region_scores,
                           __global const int* region, __global const Head* heads,
                           __local uint* bins, __global int* scores) {
    __local uint cell[4];
    __local int ends[2];
    const size_t query = get_group_id(0);
    __global const int* of_regions = region_scores + query * shape.region_stride;
    int last_region;
    const int last =
            nth_key(bins, cell, ends, of_regions, shape.regions, shape.visited, &last_region);
    const int looks_in_all = heads[query].rank_far;
    __global int* own = scores + query * shape.score_stride;
    for (int j = (int)get_local_id(0); j < shape.m; j += (int)get_local_size(0)) {
        const int r = region[j];
        const int score = of_regions[r];
        if (!looks_in_all && (score > last || (score == last && r > last_region))) {
            own[j] = NO_KEY;
        }
    }
}

// The nprobe lists of least (score, number), in any order, and what follows from them: where each
// one's estimates start among the query's, how many these are, and the place of the pair among
// those of its list, which list_count counts. frame_queries (`most` for each frame) are the queries
// that need a frame, as many as frame_count says.
__kernel void nearest_lists(ProbeShape shape, __global const int* scores,
                            __global const uint* list_size, __global const uchar* group,
                            __local uint* bins, __global int* probes, __global uint* starts,
                            __global uint* totals, __global uint* list_count, __global uint* slots,
                            __global uint* frame_count, __global uint* frame_queries) {
    __local uint cell[4];
    __local uint needed[2]; // a bit for each frame, 64 at most
    __local int ends[2];
    const uint id = (uint)get_local_id(0);
    const uint size = (uint)get_local_size(0);
    const size_t query = get_group_id(0);
    const int m = shape.m;
    const int nprobe = shape.nprobe;
    __global const int* own = scores + query * shape.score_stride;
    if (id == 0) {
        cell[3] = 0;
        needed[0] = needed[1] = 0;
    }
    int last_index; // of those that score `high`
    const int high = nth_key(bins, cell, ends, own, m, nprobe, &last_index);
    for (uint i = id; i < (uint)m; i += size) {
        if (own[i] < high || (own[i] == high && (int)i <= last_index)) {
            probes[query * nprobe + atomic_inc(&cell[3])] = (int)i;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    uint total = 0;
    for (uint first = 0; first < (uint)nprobe; first += size) {
        const uint i = first + id;
        const size_t pair = query * nprobe + i;
        uint length = 0;
        if (i < (uint)nprobe) {
            const int list = probes[pair];
            length = list_size[list];
            atomic_or(&needed[group[list] / 32], 1u << (group[list] % 32));
            slots[pair] = atomic_inc(&list_count[list]);
        }
        const uint sum = group_prefix(bins, length);
        if (i < (uint)nprobe) {
            starts[pair] = total + sum - length;
        }
        total += bins[size - 1];
    }
    for (uint f = id; f < (uint)shape.frames; f += size) {
        if (needed[f / 32] >> (f % 32) & 1) {
            const uint at = atomic_inc(&frame_count[f]);
            frame_queries[(size_t)f * shape.most + at] = (uint)query;
        }
    }
    if (id == 0) {
        totals[query] = total;
    }
}

// list << 32 | offset of a hit, which has the list's place among the probed ones in front.
inline ulong place_of(__global const int* probes, ulong hit) {
    return (ulong)probes[hit >> 32] << 32 | (uint)hit;
}

// A vector's id, where `wide` of 8 bytes.
inline ulong id_at(__global const uint* ids, size_t place, int wide) {
    return wide ? (ulong)ids[2 * place + 1] << 32 | ids[2 * place] : ids[place];
}

// The k hits of least (key, id, list, offset) in order, at most those there are: found says how
// many, or ~0 if more than `capacity` would have to be compared, so that another must look.
__kernel void best_hits(HitShape shape, __global const int* keys, __global const uint* totals,
                        __global const uint* starts, __global const int* probes,
                        __global const uint* list_block, __global const uint* ids,
                        __local uint* bins, __local int* hit_key, __local ulong* hit_id,
                        __local ulong* hit_place, __global int* best_key,
                        __global ulong* best_label, __global uint* found) {
    __local uint cell[4];
    __local int least;
    __local int most;
    const uint id = (uint)get_local_id(0);
    const uint size = (uint)get_local_size(0);
    const size_t query = get_group_id(0);
    const int nprobe = shape.nprobe;
    const int k = shape.k;
    const int capacity = shape.capacity;
    __global const int* own = keys + query * shape.stride;
    const uint total = totals[query];
    if (id == 0) {
        least = INT_MAX;
        most = INT_MIN;
        cell[3] = 0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int low = INT_MAX;
    int high = INT_MIN;
    uint valid = 0;
    for (uint i = id; i < total; i += size) {
        const int key = own[i];
        low = min(low, key);
        high = key == NO_KEY ? high : max(high, key);
        valid += key == NO_KEY ? 0 : 1;
    }
    const int least_own = low;
    atomic_min(&least, low);
    atomic_max(&most, high);
    group_prefix(bins, valid);
    valid = bins[size - 1];
    low = least;
    high = most;
    barrier(CLK_LOCAL_MEM_FENCE);
    // Each work-item's least key is of another vector: the k-th of them bounds the k-th of all,
    // which is cheaper to have than a histogram of very many.
    const uint enough = min((uint)capacity, 2 * (uint)k + MANY);
    if (valid > MANY * size && valid > (uint)capacity && (uint)k <= size / 2) {
        bins[id] = (uint)least_own;
        barrier(CLK_LOCAL_MEM_FENCE);
        uint rank = 0;
        for (uint i = 0; i < size; i++) {
            const int other = (int)bins[i];
            rank += other < least_own || (other == least_own && i < id) ? 1 : 0;
        }
        if (rank == (uint)k - 1) {
            most = least_own;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        high = most;
    } else if (valid > enough) {
        uint below;
        narrow(bins, cell, own, total, 0, 0, k, enough, &low, &high, &below);
    }
    for (int attempt = 0;; attempt++) {
        for (uint i = id; i < total; i += size) {
            const int key = own[i];
            if (key <= high && key != NO_KEY) {
                const uint at = atomic_inc(&cell[3]);
                if (at >= (uint)capacity) {
                    break; // too many
                }
                // the last pair that starts at i or before it, and is not empty
                uint pair = 0;
                for (uint end = nprobe; end - pair > 1;) {
                    const uint middle = (pair + end) / 2;
                    if (starts[query * nprobe + middle] <= i) {
                        pair = middle;
                    } else {
                        end = middle;
                    }
                }
                const uint list = (uint)probes[query * nprobe + pair];
                const uint offset = i - starts[query * nprobe + pair];
                const size_t place = (size_t)list_block[list] * 16 + offset;
                hit_key[at] = key;
                hit_place[at] = (ulong)pair << 32 | offset;
                hit_id[at] = id_at(ids, place, shape.wide_ids);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        const uint met = cell[3];
        if (met <= (uint)capacity) {
            break;
        }
        if (attempt > 0) {
            if (id == 0) {
                found[query] = ~0u;
            }
            return;
        }
        uint below;
        narrow(bins, cell, own, total, 0, 0, k, capacity, &low, &high, &below);
        if (id == 0) {
            cell[3] = 0;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const uint hits = cell[3];
    __global const int* own_probes = probes + query * nprobe;
    for (uint i = id; i < hits; i += size) {
        const int key = hit_key[i];
        const long label = (long)hit_id[i];
        const ulong place = hit_place[i];
        uint rank = 0;
        for (uint other = 0; other < hits; other++) {
            const int its_key = hit_key[other];
            const long its_label = (long)hit_id[other];
            rank += its_key < key ||
                    (its_key == key &&
                     (its_label < label ||
                      (its_label == label &&
                       place_of(own_probes, hit_place[other]) < place_of(own_probes, place))));
        }
        if (rank < (uint)k) {
            best_key[query * k + rank] = key;
            best_label[query * k + rank] = shape.labels == 0   ? (ulong)label
                                           : shape.labels == 1 ? place_of(own_probes, place)
                                                               : place;
        }
    }
    if (id == 0) {
        found[query] = min(hits, (uint)k);
    }
}
