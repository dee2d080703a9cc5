#include <arm_neon.h>

#include <cstring>

#include <faiss_vlc/kernels/gamma_tables.h>
#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/neon/estimates.h>
#include <faiss_vlc/lib/numeric.h>

// ARM with dot products (ARMv8.2, "asimddp"): four registers for 16 lanes; vdotq_s32 multiplies and
// adds 4 signed bytes of each lane, so levels of fewer than 8 bits go as they are and those of 8
// bits in two halves. Blocks may be read up to 64 bytes beyond their end (lists.h keeps that room).

namespace faiss_vlc {

namespace {

constexpr int kParts = 4; ///< registers of 4 lanes

/// sums += the pairs' products with 16 rows; `row` is 16 of each of the pair's components.
void add_pair(int32x4_t* sums, int8x16x2_t row, int16_t x0, int16_t x1) {
    const int16x8_t first[2] = {vmovl_s8(vget_low_s8(row.val[0])),
                                vmovl_s8(vget_high_s8(row.val[0]))};
    const int16x8_t second[2] = {vmovl_s8(vget_low_s8(row.val[1])),
                                 vmovl_s8(vget_high_s8(row.val[1]))};
    for (int h = 0; h < 2; h++) {
        int32x4_t& low = sums[2 * h];
        int32x4_t& high = sums[2 * h + 1];
        low = vmlal_n_s16(low, vget_low_s16(first[h]), x0);
        low = vmlal_n_s16(low, vget_low_s16(second[h]), x1);
        high = vmlal_n_s16(high, vget_high_s16(first[h]), x0);
        high = vmlal_n_s16(high, vget_high_s16(second[h]), x1);
    }
}

/// One tile of rows for V vectors.
template <int V>
void rotate_for(int pairs, const int16_t* const* x, const int8_t* rows, int32_t* const* sums,
                int at) {
    int32x4_t acc[V][kParts];
    for (int v = 0; v < V; v++) {
        for (int p = 0; p < kParts; p++) {
            acc[v][p] = vdupq_n_s32(0);
        }
    }
    for (int p = 0; p < pairs; p++) {
        const int8x16x2_t row = vld2q_s8(rows + int64_t(p) * 32);
        for (int v = 0; v < V; v++) {
            add_pair(acc[v], row, x[v][2 * p], x[v][2 * p + 1]);
        }
    }
    for (int v = 0; v < V; v++) {
        for (int p = 0; p < kParts; p++) {
            vst1q_s32(sums[v] + at + 4 * p, acc[v][p]);
        }
    }
}

void rotate_tiles(int tiles, int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    for (int t = 0; t < tiles; t++) {
        rotate_for<1>(pairs, &x, rows + int64_t(t) * pairs * 32, &sums, t * 16);
    }
}

void rotate_together(int tiles, int pairs, const int16_t* const* x, const int8_t* rows,
                     int32_t* const* sums) {
    for (int t = 0; t < tiles; t++) {
        rotate_for<kTogether>(pairs, x, rows + int64_t(t) * pairs * 32, sums, t * 16);
    }
}

/// 4 bytes in each lane.
int8x16_t four(const int8_t* x) {
    int32_t bytes;
    std::memcpy(&bytes, x, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(bytes));
}

/// One tile of anchors for Q queries.
template <int Q>
void rank_for(const AnchorTiles& anchors, int tile, const int8_t* const* x, int32_t factor,
              int32_t* const* scores) {
    const int8_t* packed = anchors.packed + int64_t(tile) * anchors.groups * 64;
    const int at = tile * 16;
    int32x4_t acc[Q][kParts];
    for (int q = 0; q < Q; q++) {
        for (int p = 0; p < kParts; p++) {
            acc[q][p] = vdupq_n_s32(0);
        }
    }
    for (int g = 0; g < anchors.groups; g++) {
        const int8x16x4_t a = vld1q_s8_x4(packed + int64_t(g) * 64);
        for (int q = 0; q < Q; q++) {
            const int8x16_t query = four(x[q] + g * 4);
            for (int p = 0; p < kParts; p++) {
                acc[q][p] = vdotq_s32(acc[q][p], a.val[p], query);
            }
        }
    }
    for (int q = 0; q < Q; q++) {
        for (int p = 0; p < kParts; p++) {
            const int32x4_t offset = vld1q_s32(anchors.offsets + at + 4 * p);
            vst1q_s32(scores[q] + at + 4 * p, vmlaq_n_s32(offset, acc[q][p], factor));
        }
    }
}

void rank_tiles(const AnchorTiles& anchors, const int8_t* x, int32_t factor, int32_t* scores) {
    for (int t = 0; t < anchors.tiles; t++) {
        rank_for<1>(anchors, t, &x, factor, &scores);
    }
}

void rank_together(const AnchorTiles& anchors, const int8_t* const* x, int32_t factor,
                   int32_t* const* scores) {
    for (int t = 0; t < anchors.tiles; t++) {
        rank_for<kTogether>(anchors, t, x, factor, scores);
    }
}

void group_minima(int n, const int32_t* scores, int groups, int32_t* minima) {
    for (int g = 0; g < groups; g += 4) {
        int32x4_t least = vdupq_n_s32(INT32_MAX);
        for (int i = g; i < n; i += groups) {
            least = vminq_s32(least, vld1q_s32(scores + i));
        }
        vst1q_s32(minima + g, least);
    }
}

int select_within(int n, const int32_t* scores, int32_t bound, uint64_t* found) {
    int count = 0;
    for (int i = 0; i < n; i += 4) {
        uint32_t within = neon::bits_of(vcleq_s32(vld1q_s32(scores + i), vdupq_n_s32(bound)));
        for (; within; within &= within - 1) {
            const int at = i + __builtin_ctz(within);
            found[count++] = rank_key(scores[at], at);
        }
    }
    return count;
}

float anchor_distance(int dp, const float* q, const int8_t* a) {
    float32x4_t sum[kParts];
    for (int p = 0; p < kParts; p++) {
        sum[p] = vdupq_n_f32(0);
    }
    for (int k = 0; k < dp; k += kLanes) {
        const int8x16_t bytes = vld1q_s8(a + k);
        const int16x8_t words[2] = {vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes))};
        for (int p = 0; p < kParts; p++) {
            const int16x4_t some = p % 2 ? vget_high_s16(words[p / 2]) : vget_low_s16(words[p / 2]);
            const float32x4_t anchor = vcvtq_f32_s32(vmovl_s16(some));
            const float32x4_t u = vsubq_f32(vld1q_f32(q + k + 4 * p), anchor);
            sum[p] = vaddq_f32(sum[p], vmulq_f32(u, u));
        }
    }
    float lane[kLanes];
    for (int p = 0; p < kParts; p++) {
        vst1q_f32(lane + 4 * p, sum[p]);
    }
    return add_lanes(lane);
}

float quantize_query(int n, const float* y, const float* b, const float* step, float* w,
                     int8_t* q8) {
    float32x4_t most = vdupq_n_f32(0);
    for (int i = 0; i < n; i += 4) {
        const float32x4_t residual = vsubq_f32(vld1q_f32(y + i), vld1q_f32(b + i));
        const float32x4_t v = vmulq_f32(residual, vld1q_f32(step + i));
        most = vmaxnmq_f32(most, vabsq_f32(v));
        vst1q_f32(w + i, v);
    }
    const float largest = vmaxnmvq_f32(most);
    const float scale = largest > kSmallestQuery ? 127.0f / largest : 0.0f;
    for (int i = 0; i < n; i += 16) {
        int16x4_t words[kParts];
        for (int p = 0; p < kParts; p++) {
            words[p] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(w + i + 4 * p), scale)));
        }
        vst1q_s8(q8 + i, vcombine_s8(vmovn_s16(vcombine_s16(words[0], words[1])),
                                     vmovn_s16(vcombine_s16(words[2], words[3]))));
    }
    return largest;
}

int32_t half_of(int n, const int8_t* q8, const int16_t* most) {
    int32x4_t sum = vdupq_n_s32(0);
    for (int i = 0; i < n; i += 8) {
        const int16x8_t q = vmovl_s8(vld1_s8(q8 + i)), levels = vld1q_s16(most + i);
        sum = vmlal_s16(sum, vget_low_s16(q), vget_low_s16(levels));
        sum = vmlal_s16(sum, vget_high_s16(q), vget_high_s16(levels));
    }
    return vaddvq_s32(sum);
}

ListTerms list_terms(const ListSide& side) {
    ListTerms terms;
    terms.list_distance = anchor_distance(side.dp, side.query, side.anchor);
    terms.largest = quantize_query(side.slots, side.rotated, side.base, side.step, side.weighted,
                                   side.plane);
    terms.half = half_of(side.slots, side.plane, side.levels);
    return terms;
}

/// Bytes of 4 vectors of a row, zero-extended to 4 bytes each.
uint8x16_t load_lanes(const uint8_t* row, int lanes, int part) {
    if (lanes == 4) {
        return vld1q_u8(row + part * 16);
    }
    uint16x4_t words;
    if (lanes == 2) {
        words = vreinterpret_u16_u8(vld1_u8(row + part * 8));
    } else {
        uint32_t bytes;
        std::memcpy(&bytes, row + part * 4, 4);
        words = vget_low_u16(vmovl_u8(vcreate_u8(bytes)));
    }
    return vreinterpretq_u8_u32(vmovl_u16(words));
}

/// A block of `count` vectors for Q queries of P planes each, which share the codes. Results start
/// at the vector `at`.
template <int Q, int P>
void scan_block(const ListScan* const* lists, const uint8_t* block, int count, const float* bounds,
                float* const* distances, uint64_t* within, int at) {
    constexpr int R = Q * P;
    const Layout& layout = *lists[0]->layout;
    const uint32_t* planes[R];
    for (int q = 0; q < Q; q++) {
        planes[q * P] = lists[q]->query;
        if constexpr (P == 2) {
            planes[q * P + 1] = lists[q]->fine;
        }
    }
    int32x4_t total[kParts][R];
    for (int p = 0; p < kParts; p++) {
        for (int q = 0; q < R; q++) {
            total[p][q] = vdupq_n_s32(0);
        }
    }
    for (size_t i = 0; i < layout.fields.size(); i++) {
        const Field& f = layout.fields[i];
        const uint8_t* row = block + int64_t(f.offset) * count;
        const uint8x16_t mask = vreinterpretq_u8_u32(vdupq_n_u32(f.mask >> f.shift));
        const int8x16_t shift = vdupq_n_s8(int8_t(-f.shift));
        int8x16_t x[R];
        for (int q = 0; q < R; q++) {
            x[q] = vreinterpretq_s8_u32(vdupq_n_u32(planes[q][i]));
        }
        for (int p = 0; p < kParts; p++) {
            const uint8x16_t codes = load_lanes(row, f.lanes, p);
            if (f.width == 8) {
                const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(codes, vdupq_n_u8(15)));
                const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(codes, 4));
                for (int q = 0; q < R; q++) {
                    const int32x4_t upper = vdotq_s32(vdupq_n_s32(0), high, x[q]);
                    total[p][q] = vdotq_s32(total[p][q], low, x[q]);
                    total[p][q] = vaddq_s32(total[p][q], vshlq_n_s32(upper, 4));
                }
                continue;
            }
            const int8x16_t level = vreinterpretq_s8_u8(vandq_u8(vshlq_u8(codes, shift), mask));
            for (int q = 0; q < R; q++) {
                total[p][q] = vdotq_s32(total[p][q], level, x[q]);
            }
        }
    }
    const uint8_t* last_row = block + int64_t(layout.code_bytes) * count;
    for (int p = 0; p < kParts; p++) {
        const neon::Factors factors = neon::load_factors(last_row + p * 8);
        const int rest = count - 4 * p;
        const int in_part = rest < 0 ? 0 : rest < 4 ? rest : 4;
        for (int q = 0; q < Q; q++) {
            const int32x4_t* sums = total[p] + q * P;
            float* to = distances[q] + at + 4 * p;
            const uint32_t close =
                    P == 2 ? neon::put_fine_distances(*lists[q], bounds[q], factors, sums[0],
                                                      sums[P - 1], to)
                           : neon::put_distances(*lists[q], bounds[q], factors, sums[0], to);
            within[q] |= uint64_t(close & ((1u << in_part) - 1)) << (at + 4 * p);
        }
    }
}

template <int Q, int P = 1>
void scan_for(const ListScan* const* lists, const uint8_t* blocks, int count, const float* bounds,
              float* const* distances, uint64_t* within) {
    for (int q = 0; q < Q; q++) {
        within[q] = 0;
    }
    for (int first = 0; first < count; first += kBlock) {
        const int in_block = count - first < kBlock ? count - first : kBlock;
        scan_block<Q, P>(lists, blocks + int64_t(first) * lists[0]->layout->code_size(), in_block,
                         bounds, distances, within, first);
    }
}

uint64_t scan_blocks(const ListScan& list, const uint8_t* blocks, int count, float bound,
                     float* distance) {
    const ListScan* lists = &list;
    uint64_t within;
    scan_for<1>(&lists, blocks, count, &bound, &distance, &within);
    return within;
}

uint64_t scan_blocks_fine(const ListScan& list, const uint8_t* blocks, int count, float bound,
                          float* distance) {
    const ListScan* lists = &list;
    uint64_t within;
    scan_for<1, 2>(&lists, blocks, count, &bound, &distance, &within);
    return within;
}

void tables(const Estimator::Steps& steps, const Estimator::Scales& by, float* add, float* mul) {
    gamma_tables(steps, by, add, mul);
}

} // namespace

void neon::patch_search(Simd& simd) {
    simd.rotate.tiles = rotate_tiles;
    simd.rotate.together = rotate_together;
    simd.rank.tiles = rank_tiles;
    simd.rank.together = rank_together;
    simd.rank.group_minima = group_minima;
    simd.rank.select_within = select_within;
    simd.scan.anchor_distance = anchor_distance;
    simd.scan.quantize_query = quantize_query;
    simd.scan.half = half_of;
    simd.scan.list_terms = list_terms;
    simd.scan.tables = tables;
    simd.scan.blocks = scan_blocks;
    simd.scan.blocks_fine = scan_blocks_fine;
    simd.scan.blocks_together = scan_for<kScanTogether>;
}

} // namespace faiss_vlc
