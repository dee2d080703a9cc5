#include <immintrin.h>

#include <faiss_vlc/kernels/avx512/estimates.h>
#include <faiss_vlc/kernels/gamma_tables.h>
#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/lib/numeric.h>

// AVX-512 with VNNI: 16 vectors (or anchors, or frame rows) are the 16 lanes of a register, and one
// instruction multiplies and adds 4 bytes of each. Blocks may be read up to 64 bytes beyond their
// end (lists.h keeps that room).

namespace faiss_vlc {

namespace {

__m512i widen_bytes(const int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

void rotate_tile(int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    constexpr int kChains = 4; // hide the latency of each other
    __m512i acc[kChains];
    for (int c = 0; c < kChains; c++) {
        acc[c] = _mm512_setzero_si512();
    }
    const int32_t* x2 = reinterpret_cast<const int32_t*>(x);
    int p = 0;
    for (; p + kChains <= pairs; p += kChains) {
        for (int c = 0; c < kChains; c++) {
            acc[c] = _mm512_dpwssd_epi32(acc[c], widen_bytes(rows + (p + c) * 32),
                                         _mm512_set1_epi32(x2[p + c]));
        }
    }
    for (; p < pairs; p++) {
        acc[0] = _mm512_dpwssd_epi32(acc[0], widen_bytes(rows + p * 32), _mm512_set1_epi32(x2[p]));
    }
    _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_add_epi32(acc[0], acc[1]),
                                               _mm512_add_epi32(acc[2], acc[3])));
}

void rotate_tiles(int tiles, int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    for (int t = 0; t < tiles; t++) {
        rotate_tile(pairs, x, rows + int64_t(t) * pairs * 32, sums + t * 16);
    }
}

/// `T` tiles for kTogether vectors.
template <int T>
void rotate_some_together(int pairs, const int16_t* const* x, const int8_t* rows,
                          int32_t* const* sums, int at) {
    __m512i acc[T][kTogether];
    for (int t = 0; t < T; t++) {
        for (int v = 0; v < kTogether; v++) {
            acc[t][v] = _mm512_setzero_si512();
        }
    }
    for (int p = 0; p < pairs; p++) {
        __m512i row[T];
        for (int t = 0; t < T; t++) {
            row[t] = widen_bytes(rows + (int64_t(t) * pairs + p) * 32);
        }
        for (int v = 0; v < kTogether; v++) {
            const __m512i q = _mm512_set1_epi32(reinterpret_cast<const int32_t*>(x[v])[p]);
            for (int t = 0; t < T; t++) {
                acc[t][v] = _mm512_dpwssd_epi32(acc[t][v], row[t], q);
            }
        }
    }
    for (int t = 0; t < T; t++) {
        for (int v = 0; v < kTogether; v++) {
            _mm512_storeu_si512(sums[v] + at + t * 16, acc[t][v]);
        }
    }
}

void rotate_together(int tiles, int pairs, const int16_t* const* x, const int8_t* rows,
                     int32_t* const* sums) {
    int t = 0;
    for (; t + 4 <= tiles; t += 4) {
        rotate_some_together<4>(pairs, x, rows + int64_t(t) * pairs * 32, sums, t * 16);
    }
    for (; t < tiles; t++) {
        rotate_some_together<1>(pairs, x, rows + int64_t(t) * pairs * 32, sums, t * 16);
    }
}

/// Scores `T` tiles at once, so that one broadcast of the query serves them and latencies overlap.
template <int T>
void rank_some(const AnchorTiles& anchors, int tile, const int32_t* x4, int32_t factor,
               int32_t* scores) {
    const int groups = anchors.groups;
    const int8_t* packed = anchors.packed + int64_t(tile) * groups * 64;
    const int32_t* component_sums = anchors.component_sums + tile * 16;
    const int32_t* offsets = anchors.offsets + tile * 16;
    __m512i acc[T];
    for (int t = 0; t < T; t++) {
        // the query enters as x + 128, unsigned
        acc[t] = _mm512_slli_epi32(_mm512_loadu_si512(component_sums + t * 16), 7);
        acc[t] = _mm512_sub_epi32(_mm512_setzero_si512(), acc[t]);
    }
    for (int g = 0; g < groups; g++) {
        const __m512i q = _mm512_set1_epi32(x4[g] ^ int32_t(0x80808080));
        for (int t = 0; t < T; t++) {
            const int8_t* a = packed + (int64_t(t) * groups + g) * 64;
            acc[t] = _mm512_dpbusd_epi32(acc[t], q, _mm512_loadu_si512(a));
        }
    }
    for (int t = 0; t < T; t++) {
        const __m512i scaled = _mm512_mullo_epi32(acc[t], _mm512_set1_epi32(factor));
        _mm512_storeu_si512(scores + (tile + t) * 16,
                            _mm512_add_epi32(scaled, _mm512_loadu_si512(offsets + t * 16)));
    }
}

void rank_tiles(const AnchorTiles& anchors, const int8_t* x, int32_t factor, int32_t* scores) {
    const int32_t* x4 = reinterpret_cast<const int32_t*>(x);
    int t = 0;
    for (; t + 8 <= anchors.tiles; t += 8) {
        rank_some<8>(anchors, t, x4, factor, scores);
    }
    for (; t + 4 <= anchors.tiles; t += 4) { // regions are often that small
        rank_some<4>(anchors, t, x4, factor, scores);
    }
    switch (anchors.tiles - t) {
    case 3:
        return rank_some<3>(anchors, t, x4, factor, scores);
    case 2:
        return rank_some<2>(anchors, t, x4, factor, scores);
    case 1:
        return rank_some<1>(anchors, t, x4, factor, scores);
    }
}

/// Scores `T` tiles for kTogether queries.
template <int T>
void rank_some_together(const AnchorTiles& anchors, int tile, const int8_t* const* x,
                        int32_t factor, int32_t* const* scores) {
    const int groups = anchors.groups;
    const int8_t* packed = anchors.packed + int64_t(tile) * groups * 64;
    const int32_t* component_sums = anchors.component_sums + tile * 16;
    const int32_t* offsets = anchors.offsets + tile * 16;
    __m512i acc[T][kTogether];
    for (int t = 0; t < T; t++) {
        const __m512i sums = _mm512_loadu_si512(component_sums + t * 16);
        for (int q = 0; q < kTogether; q++) {
            acc[t][q] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sums, 7));
        }
    }
    for (int g = 0; g < groups; g++) {
        __m512i a[T];
        for (int t = 0; t < T; t++) {
            a[t] = _mm512_loadu_si512(packed + (int64_t(t) * groups + g) * 64);
        }
        for (int q = 0; q < kTogether; q++) {
            const int32_t four = reinterpret_cast<const int32_t*>(x[q])[g] ^ int32_t(0x80808080);
            for (int t = 0; t < T; t++) {
                acc[t][q] = _mm512_dpbusd_epi32(acc[t][q], _mm512_set1_epi32(four), a[t]);
            }
        }
    }
    for (int t = 0; t < T; t++) {
        const __m512i offset = _mm512_loadu_si512(offsets + t * 16);
        for (int q = 0; q < kTogether; q++) {
            const __m512i scaled = _mm512_mullo_epi32(acc[t][q], _mm512_set1_epi32(factor));
            _mm512_storeu_si512(scores[q] + (tile + t) * 16, _mm512_add_epi32(scaled, offset));
        }
    }
}

void rank_together(const AnchorTiles& anchors, const int8_t* const* x, int32_t factor,
                   int32_t* const* scores) {
    int t = 0;
    for (; t + 4 <= anchors.tiles; t += 4) {
        rank_some_together<4>(anchors, t, x, factor, scores);
    }
    switch (anchors.tiles - t) {
    case 3:
        return rank_some_together<3>(anchors, t, x, factor, scores);
    case 2:
        return rank_some_together<2>(anchors, t, x, factor, scores);
    case 1:
        return rank_some_together<1>(anchors, t, x, factor, scores);
    }
}

void group_minima(int n, const int32_t* scores, int groups, int32_t* minima) {
    for (int g = 0; g < groups; g += 16) {
        __m512i least = _mm512_set1_epi32(INT32_MAX);
        for (int i = g; i < n; i += groups) {
            least = _mm512_min_epi32(least, _mm512_loadu_si512(scores + i));
        }
        _mm512_storeu_si512(minima + g, least);
    }
}

int select_within(int n, const int32_t* scores, int32_t bound, uint64_t* found) {
    int count = 0;
    for (int i = 0; i < n; i += 16) {
        uint32_t within =
                _mm512_cmple_epi32_mask(_mm512_loadu_si512(scores + i), _mm512_set1_epi32(bound));
        for (; within; within &= within - 1) {
            const int at = i + __builtin_ctz(within);
            found[count++] = rank_key(scores[at], at);
        }
    }
    return count;
}

float anchor_distance(int dp, const float* q, const int8_t* a) {
    __m512 sum = _mm512_setzero_ps();
    for (int k = 0; k < dp; k += 16) {
        const __m512 anchor = _mm512_cvtepi32_ps(
                _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + k))));
        const __m512 u = _mm512_sub_ps(_mm512_loadu_ps(q + k), anchor);
        sum = _mm512_add_ps(sum, _mm512_mul_ps(u, u));
    }
    // numeric.h's add_lanes
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// Scan::quantize_query, which adds sum_i q8_i levels_i to `half` unless there are none.
inline __attribute__((always_inline)) float quantize(int n, const float* y, const float* b,
                                                     const float* step, float* w, int8_t* q8,
                                                     const int16_t* levels, int32_t* half) {
    __m512 most = _mm512_setzero_ps();
#pragma GCC unroll 2
    for (int i = 0; i < n; i += 16) {
        const __m512 residual = _mm512_sub_ps(_mm512_loadu_ps(y + i), _mm512_loadu_ps(b + i));
        const __m512 v = _mm512_mul_ps(residual, _mm512_loadu_ps(step + i));
        most = _mm512_max_ps(most, _mm512_abs_ps(v));
        _mm512_storeu_ps(w + i, v);
    }
    const float largest = _mm512_reduce_max_ps(most);
    const __m512 scale = _mm512_set1_ps(largest > kSmallestQuery ? 127.0f / largest : 0.0f);
    __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 2
    for (int i = 0; i < n; i += 16) {
        const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(w + i), scale));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q8 + i), _mm512_cvtepi32_epi8(rounded));
        if (levels) { // both are within 16 bits, whose upper halves are 0 or a sign
            const __m512i most_level = _mm512_cvtepu16_epi32(
                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(levels + i)));
            sum = _mm512_dpwssd_epi32(sum, rounded, most_level);
        }
    }
    if (levels) {
        *half = _mm512_reduce_add_epi32(sum);
    }
    return largest;
}

float quantize_query(int n, const float* y, const float* b, const float* step, float* w,
                     int8_t* q8) {
    return quantize(n, y, b, step, w, q8, nullptr, nullptr);
}

int32_t half_of(int n, const int8_t* q8, const int16_t* most) {
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < n; i += 16) {
        const __m256i q =
                _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q8 + i)));
        sum = _mm256_dpwssd_epi32(sum, q,
                                  _mm256_loadu_si256(reinterpret_cast<const __m256i*>(most + i)));
    }
    return _mm512_reduce_add_epi32(_mm512_zextsi256_si512(sum));
}

ListTerms list_terms(const ListSide& side) {
    ListTerms terms;
    terms.list_distance = anchor_distance(side.dp, side.query, side.anchor);
    terms.largest = quantize(side.slots, side.rotated, side.base, side.step, side.weighted,
                             side.plane, side.levels, &terms.half);
    return terms;
}

__m512i load_row(const uint8_t* row, int lanes) {
    if (lanes == 4) {
        return _mm512_loadu_si512(row);
    }
    if (lanes == 2) {
        return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
    }
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
}

/// A scan of vectors of a list for some queries. Pointers are of one for each query.
struct Job {
    const ListScan* const* lists;
    const uint8_t* blocks;
    const float* bounds;
    float* const* distances;
    uint64_t* within;
};

/// `B` blocks at once for Q queries of P planes each: blocks share a query's broadcasts, queries
/// and planes share the codes, and the latencies of all sums overlap. The last block has `last`
/// vectors, so that its rows may be shorter. F: fetches by the way.
template <int B, int Q, int P, bool F>
inline __attribute__((always_inline)) void scan_some(const Job& job, int last) {
    constexpr int R = Q * P;
    const ListScan* const* const lists = job.lists;
    const Layout& layout = *lists[0]->layout;
    const uint32_t* planes[R];
    for (int q = 0; q < Q; q++) {
        planes[q * P] = lists[q]->query;
        if constexpr (P == 2) {
            planes[q * P + 1] = lists[q]->fine;
        }
    }
    const size_t n = layout.fields.size();
    const Field* fields = layout.fields.data();
    const int64_t stride = int64_t(layout.code_size()) * kBlock;
    const uint8_t* const last_block = job.blocks + (B - 1) * stride;
    // of the b-th block, what lies `offset` bytes into a vector's code
    const auto row_of = [&](int b, int offset) {
        return b + 1 < B ? job.blocks + int64_t(offset) * kBlock + b * stride
                         : last_block + int64_t(offset) * last;
    };
    __m512i total[B][R];
    for (int b = 0; b < B; b++) {
        for (int q = 0; q < R; q++) {
            total[b][q] = _mm512_setzero_si512();
        }
    }
    [[maybe_unused]] const uint8_t* const ahead = lists[0]->ahead ? lists[0]->ahead : job.blocks;
    for (size_t i = 0; i < n;) {
        const int shift = fields[i].shift;
        __m512i acc[B][R];
        for (int b = 0; b < B; b++) {
            for (int q = 0; q < R; q++) {
                acc[b][q] = _mm512_setzero_si512();
            }
        }
        for (; i < n && fields[i].shift == shift; i++) {
            const Field& f = fields[i];
            if constexpr (F) {
                __builtin_prefetch(ahead + i * 64, 0, 2);
            }
            const __m512i mask = _mm512_set1_epi32(int(f.mask));
            __m512i x[R];
            for (int q = 0; q < R; q++) {
                x[q] = _mm512_set1_epi32(int(planes[q][i]));
            }
            const auto add = [&](auto load) {
                for (int b = 0; b < B; b++) {
                    const __m512i codes = _mm512_and_si512(load(row_of(b, f.offset)), mask);
                    for (int q = 0; q < R; q++) {
                        acc[b][q] = _mm512_dpbusd_epi32(acc[b][q], codes, x[q]);
                    }
                }
            };
            if (f.lanes == 4) {
                add([](const uint8_t* p) { return _mm512_loadu_si512(p); });
            } else {
                add([&](const uint8_t* p) { return load_row(p, f.lanes); });
            }
        }
        for (int b = 0; b < B; b++) {
            for (int q = 0; q < R; q++) {
                total[b][q] = _mm512_add_epi32(total[b][q], _mm512_srai_epi32(acc[b][q], shift));
            }
        }
    }
    for (int b = 0; b < B; b++) {
        const avx512::Factors factors = avx512::load_factors(row_of(b, layout.code_bytes));
        const uint32_t valid = b + 1 < B ? 0xffffu : (1u << last) - 1;
        for (int q = 0; q < Q; q++) {
            const __m512i* sums = total[b] + q * P;
            float* to = job.distances[q] + b * kBlock;
            const uint32_t close =
                    P == 2 ? avx512::put_fine_distances(*lists[q], job.bounds[q], factors, sums[0],
                                                        sums[P - 1], to)
                           : avx512::put_distances(*lists[q], job.bounds[q], factors, sums[0], to);
            job.within[q] |= uint64_t(close & valid) << (b * kBlock);
        }
    }
}

template <int B, int Q, int P>
__attribute__((noinline)) void scan_whole(const Job& job) {
    constexpr bool kFetches = B * kBlock == kScanBatch && Q * P == 1;
    scan_some<B, Q, P, kFetches>(job, kBlock);
}

template <int B, int Q, int P>
__attribute__((noinline)) void scan_ragged(const Job& job, int last) {
    scan_some<B, Q, P, false>(job, last);
}

/// Up to B blocks, the last one of `last` vectors.
template <int B, int Q, int P>
void scan_last(const Job& job, int blocks, int last) {
    if constexpr (B > 1) {
        if (blocks < B) {
            scan_last<B - 1, Q, P>(job, blocks, last);
            return;
        }
    }
    if (last == kBlock) {
        scan_whole<B, Q, P>(job);
    } else {
        scan_ragged<B, Q, P>(job, last);
    }
}

template <int Q, int P = 1>
void scan_for(const ListScan* const* lists, const uint8_t* blocks, int count, const float* bounds,
              float* const* distances, uint64_t* within) {
    for (int q = 0; q < Q; q++) {
        within[q] = 0;
    }
    const int whole = (count + kBlock - 1) / kBlock;
    scan_last<kScanBatch / kBlock, Q, P>({lists, blocks, bounds, distances, within}, whole,
                                         count - (whole - 1) * kBlock);
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

void avx512::patch_search(Simd& simd) {
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
    simd.scan.fetches = true;
    simd.scan.blocks = scan_blocks;
    simd.scan.blocks_fine = scan_blocks_fine;
    simd.scan.blocks_together = scan_for<kScanTogether>;
}

} // namespace faiss_vlc
