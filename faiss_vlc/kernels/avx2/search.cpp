#include <immintrin.h>

#include <faiss_vlc/kernels/avx2/estimates.h>
#include <faiss_vlc/kernels/gamma_tables.h>
#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/lib/numeric.h>

// AVX2: as avx512/search.cpp with two registers for 16 lanes. vpmaddubsw multiplies unsigned by
// signed bytes into saturating 16-bit pairs, so one side must stay below 128: a field of up to 7
// bits does, an 8-bit field goes in two halves, and signed x signed moves the sign to one side
// first.

namespace faiss_vlc {

namespace {

__m256i load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

__m256i widen(__m256i pairs) {
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

__m256i widen_bytes(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

void rotate_tile(int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    __m256i low = _mm256_setzero_si256();
    __m256i high = _mm256_setzero_si256();
    const int32_t* x2 = reinterpret_cast<const int32_t*>(x);
    for (int p = 0; p < pairs; p++) {
        const __m256i q = _mm256_set1_epi32(x2[p]);
        low = _mm256_add_epi32(low, _mm256_madd_epi16(widen_bytes(rows + p * 32), q));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(widen_bytes(rows + p * 32 + 16), q));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8), high);
}

void rotate_together(int tiles, int pairs, const int16_t* const* x, const int8_t* rows,
                     int32_t* const* sums) {
    for (int t = 0; t < tiles; t++) {
        __m256i low[kTogether], high[kTogether];
        for (int v = 0; v < kTogether; v++) {
            low[v] = high[v] = _mm256_setzero_si256();
        }
        for (int p = 0; p < pairs; p++, rows += 32) {
            const __m256i row_low = widen_bytes(rows);
            const __m256i row_high = widen_bytes(rows + 16);
            for (int v = 0; v < kTogether; v++) {
                const __m256i q = _mm256_set1_epi32(reinterpret_cast<const int32_t*>(x[v])[p]);
                low[v] = _mm256_add_epi32(low[v], _mm256_madd_epi16(row_low, q));
                high[v] = _mm256_add_epi32(high[v], _mm256_madd_epi16(row_high, q));
            }
        }
        for (int v = 0; v < kTogether; v++) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums[v] + t * 16), low[v]);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums[v] + t * 16 + 8), high[v]);
        }
    }
}

template <int T>
void rank_some(const AnchorTiles& anchors, int tile, const int32_t* x4, int32_t factor,
               int32_t* scores) {
    const int groups = anchors.groups;
    const int8_t* packed = anchors.packed + int64_t(tile) * groups * 64;
    const int32_t* offsets = anchors.offsets + tile * 16;
    __m256i acc[2 * T];
    for (int t = 0; t < 2 * T; t++) {
        acc[t] = _mm256_setzero_si256();
    }
    for (int g = 0; g < groups; g++) {
        const __m256i q = _mm256_set1_epi32(x4[g]);
        const __m256i magnitude = _mm256_abs_epi8(q);
        for (int t = 0; t < 2 * T; t++) {
            const __m256i a = load(packed + (int64_t(t / 2) * groups + g) * 64 + t % 2 * 32);
            const __m256i products = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a, q));
            acc[t] = _mm256_add_epi32(acc[t], widen(products));
        }
    }
    scores += tile * 16;
    for (int t = 0; t < 2 * T; t++) {
        const __m256i scaled = _mm256_mullo_epi32(acc[t], _mm256_set1_epi32(factor));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(scores + t * 8),
                            _mm256_add_epi32(scaled, load(offsets + t * 8)));
    }
}

void rank_tiles(const AnchorTiles& anchors, const int8_t* x, int32_t factor, int32_t* scores) {
    const int32_t* x4 = reinterpret_cast<const int32_t*>(x);
    int t = 0;
    for (; t + 4 <= anchors.tiles; t += 4) {
        rank_some<4>(anchors, t, x4, factor, scores);
    }
    for (; t < anchors.tiles; t++) {
        rank_some<1>(anchors, t, x4, factor, scores);
    }
}

void rank_together(const AnchorTiles& anchors, const int8_t* const* x, int32_t factor,
                   int32_t* const* scores) {
    for (int q = 0; q < kTogether; q++) {
        rank_tiles(anchors, x[q], factor, scores[q]);
    }
}

void group_minima(int n, const int32_t* scores, int groups, int32_t* minima) {
    for (int g = 0; g < groups; g += 8) {
        __m256i least = _mm256_set1_epi32(INT32_MAX);
        for (int i = g; i < n; i += groups) {
            least = _mm256_min_epi32(least, load(scores + i));
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(minima + g), least);
    }
}

int select_within(int n, const int32_t* scores, int32_t bound, uint64_t* found) {
    int count = 0;
    for (int i = 0; i < n; i += 8) {
        const __m256i beyond = _mm256_cmpgt_epi32(load(scores + i), _mm256_set1_epi32(bound));
        uint32_t within = ~uint32_t(_mm256_movemask_ps(_mm256_castsi256_ps(beyond))) & 255;
        for (; within; within &= within - 1) {
            const int at = i + __builtin_ctz(within);
            found[count++] = rank_key(scores[at], at);
        }
    }
    return count;
}

/// numeric.h's add_lanes of 16 lanes.
float add_lanes(__m256 low, __m256 high) {
    const __m256 eight = _mm256_add_ps(low, high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// sum += (q - a)^2 of 8 components.
void add_square(__m256& sum, const float* q, const int8_t* a) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(a));
    const __m256 anchor = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    const __m256 u = _mm256_sub_ps(_mm256_loadu_ps(q), anchor);
    sum = _mm256_add_ps(sum, _mm256_mul_ps(u, u));
}

float anchor_distance(int dp, const float* q, const int8_t* a) {
    // one after the other, not an array: that would stay in memory
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    for (int k = 0; k < dp; k += 16) {
        add_square(low, q + k, a + k);
        add_square(high, q + k + 8, a + k + 8);
    }
    return add_lanes(low, high);
}

float quantize_query(int n, const float* y, const float* b, const float* step, float* w,
                     int8_t* q8) {
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 most = _mm256_setzero_ps();
    for (int i = 0; i < n; i += 8) {
        const __m256 residual = _mm256_sub_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(b + i));
        const __m256 v = _mm256_mul_ps(residual, _mm256_loadu_ps(step + i));
        most = _mm256_max_ps(most, _mm256_and_ps(v, magnitude));
        _mm256_storeu_ps(w + i, v);
    }
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    const float largest = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
    const __m256 scale = _mm256_set1_ps(largest > kSmallestQuery ? 127.0f / largest : 0.0f);
    for (int i = 0; i < n; i += 16) {
        const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + i), scale));
        const __m256i b8 = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + i + 8), scale));
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b8), 0xd8);
        const __m128i bytes =
                _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q8 + i), bytes);
    }
    return largest;
}

int32_t half_of(int n, const int8_t* q8, const int16_t* most) {
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < n; i += 16) {
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(widen_bytes(q8 + i), load(most + i)));
    }
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    four = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 1)));
}

/// Bytes of 8 vectors of a row of L lanes, zero-extended to 4 bytes each.
template <int L>
__m256i load_lanes(const uint8_t* row) {
    if (L == 4) {
        return load(row);
    }
    if (L == 2) {
        return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
    }
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row)));
}

/// Sums of products of 2 B halves of blocks with R planes.
template <int B, int R>
struct Sums {
    __m256i total[2 * B][R];
    __m256i pairs[2 * B][R]; ///< of 16 bits
};

/// Adds a field of L lanes and less than 8 bits of all halves.
template <int L, int B, int R>
inline __attribute__((always_inline)) void
add_levels(const Field& f, const uint8_t* row, int64_t stride, const __m256i* x, Sums<B, R>& sums) {
    const __m256i mask = _mm256_set1_epi32(int(f.mask));
    const __m128i shift = _mm_cvtsi32_si128(f.shift);
#pragma GCC unroll 8
    for (int h = 0; h < 2 * B; h++) {
        const __m256i codes = load_lanes<L>(row + h / 2 * stride + h % 2 * 8 * L);
        const __m256i level = _mm256_srl_epi16(_mm256_and_si256(codes, mask), shift);
        for (int q = 0; q < R; q++) {
            sums.pairs[h][q] =
                    _mm256_add_epi16(sums.pairs[h][q], _mm256_maddubs_epi16(level, x[q]));
        }
    }
}

/// Adds any field of L lanes.
template <int L, int B, int R>
inline __attribute__((always_inline)) void
add_field(const Field& f, const uint8_t* row, int64_t stride, const __m256i* x, Sums<B, R>& sums) {
    if (f.width < 8) {
        add_levels<L>(f, row, stride, x, sums);
        return;
    }
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int h = 0; h < 2 * B; h++) {
        const __m256i codes = load_lanes<L>(row + h / 2 * stride + h % 2 * 8 * L);
        const __m256i low = _mm256_and_si256(codes, nibble);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
        for (int q = 0; q < R; q++) {
            __m256i& sum = sums.total[h][q];
            sum = _mm256_add_epi32(sum, widen(_mm256_maddubs_epi16(low, x[q])));
            sum = _mm256_add_epi32(sum,
                                   _mm256_slli_epi32(widen(_mm256_maddubs_epi16(high, x[q])), 4));
        }
    }
}

/// A scan of vectors of a list for some queries. Pointers are of one for each query.
struct Job {
    const ListScan* const* lists;
    const uint8_t* blocks;
    const float* bounds;
    float* const* distances;
    uint64_t* within;
};

/// Adds the fields of B blocks of `count` vectors.
template <int B, int Q, int P>
inline __attribute__((always_inline)) void
add_fields(const Job& job, const uint8_t* blocks, int count, int64_t stride, Sums<B, Q * P>& sums) {
    constexpr int R = Q * P;
    const Layout& layout = *job.lists[0]->layout;
    const uint32_t* planes[R];
    for (int q = 0; q < Q; q++) {
        planes[q * P] = job.lists[q]->query;
        if constexpr (P == 2) {
            planes[q * P + 1] = job.lists[q]->fine;
        }
    }
    const size_t n = layout.fields.size();
    const Field* fields = layout.fields.data();
    for (size_t i = 0; i < n; i++) {
        const Field& f = fields[i];
        const uint8_t* row = blocks + int64_t(f.offset) * count;
        __m256i x[R];
        for (int q = 0; q < R; q++) {
            x[q] = _mm256_set1_epi32(int(planes[q][i]));
        }
        if (f.is_usual) {
            add_levels<4>(f, row, stride, x, sums);
            continue;
        }
        if (f.lanes == 4) {
            add_field<4>(f, row, stride, x, sums);
        } else if (f.lanes == 2) {
            add_field<2>(f, row, stride, x, sums);
        } else {
            add_field<1>(f, row, stride, x, sums);
        }
        if (f.widen) {
            for (int h = 0; h < 2 * B; h++) {
                for (int q = 0; q < R; q++) {
                    sums.total[h][q] = _mm256_add_epi32(sums.total[h][q], widen(sums.pairs[h][q]));
                    sums.pairs[h][q] = _mm256_setzero_si256();
                }
            }
        }
    }
}

/// `B` blocks of `count` vectors at once for Q queries, with P planes each, in halves of 8 vectors:
/// halves share a query's broadcasts, queries and planes share the codes, and the latencies of all
/// sums overlap. They begin at the vector `at`.
template <int B, int Q, int P>
void scan_some(const Job& job, int at, int count) {
    constexpr int R = Q * P;
    const Layout& layout = *job.lists[0]->layout;
    const int64_t code_size = layout.code_size(), stride = code_size * count;
    const uint8_t* blocks = job.blocks + at * code_size;
    Sums<B, R> sums;
    for (int h = 0; h < 2 * B; h++) {
        for (int q = 0; q < R; q++) {
            sums.total[h][q] = sums.pairs[h][q] = _mm256_setzero_si256();
        }
    }
    add_fields<B, Q, P>(job, blocks, count, stride, sums);
    avx2::Shared shared[Q]; // out of the way of the stores below
    float* to[Q];
    uint64_t within[Q] = {};
    for (int q = 0; q < Q; q++) {
        shared[q] = avx2::shared_of(*job.lists[q], job.bounds[q]);
        to[q] = job.distances[q] + at;
    }
    const uint8_t* last_row = blocks + int64_t(layout.code_bytes) * count;
#pragma GCC unroll 8
    for (int h = 0; h < 2 * B; h++) {
        const avx2::Factors factors = avx2::load_factors(last_row + h / 2 * stride + h % 2 * 16);
        for (int q = 0; q < Q; q++) {
            const __m256i* own = sums.total[h] + q * P;
            const ListScan& list = *job.lists[q];
            const uint64_t some =
                    P == 2 ? avx2::put_fine_distances(list, shared[q], factors, own[0], own[P - 1],
                                                      to[q] + h * 8)
                           : avx2::put_distances(list, shared[q], factors, own[0], to[q] + h * 8);
            within[q] |= some << (8 * h);
        }
    }
    for (int q = 0; q < Q; q++) {
        job.within[q] |= (B == 1 ? within[q] & ((1u << count) - 1) : within[q]) << at;
    }
}

/// B whole blocks at once, as long as there are so many, then half as many. Returns the first
/// vector that is left.
template <int B, int Q, int P>
int scan_whole(const Job& job, int count, int first = 0) {
    for (; first + 16 * B <= count; first += 16 * B) {
        scan_some<B, Q, P>(job, first, 16);
    }
    if constexpr (B > 1) {
        first = scan_whole<B / 2, Q, P>(job, count, first);
    }
    return first;
}

template <int B, int Q, int P = 1>
void scan_for(const ListScan* const* lists, const uint8_t* blocks, int count, const float* bounds,
              float* const* distances, uint64_t* within) {
    for (int q = 0; q < Q; q++) {
        within[q] = 0;
    }
    const Job job{lists, blocks, bounds, distances, within};
    const int first = scan_whole<B, Q, P>(job, count);
    if (first < count) {
        scan_some<1, Q, P>(job, first, count - first);
    }
}

uint64_t scan_blocks(const ListScan& list, const uint8_t* blocks, int count, float bound,
                     float* distance) {
    const ListScan* lists = &list;
    uint64_t within;
    scan_for<4, 1>(&lists, blocks, count, &bound, &distance, &within);
    return within;
}

uint64_t scan_blocks_fine(const ListScan& list, const uint8_t* blocks, int count, float bound,
                          float* distance) {
    const ListScan* lists = &list;
    uint64_t within;
    scan_for<2, 1, 2>(&lists, blocks, count, &bound, &distance, &within);
    return within;
}

void tables(const Estimator::Steps& steps, const Estimator::Scales& by, float* add, float* mul) {
    gamma_tables(steps, by, add, mul);
}

} // namespace

void avx2::patch_search(Simd& simd) {
    simd.rotate.tile = rotate_tile;
    simd.rotate.together = rotate_together;
    simd.rank.tiles = rank_tiles;
    simd.rank.together = rank_together;
    simd.rank.group_minima = group_minima;
    simd.rank.select_within = select_within;
    simd.scan.anchor_distance = anchor_distance;
    simd.scan.quantize_query = quantize_query;
    simd.scan.tables = tables;
    simd.scan.half = half_of;
    simd.scan.blocks = scan_blocks;
    simd.scan.blocks_fine = scan_blocks_fine;
    simd.scan.blocks_together = scan_for<2, kScanTogether>;
}

} // namespace faiss_vlc
