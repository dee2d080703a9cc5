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

/// T tiles: they share the vector's broadcasts.
template <int T>
void rotate_some(int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    __m256i acc[2 * T];
    for (int t = 0; t < 2 * T; t++) {
        acc[t] = _mm256_setzero_si256();
    }
    const int32_t* x2 = reinterpret_cast<const int32_t*>(x);
    const int64_t tile = int64_t(pairs) * 32;
    for (int p = 0; p < pairs; p++, rows += 32) {
        const __m256i q = _mm256_set1_epi32(x2[p]);
        for (int t = 0; t < 2 * T; t++) {
            const __m256i row = widen_bytes(rows + t / 2 * tile + t % 2 * 16);
            acc[t] = _mm256_add_epi32(acc[t], _mm256_madd_epi16(row, q));
        }
    }
    for (int t = 0; t < 2 * T; t++) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + t * 8), acc[t]);
    }
}

void rotate_tiles(int tiles, int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    int t = 0;
    for (; t + 4 <= tiles; t += 4) {
        rotate_some<4>(pairs, x, rows + int64_t(t) * pairs * 32, sums + t * 16);
    }
    for (; t < tiles; t++) {
        rotate_some<1>(pairs, x, rows + int64_t(t) * pairs * 32, sums + t * 16);
    }
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

/// sum += (a - q)^2 of 8 components.
void add_square(__m256& sum, const float* q, const int8_t* a) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(a));
    const __m256 anchor = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    const __m256 u = _mm256_sub_ps(anchor, _mm256_loadu_ps(q));
    sum = _mm256_add_ps(sum, _mm256_mul_ps(u, u));
}

float anchor_distance(int dp, const float* q, const int8_t* a) {
    // one after the other, not an array: that would stay in memory
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int k = 0; k < dp; k += 16) {
        add_square(low, q + k, a + k);
        add_square(high, q + k + 8, a + k + 8);
    }
    return add_lanes(low, high);
}

/// w_i = (y_i - b_i) step_i of 8 components; their magnitudes go into `most`.
void weigh(const float* y, const float* b, const float* step, float* w, __m256& most) {
    const __m256 residual = _mm256_sub_ps(_mm256_loadu_ps(y), _mm256_loadu_ps(b));
    const __m256 v = _mm256_mul_ps(residual, _mm256_loadu_ps(step));
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    most = _mm256_max_ps(most, _mm256_and_ps(v, magnitude));
    _mm256_storeu_ps(w, v);
}

float largest_of(__m256 most) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

int32_t add_lanes(__m256i sum) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    four = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 1)));
}

/// Scan::quantize_query, which adds sum_i q8_i levels_i to `half` unless there are none.
inline __attribute__((always_inline)) float quantize(int n, const float* y, const float* b,
                                                     const float* step, float* w, int8_t* q8,
                                                     const int16_t* levels, int32_t* half) {
    __m256 most = _mm256_setzero_ps();
#pragma GCC unroll 2
    for (int i = 0; i < n; i += 16) {
        weigh(y + i, b + i, step + i, w + i, most);
        weigh(y + i + 8, b + i + 8, step + i + 8, w + i + 8, most);
    }
    const float largest = largest_of(most);
    const __m256 scale = _mm256_set1_ps(largest > kSmallestQuery ? 127.0f / largest : 0.0f);
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 2
    for (int i = 0; i < n; i += 16) {
        const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + i), scale));
        const __m256i b8 = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + i + 8), scale));
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b8), 0xd8);
        const __m128i bytes =
                _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q8 + i), bytes);
        if (levels) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(words, load(levels + i)));
        }
    }
    if (levels) {
        *half = add_lanes(sum);
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
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(widen_bytes(q8 + i), load(most + i)));
    }
    return add_lanes(sum);
}

ListTerms list_terms(const ListSide& side) {
    ListTerms terms;
    terms.list_distance = anchor_distance(side.dp, side.query, side.anchor);
    terms.largest = quantize(side.slots, side.rotated, side.base, side.step, side.weighted,
                             side.plane, side.levels, &terms.half);
    return terms;
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
    __m256i total[2 * B][R]; ///< dot2, see list_scan.h
    __m256i pairs[2 * B][R]; ///< of 16 bits
};

/// Of B blocks one after another. The last one may have fewer vectors, so that its rows are
/// shorter.
template <int B>
struct Rows {
    const uint8_t* first; ///< of the first block
    int64_t stride;       ///< from block to block
    const uint8_t* last;  ///< of the last block

    /// Of 8 vectors with L bytes each, the h-th half.
    template <int L>
    const uint8_t* half(int h) const {
        return (h / 2 + 1 < B ? first + h / 2 * stride : last) + h % 2 * 8 * L;
    }
};

/// Adds a field of L lanes and less than 8 bits of all halves; Low: its lowest bit is the byte's.
template <int L, bool Low, int B, int R>
inline __attribute__((always_inline)) void add_shifted(const Field& f, const Rows<B>& rows,
                                                       const __m256i* x, Sums<B, R>& sums) {
    const __m256i mask = _mm256_set1_epi32(int(f.mask));
    const __m128i shift = _mm_cvtsi32_si128(f.shift);
#pragma GCC unroll 8
    for (int h = 0; h < 2 * B; h++) {
        __m256i level = _mm256_and_si256(load_lanes<L>(rows.template half<L>(h)), mask);
        if (!Low) {
            level = _mm256_srl_epi16(level, shift);
        }
        for (int q = 0; q < R; q++) {
            sums.pairs[h][q] =
                    _mm256_add_epi16(sums.pairs[h][q], _mm256_maddubs_epi16(level, x[q]));
        }
    }
}

template <int L, int B, int R>
inline __attribute__((always_inline)) void add_levels(const Field& f, const Rows<B>& rows,
                                                      const __m256i* x, Sums<B, R>& sums) {
    if (f.shift == 0) {
        add_shifted<L, true>(f, rows, x, sums);
    } else {
        add_shifted<L, false>(f, rows, x, sums);
    }
}

/// Twice the sums of neighbouring 16-bit sums, times `by`.
__m256i widen_twice(__m256i pairs, int by = 1) {
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(short(2 * by)));
}

/// Adds any field of L lanes.
template <int L, int B, int R>
inline __attribute__((always_inline)) void add_field(const Field& f, const Rows<B>& rows,
                                                     const __m256i* x, Sums<B, R>& sums) {
    if (f.width < 8) {
        add_shifted<L, false>(f, rows, x, sums);
        return;
    }
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int h = 0; h < 2 * B; h++) {
        const __m256i codes = load_lanes<L>(rows.template half<L>(h));
        const __m256i low = _mm256_and_si256(codes, nibble);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
        for (int q = 0; q < R; q++) {
            __m256i& sum = sums.total[h][q];
            sum = _mm256_add_epi32(sum, widen_twice(_mm256_maddubs_epi16(low, x[q])));
            sum = _mm256_add_epi32(sum, widen_twice(_mm256_maddubs_epi16(high, x[q]), 16));
        }
    }
}

/// A scan of vectors of a list for Q queries.
template <int Q>
struct Job {
    const ListScan* lists[Q];
    const uint8_t* blocks;
    float bounds[Q];
    float* distances[Q];
};

/// Bits of the vectors within each query's bound.
template <int Q>
struct Within {
    uint64_t of[Q];
};

/// Adds the fields of B blocks, the last one of `last` vectors. F: fetches by the way.
template <int B, int Q, int P, bool F>
inline __attribute__((always_inline)) void add_fields(const Job<Q>& job, const uint8_t* blocks,
                                                      int last, Sums<B, Q * P>& sums) {
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
    const int64_t stride = int64_t(layout.code_size()) * kBlock;
    const uint8_t* last_block = blocks + (B - 1) * stride;
    [[maybe_unused]] const uint8_t* const ahead =
            job.lists[0]->ahead ? job.lists[0]->ahead : blocks;
    for (size_t i = 0; i < n; i++) {
        const Field& f = fields[i];
        if constexpr (F) {
            __builtin_prefetch(ahead + i * 64, 0, 2);
        }
        const Rows<B> rows{blocks + int64_t(f.offset) * kBlock, stride,
                           last_block + int64_t(f.offset) * last};
        __m256i x[R];
        for (int q = 0; q < R; q++) {
            x[q] = _mm256_set1_epi32(int(planes[q][i]));
        }
        if (f.is_usual) {
            add_levels<4>(f, rows, x, sums);
            continue;
        }
        if (f.lanes == 4) {
            add_field<4>(f, rows, x, sums);
        } else if (f.lanes == 2) {
            add_field<2>(f, rows, x, sums);
        } else {
            add_field<1>(f, rows, x, sums);
        }
        if (f.widen) {
            for (int h = 0; h < 2 * B; h++) {
                for (int q = 0; q < R; q++) {
                    sums.total[h][q] =
                            _mm256_add_epi32(sums.total[h][q], widen_twice(sums.pairs[h][q]));
                    sums.pairs[h][q] = _mm256_setzero_si256();
                }
            }
        }
    }
}

/// B blocks at once for Q queries, with P planes each, in halves of 8 vectors: halves share a
/// query's broadcasts, queries and planes share the codes, and the latencies of all sums overlap.
/// They begin at the vector `at`; the last one has `last` vectors.
template <int B, int Q, int P, bool F>
inline __attribute__((always_inline)) Within<Q> scan_some(const Job<Q>& job, int at, int last) {
    constexpr int R = Q * P;
    const Layout& layout = *job.lists[0]->layout;
    const int64_t code_size = layout.code_size();
    const uint8_t* blocks = job.blocks + at * code_size;
    Sums<B, R> sums;
    for (int q = 0; q < Q; q++) {
        for (int h = 0; h < 2 * B; h++) {
            sums.total[h][q * P] = _mm256_set1_epi32(-job.lists[q]->half);
            if constexpr (P == 2) {
                sums.total[h][q * P + 1] = _mm256_set1_epi32(-job.lists[q]->fine_half);
            }
            sums.pairs[h][q * P] = sums.pairs[h][q * P + P - 1] = _mm256_setzero_si256();
        }
    }
    add_fields<B, Q, P, F>(job, blocks, last, sums);
    avx2::Shared shared[Q]; // out of the way of the stores below
    float* to[Q];
    Within<Q> within{};
    for (int q = 0; q < Q; q++) {
        shared[q] = avx2::shared_of(*job.lists[q], job.bounds[q]);
        to[q] = job.distances[q] + at;
    }
    const Rows<B> rows{blocks + int64_t(layout.code_bytes) * kBlock, code_size * kBlock,
                       blocks + (B - 1) * code_size * kBlock + int64_t(layout.code_bytes) * last};
    const uint8_t* from = rows.template half<kFactorBytes>(0);
#pragma GCC unroll 1 // constants would be made anew each time
    for (int b = 0; b < B; b++) {
        for (int h = 2 * b; h < 2 * b + 2; h++) {
            const avx2::Factors factors = avx2::load_factors(from + h % 2 * 16);
            for (int q = 0; q < Q; q++) {
                __m256 dot2 = _mm256_cvtepi32_ps(sums.total[h][q * P]);
                if constexpr (P == 2) {
                    dot2 = avx2::add_fine(dot2, _mm256_cvtepi32_ps(sums.total[h][q * P + 1]));
                }
                const uint64_t some =
                        avx2::put_estimates(*job.lists[q], shared[q], factors, dot2, to[q] + h * 8);
                within.of[q] |= some << (8 * h);
            }
        }
        from = b + 2 < B ? from + rows.stride : rows.last;
    }
    for (int q = 0; q < Q; q++) {
        within.of[q] &= ~uint64_t(0) >> (64 - 16 * (B - 1) - last);
    }
    return within;
}

template <int B, int Q, int P>
__attribute__((noinline)) Within<Q> scan_whole(const Job<Q>& job, int at) {
    constexpr bool kFetches = B * kBlock == kScanBatch && Q * P == 1;
    return scan_some<B, Q, P, kFetches>(job, at, kBlock);
}

template <int B, int Q, int P>
__attribute__((noinline)) Within<Q> scan_ragged(const Job<Q>& job, int at, int last) {
    return scan_some<B, Q, P, false>(job, at, last);
}

/// Up to B blocks, the last one of `last` vectors.
template <int B, int Q, int P>
Within<Q> scan_last(const Job<Q>& job, int at, int blocks, int last) {
    if constexpr (B > 1) {
        if (blocks < B) {
            return scan_last<B - 1, Q, P>(job, at, blocks, last);
        }
    }
    return last == kBlock ? scan_whole<B, Q, P>(job, at) : scan_ragged<B, Q, P>(job, at, last);
}

/// Takes B blocks at once.
template <int B, int Q, int P>
Within<Q> scan_for(const Job<Q>& job, int count) {
    Within<Q> within{};
    int at = 0;
    const auto add = [&](const Within<Q>& some) {
        for (int q = 0; q < Q; q++) {
            within.of[q] |= some.of[q] << at;
        }
    };
    for (; B * kBlock < kScanBatch && at + kBlock * B < count; at += kBlock * B) {
        add(scan_whole<B, Q, P>(job, at));
    }
    const unsigned left = unsigned(count - at) - 1; // less one
    add(scan_last<B, Q, P>(job, at, int(left / kBlock) + 1, int(left % kBlock) + 1));
    return within;
}

uint64_t scan_blocks(const ListScan& list, const uint8_t* blocks, int count, float bound,
                     float* distance) {
    return scan_for<4, 1, 1>({{&list}, blocks, {bound}, {distance}}, count).of[0];
}

uint64_t scan_blocks_fine(const ListScan& list, const uint8_t* blocks, int count, float bound,
                          float* distance) {
    return scan_for<2, 1, 2>({{&list}, blocks, {bound}, {distance}}, count).of[0];
}

void scan_blocks_together(const ListScan* const* lists, const uint8_t* blocks, int count,
                          const float* bounds, float* const* distances, uint64_t* within) {
    constexpr int kMost = 2 * kBlock; // registers hold no more sums
    static_assert(kScanBatch == 2 * kMost);
    const Job<2> job{
            {lists[0], lists[1]}, blocks, {bounds[0], bounds[1]}, {distances[0], distances[1]}};
    const auto rest = [&](int at) {
        const int left = count - at, last = (left - 1) % kBlock + 1;
        return scan_last<2, 2, 1>(job, at, left > kBlock ? 2 : 1, last);
    };
    if (count <= kMost) {
        const Within<2> found = rest(0);
        within[0] = found.of[0];
        within[1] = found.of[1];
        return;
    }
    const Within<2> low = scan_whole<2, 2, 1>(job, 0), high = rest(kMost);
    within[0] = low.of[0] | high.of[0] << kMost;
    within[1] = low.of[1] | high.of[1] << kMost;
}

void tables(const Estimator::Steps& steps, const Estimator::Scales& by, float* add, float* mul) {
    gamma_tables(steps, by, add, mul);
}

} // namespace

void avx2::patch_search(Simd& simd) {
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
    static_assert(kScanTogether == 2);
    simd.scan.blocks_together = scan_blocks_together;
}

} // namespace faiss_vlc
