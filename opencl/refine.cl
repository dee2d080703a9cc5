// The best hits by first codes, ordered anew by both tiers: what faiss_vlc/query/refinement.h's
// Refinement does for codes of levels and sums, number by number. A query's side of levels is
// weights, as faiss_vlc/second/second_tier.h's LevelWeights has them.

#define LANES 16 // of sums of floats
#define TEAMS 4  // of a work-group: each has LANES work-items, and a query
#define LEAST_WEIGHT 1e-33f
#define MOST_SUM 2.0e9f
#define NO_PLACE (-1)
#define FINE_LENGTH (1.0f / 16.0f)
#define REST_ZERO (1.0f / 4096.0f)
#define REST_BIAS ((127u - 12u) << 23)

// The sum of LANES values, as numeric.h's add_lanes has it.
inline float sum_lanes(__local const float* lane) {
    float half_of[LANES];
    for (int i = 0; i < LANES; i++) {
        half_of[i] = lane[i];
    }
    for (int width = LANES / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) {
            half_of[i] += half_of[i + width];
        }
    }
    return half_of[0];
}

// The weight of a place: slot << 3 | how far its piece is up in the level, or NO_PLACE.
inline int weight_of(int place, __global const float* y, __global const float* step, float scale) {
    const int slot = place == NO_PLACE ? 0 : place >> 3;
    const int weight = scale > 0 ? round_even(y[slot] * step[slot] * scale) : 0;
    return place == NO_PLACE ? 0 : weight * (1 << (place & 7));
}

// Weights of queries in the frames that they need. places: int4 of each field; masks: what of a
// field's bytes are levels; most: of each slot's level; steps: frames x slots; rotated: query x
// frames x stride. weights: query x frames x fields x 4. Work-groups of TEAMS * LANES.
__kernel void weigh_levels(WeighShape shape, __global const int4* places,
                           __global const uint* masks, __global const float* most,
                           __global const float* steps, __global const float* rotated,
                           __global const uint* frame_count, __global const uint* frame_queries,
                           __global short* weights, __global Weighed* weighed) {
    __local float largest_of[TEAMS * LANES];
    __local float sum_of[TEAMS * LANES];
    __local int half_of[TEAMS * LANES];
    const int id = (int)get_local_id(0);
    const int team = id / LANES;
    const int lane = id % LANES;
    const int frames = shape.frames;
    const int slots = shape.slots;
    const int fields = shape.fields;
    const int frame = (int)get_group_id(0) % frames;
    const int first = (int)get_group_id(0) / frames * TEAMS;
    const int count = (int)frame_count[frame];
    if (first >= count) {
        return;
    }
    const int is_needed = first + team < count;
    const size_t query = frame_queries[(size_t)frame * shape.most + min(first + team, count - 1)];
    __global const float* y = rotated + (query * frames + frame) * shape.stride;
    __global const float* step = steps + (size_t)frame * slots;
    float largest = 0;
    float sum = 0;
    for (int s = lane; s < slots; s += LANES) {
        const float size = fabs(y[s] * step[s]);
        largest = max(largest, size);
        sum += size * most[s];
    }
    largest_of[id] = largest;
    sum_of[id] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    float largest_of_all = 0;
    for (int i = 0; i < LANES; i++) {
        largest_of_all = max(largest_of_all, largest_of[team * LANES + i]);
    }
    const float sum_of_all = sum_lanes(sum_of + team * LANES);
    const int is_usable = largest_of_all > LEAST_WEIGHT && sum_of_all < FLT_MAX;
    const float by_largest = shape.most_weight / largest_of_all;
    const float by_sum = MOST_SUM / sum_of_all;
    const float scale = !is_usable ? 0.0f : by_sum < by_largest ? by_sum : by_largest;

    const size_t own = query * frames + frame;
    int half_sum = 0; // of what levels have above 0, were all of them the largest
    for (int f = lane; f < fields; f += LANES) {
        const int4 place = places[f];
        const uint mask = masks[f];
        const int4 weight =
                (int4)(weight_of(place.s0, y, step, scale), weight_of(place.s1, y, step, scale),
                       weight_of(place.s2, y, step, scale), weight_of(place.s3, y, step, scale));
        const int4 all = weight * convert_int4(as_uchar4(mask));
        half_sum += (all.s0 + all.s1) + (all.s2 + all.s3);
        if (is_needed) {
            vstore4(convert_short4(weight), own * fields + f, weights);
        }
    }
    half_of[id] = half_sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane == 0 && is_needed) {
        int total = 0;
        for (int i = 0; i < LANES; i++) {
            total += half_of[id + i];
        }
        weighed[own] = unit_of(scale, total);
    }
}

// The sum of levels times weights, in the middle of its range and in its unit. code: a block, of
// which `lane` is the vector's, or one code alone.
inline float level_dot(__global const uint4* fields, int n, __global const uchar* code, uint lane,
                       __global const short* weights, Weighed what) {
    uint word = 0;
    int sum = 0;
    for (int f = 0; f < n; f++) {
        const Field field = unpack_field(fields[f]);
        if (field.is_first) {
            word = load_row(code, field, lane);
        }
        const int4 level = convert_int4(as_uchar4((word >> field.shift) & field.mask));
        const int4 product = level * convert_int4(vload4(field.index, weights));
        sum += (product.s0 + product.s1) + (product.s2 + product.s3);
    }
    return worth_of(2 * (long)sum - (long)what.middle, what);
}

// What `own` has beside the square: see SecondTier::rest.
inline float rest_of(uint code, int bits) {
    const uint size = code & ((1u << bits) - 1);
    const float value = as_float((size << (27 - bits)) + REST_BIAS) - REST_ZERO;
    return code >> bits ? -value : value;
}

// The estimate by both tiers. first: l, then <q, r1>; base: the distance to the list's anchor.
inline float by_both(RefineShape shape, float base, float l, float dot, float energy, float start,
                     __global const uchar* second, __global const float* scales,
                     __global const float* alphas, __global const uint4* fields,
                     __global const short* weights, Weighed what) {
    __global const uchar* factors = second + shape.second_bytes;
    const float scale = scales[factors[0]];
    if (scale > 0) {
        dot += scale * level_dot(fields, shape.second_fields, second, 0, weights, what);
    }
    if (shape.inner_product) {
        return base - (1.0f + alphas[factors[1]]) * dot;
    }
    const uint both = factors[1] | (uint)factors[2] << 8 |
                      (shape.factor_bytes > 3 ? (uint)factors[3] << 16 : 0u);
    const float product = (1.0f + alphas[both & 15]) * dot;
    const float square = l * l * energy;
    const float length = sqrt(square);
    const float unit = square * FINE_LENGTH + scale * scale +
                       (scale * length + (length + scale) * start) * shape.start_share;
    return base - 2.0f * product + (square + rest_of(both >> 4, shape.rest_bits) * unit);
}

// The k hits of a query's best of least (estimate by both tiers, id, list, offset), in order. hits:
// query x refined, each with its list's place among the probed ones in front; hit_count may say
// that another must look (see best_hits). bases: of pairs, see scan_lists. seconds: a code for each
// place of the blocks. own_keys: `refined`. One work-group a query.
__kernel void refine_hits(RefineShape shape, __global const ulong* hits,
                          __global const uint* hit_count, __global const int* probes,
                          __global const uint* slots, __global const uint* pair_begin,
                          __global const float* bases, __global const uint* list_block,
                          __global const ListTraits* lists, __global const float* starts,
                          __global const uint4* fields, __global const uchar* codes,
                          __global const short* weights, __global const Weighed* weighed,
                          __global const uint4* second_fields, __global const uchar* seconds,
                          __global const short* second_weights,
                          __global const Weighed* second_weighed, __global const float* scales,
                          __global const float* alphas, __global const uint* ids,
                          __local int* own_keys, __global int* best_key, __global ulong* best_label,
                          __global uint* found) {
    const uint id = (uint)get_local_id(0);
    const uint size = (uint)get_local_size(0);
    const size_t query = get_group_id(0);
    const int k = shape.k;
    const uint count = hit_count[query];
    if (count == ~0u) {
        if (id == 0) {
            found[query] = count;
        }
        return;
    }
    __global const ulong* own = hits + query * shape.refined;
    __global const int* own_probes = probes + query * shape.nprobe;
    __global const uint* own_slots = slots + query * shape.nprobe;
    __global const short* own_second = second_weights + query * shape.second_fields * 4;
    const Weighed second_what = second_weighed[query];
    for (uint i = id; i < count; i += size) {
        const uint pair = (uint)(own[i] >> 32);
        const uint list = (uint)own_probes[pair];
        const size_t place = (size_t)list_block[list] * 16 + (uint)own[i];
        const ListTraits traits = lists[list];
        __global const uchar* block = codes + place / 16 * 16 * shape.code_size;
        const uint lane = (uint)(place % 16);
        const uint bits = ((__global const ushort*)(block + 16 * shape.code_bytes))[lane];
        const float l = as_float(((bits >> 5) << 16) + LENGTH_BIAS) - LENGTH_ZERO;
        const size_t in_frame = query * shape.frames + traits.frame;
        const float dot = level_dot(fields, shape.fields, block, lane,
                                    weights + in_frame * shape.fields * 4, weighed[in_frame]);
        const float met = by_both(shape, bases[pair_begin[list] + own_slots[pair]], l,
                                  traits.scale * l * dot, traits.length * traits.length,
                                  starts[list], seconds + place * shape.second_stride, scales,
                                  alphas, second_fields, own_second, second_what);
        own_keys[i] = order_key(met < FLT_MAX ? met : FLT_MAX);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = id; i < count; i += size) {
        const int key = own_keys[i];
        uint rank = 0;
        uint equals = 0;
        for (uint other = 0; other < count; other++) {
            rank += own_keys[other] < key ? 1 : 0;
            equals += own_keys[other] == key ? 1 : 0;
        }
        if (rank >= (uint)k) {
            continue;
        }
        const uint list = (uint)own_probes[own[i] >> 32];
        const ulong label =
                id_at(ids, (size_t)list_block[list] * 16 + (uint)own[i], shape.wide_ids);
        const ulong place = place_of(own_probes, own[i]);
        if (equals > 1) {
            for (uint other = 0; other < count; other++) {
                if (own_keys[other] != key) {
                    continue;
                }
                const ulong its_place = place_of(own_probes, own[other]);
                const ulong its_label =
                        id_at(ids, (size_t)list_block[its_place >> 32] * 16 + (uint)its_place,
                              shape.wide_ids);
                rank += (long)its_label < (long)label || (its_label == label && its_place < place);
            }
        }
        if (rank < (uint)k) {
            best_key[query * k + rank] = key;
            best_label[query * k + rank] = shape.as_places ? place : label;
        }
    }
    if (id == 0) {
        found[query] = min(count, (uint)k);
    }
}
