#include <faiss_vlc/kernels/gamma_tables.h>
#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

namespace {

void rotate_tile(int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    int32_t acc[16] = {};
    for (int p = 0; p < pairs; p++) {
        for (int i = 0; i < 16; i++) {
            acc[i] += int32_t(rows[p * 32 + 2 * i]) * x[2 * p] +
                      int32_t(rows[p * 32 + 2 * i + 1]) * x[2 * p + 1];
        }
    }
    std::memcpy(sums, acc, sizeof(acc));
}

void rotate_tiles(int tiles, int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    for (int t = 0; t < tiles; t++) {
        rotate_tile(pairs, x, rows + int64_t(t) * pairs * 32, sums + t * 16);
    }
}

void rotate_together(int tiles, int pairs, const int16_t* const* x, const int8_t* rows,
                     int32_t* const* sums) {
    for (int v = 0; v < kTogether; v++) {
        rotate_tiles(tiles, pairs, x[v], rows, sums[v]);
    }
}

void rank_tiles(const AnchorTiles& anchors, const int8_t* x, int32_t factor, int32_t* scores) {
    const int groups = anchors.groups;
    for (int t = 0; t < anchors.tiles; t++) {
        int32_t acc[16] = {};
        for (int g = 0; g < groups; g++) {
            const int8_t* a = anchors.packed + (int64_t(t) * groups + g) * 64;
            for (int j = 0; j < 16; j++) {
                for (int i = 0; i < 4; i++) {
                    acc[j] += int16_t(a[j * 4 + i]) * int16_t(x[g * 4 + i]);
                }
            }
        }
        for (int j = 0; j < 16; j++) {
            scores[t * 16 + j] = anchors.offsets[t * 16 + j] + factor * acc[j];
        }
    }
}

void rank_together(const AnchorTiles& anchors, const int8_t* const* x, int32_t factor,
                   int32_t* const* scores) {
    for (int q = 0; q < kTogether; q++) {
        rank_tiles(anchors, x[q], factor, scores[q]);
    }
}

void group_minima(int n, const int32_t* scores, int groups, int32_t* minima) {
    std::fill_n(minima, groups, INT32_MAX);
    for (int i = 0; i < n; i++) {
        minima[i % groups] = std::min(minima[i % groups], scores[i]);
    }
}

int select_within(int n, const int32_t* scores, int32_t bound, uint64_t* found) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (scores[i] <= bound) {
            found[count++] = rank_key(scores[i], i);
        }
    }
    return count;
}

float anchor_distance(int dp, const float* q, const int8_t* a) {
    float lane[kLanes] = {};
    for (int k = 0; k < dp; k += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            const float u = q[k + i] - float(a[k + i]);
            lane[i] += u * u;
        }
    }
    return add_lanes(lane);
}

float quantize_query(int n, const float* y, const float* b, const float* step, float* w,
                     int8_t* q8) {
    float largest = 0;
    for (int i = 0; i < n; i++) {
        w[i] = (y[i] - b[i]) * step[i];
        largest = std::max(largest, std::fabs(w[i]));
    }
    const float scale = largest > kSmallestQuery ? 127.0f / largest : 0.0f;
    for (int i = 0; i < n; i++) {
        q8[i] = int8_t(round_even(w[i] * scale));
    }
    return largest;
}

int32_t half_of(int n, const int8_t* q8, const int16_t* most) {
    int32_t half = 0;
    for (int i = 0; i < n; i++) {
        half += q8[i] * most[i];
    }
    return half;
}

ListTerms list_terms(const ListSide& side) {
    ListTerms terms;
    terms.list_distance = anchor_distance(side.dp, side.query, side.anchor);
    terms.largest = quantize_query(side.slots, side.rotated, side.base, side.step, side.weighted,
                                   side.plane);
    terms.half = half_of(side.slots, side.plane, side.levels);
    return terms;
}

/// Adds the field's products for `count` vectors of a row of `Lanes` bytes each.
template <int Lanes>
void add_field(const uint8_t* row, int count, int shift, int mask, const int8_t* q, int32_t* acc) {
    for (int v = 0; v < count; v++) {
        int32_t sum = 0;
        for (int i = 0; i < Lanes; i++) {
            sum += int16_t((row[v * Lanes + i] >> shift) & mask) * int16_t(q[i]);
        }
        acc[v] += sum;
    }
}

/// A vector's distance from its factors and its dot2.
float distance_of(const ListScan& list, const uint8_t* factors, float dot2) {
    uint16_t f;
    std::memcpy(&f, factors, 2);
    const int gamma = f & (kGammaSteps - 1);
    const float l = decode_length(f);
    const bool is_far = l > list.usual_length;
    const float add = is_far ? list.far_add * list.far[gamma] : list.add[gamma];
    const float mul = is_far ? list.far_mul : list.mul[gamma];
    const float estimate = list.list_distance + l * (l * add - mul * dot2);
    const float apart = list.reach - list.length_unit * l;
    const float least = list.inner_product ? apart : apart * apart;
    return least > estimate ? least : estimate;
}

uint32_t distances(const ListScan& list, const int32_t* acc, const uint8_t* factors, int count,
                   float bound, float* distance) {
    uint32_t within = 0;
    for (int v = 0; v < count; v++) {
        distance[v] = distance_of(list, factors + 2 * v, float(2 * acc[v] - list.half));
        within |= uint32_t(distance[v] <= bound) << v;
    }
    return within;
}

struct Sums {
    int32_t of[kBlock];
};

/// <query, codes of vector v>.
inline Sums sums_of(const Layout& layout, const uint32_t* query, const uint8_t* block, int count) {
    int32_t acc[kBlock] = {}; // not by a pointer, which might be to bytes of the block
    for (size_t i = 0; i < layout.fields.size(); i++) {
        const Field& f = layout.fields[i];
        const uint8_t* row = block + int64_t(f.offset) * count;
        const int8_t* q = reinterpret_cast<const int8_t*>(query + i);
        const int mask = (1 << f.width) - 1;
        switch (f.lanes) {
        case 4:
            add_field<4>(row, count, f.shift, mask, q, acc);
            break;
        case 2:
            add_field<2>(row, count, f.shift, mask, q, acc);
            break;
        default:
            add_field<1>(row, count, f.shift, mask, q, acc);
        }
    }
    Sums sums;
    std::copy_n(acc, kBlock, sums.of);
    return sums;
}

uint32_t scan_block(const ListScan& list, const uint8_t* block, int count, float bound,
                    float* distance) {
    const Layout& layout = *list.layout;
    const Sums sums = sums_of(layout, list.query, block, count);
    return distances(list, sums.of, block + int64_t(layout.code_bytes) * count, count, bound,
                     distance);
}

uint32_t scan_block_fine(const ListScan& list, const uint8_t* block, int count, float bound,
                         float* distance) {
    const Layout& layout = *list.layout;
    const uint8_t* factors = block + int64_t(layout.code_bytes) * count;
    const Sums sums = sums_of(layout, list.query, block, count);
    const Sums fine = sums_of(layout, list.fine, block, count);
    uint32_t within = 0;
    for (int v = 0; v < count; v++) {
        const float rest = float(2 * fine.of[v] - list.fine_half) * kFineUnit;
        distance[v] = distance_of(list, factors + 2 * v, float(2 * sums.of[v] - list.half) + rest);
        within |= uint32_t(distance[v] <= bound) << v;
    }
    return within;
}

/// one(list, block, count, bound, distance) of each block.
template <class One>
uint64_t scan_each(const ListScan& list, const uint8_t* blocks, int count, float bound,
                   float* distance, One one) {
    const int code_size = list.layout->code_size();
    uint64_t within = 0;
    for (int first = 0; first < count; first += kBlock) {
        const int in_block = std::min(kBlock, count - first);
        within |= uint64_t(one(list, blocks + int64_t(first) * code_size, in_block, bound,
                               distance + first))
                  << first;
    }
    return within;
}

uint64_t scan_blocks(const ListScan& list, const uint8_t* blocks, int count, float bound,
                     float* distance) {
    return scan_each(list, blocks, count, bound, distance, scan_block);
}

uint64_t scan_blocks_fine(const ListScan& list, const uint8_t* blocks, int count, float bound,
                          float* distance) {
    return scan_each(list, blocks, count, bound, distance, scan_block_fine);
}

void scan_blocks_together(const ListScan* const* lists, const uint8_t* blocks, int count,
                          const float* bounds, float* const* distances, uint64_t* within) {
    for (int q = 0; q < kScanTogether; q++) {
        within[q] = scan_blocks(*lists[q], blocks, count, bounds[q], distances[q]);
    }
}

void tables(const Estimator::Steps& steps, const Estimator::Scales& by, float* add, float* mul) {
    gamma_tables(steps, by, add, mul);
}

} // namespace

void portable::patch_search(Simd& simd) {
    simd.rotate.tiles = rotate_tiles;
    simd.rotate.together = rotate_together;
    simd.rank.tiles = rank_tiles;
    simd.rank.together = rank_together;
    simd.rank.group_minima = group_minima;
    simd.rank.select_within = select_within;
    simd.scan.anchor_distance = anchor_distance;
    simd.scan.quantize_query = quantize_query;
    simd.scan.tables = tables;
    simd.scan.half = half_of;
    simd.scan.list_terms = list_terms;
    simd.scan.distances = distances;
    simd.scan.blocks = scan_blocks;
    simd.scan.blocks_fine = scan_blocks_fine;
    simd.scan.blocks_together = scan_blocks_together;
}

} // namespace faiss_vlc
