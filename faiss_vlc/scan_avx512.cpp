#include <immintrin.h>

#include <faiss_vlc/numeric.h>
#include <faiss_vlc/scan.h>
#include <faiss_vlc/simd.h>

// AVX-512 with VNNI: 16 vectors (or anchors, or frame rows) are the 16 lanes of a register, and one
// instruction multiplies and adds 4 bytes of each. Blocks may be read up to 64 bytes beyond their
// end (lists.h keeps that room).

namespace faiss_vlc {

namespace {

__m512i widen_bytes(const int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

void rotate_tile(int pairs, const int16_t* x, const int8_t* rows, int32_t* sums) {
    __m512i even = _mm512_setzero_si512();
    __m512i odd = _mm512_setzero_si512();
    const int32_t* x2 = reinterpret_cast<const int32_t*>(x);
    int p = 0;
    for (; p + 2 <= pairs; p += 2) {
        even = _mm512_dpwssd_epi32(even, widen_bytes(rows + p * 32), _mm512_set1_epi32(x2[p]));
        odd =
            _mm512_dpwssd_epi32(odd, widen_bytes(rows + p * 32 + 32), _mm512_set1_epi32(x2[p + 1]));
    }
    if (p < pairs) {
        even = _mm512_dpwssd_epi32(even, widen_bytes(rows + p * 32), _mm512_set1_epi32(x2[p]));
    }
    _mm512_storeu_si512(sums, _mm512_add_epi32(even, odd));
}

/// Scores `T` tiles at once, so that one broadcast of the query serves them and latencies overlap.
template <int T>
void rank_some(int groups, const int32_t* x4, const int8_t* packed, const int32_t* component_sums,
               int32_t* dots) {
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
        _mm512_storeu_si512(dots + t * 16, acc[t]);
    }
}

void rank_tiles(int tiles, int groups, const int8_t* x, const int8_t* packed,
                const int32_t* component_sums, int32_t* dots) {
    const int32_t* x4 = reinterpret_cast<const int32_t*>(x);
    int t = 0;
    for (; t + 8 <= tiles; t += 8) {
        rank_some<8>(groups, x4, packed + int64_t(t) * groups * 64, component_sums + t * 16,
                     dots + t * 16);
    }
    for (; t < tiles; t++) {
        rank_some<1>(groups, x4, packed + int64_t(t) * groups * 64, component_sums + t * 16,
                     dots + t * 16);
    }
}

float anchor_distance(int dp, const float* q, const int8_t* a) {
    __m512 sum = _mm512_setzero_ps();
    for (int k = 0; k < dp; k += 16) {
        const __m512 anchor = _mm512_cvtepi32_ps(
            _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + k))));
        const __m512 u = _mm512_sub_ps(_mm512_loadu_ps(q + k), anchor);
        sum = _mm512_add_ps(sum, _mm512_mul_ps(u, u));
    }
    float lane[kLanes];
    _mm512_storeu_ps(lane, sum);
    return add_lanes(lane);
}

float quantize_query(int n, const float* y, const float* b, const float* step, float* w,
                     int8_t* q8) {
    __m512 most = _mm512_setzero_ps();
    for (int i = 0; i < n; i += 16) {
        const __m512 residual = _mm512_sub_ps(_mm512_loadu_ps(y + i), _mm512_loadu_ps(b + i));
        const __m512 v = _mm512_mul_ps(residual, _mm512_loadu_ps(step + i));
        most = _mm512_max_ps(most, _mm512_abs_ps(v));
        _mm512_storeu_ps(w + i, v);
    }
    const float largest = _mm512_reduce_max_ps(most);
    const __m512 scale = _mm512_set1_ps(largest > kSmallestQuery ? 127.0f / largest : 0.0f);
    for (int i = 0; i < n; i += 16) {
        const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(w + i), scale));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q8 + i), _mm512_cvtepi32_epi8(rounded));
    }
    return largest;
}

uint32_t scan_block(const ListScan& list, const uint8_t* block, int count, float bound,
                    float* distance) {
    const Layout& layout = *list.layout;
    const size_t n = layout.fields.size();
    const Field* fields = layout.fields.data();
    __m512i total = _mm512_setzero_si512();
    for (size_t i = 0; i < n;) {
        const int shift = fields[i].shift;
        __m512i acc = _mm512_setzero_si512();
        for (; i < n && fields[i].shift == shift; i++) {
            const Field& f = fields[i];
            const uint8_t* row = block + int64_t(f.offset) * count;
            __m512i codes;
            if (f.lanes == 4) {
                codes = _mm512_loadu_si512(row);
            } else if (f.lanes == 2) {
                codes = _mm512_cvtepu16_epi32(
                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
            } else {
                codes =
                    _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
            }
            codes = _mm512_and_si512(codes, _mm512_set1_epi32(int(f.mask)));
            acc = _mm512_dpbusd_epi32(acc, codes, _mm512_set1_epi32(int(list.query[i])));
        }
        total = _mm512_add_epi32(total, _mm512_srai_epi32(acc, shift));
    }
    const __m512i dot2 =
        _mm512_sub_epi32(_mm512_slli_epi32(total, 1), _mm512_set1_epi32(list.half));
    const __m512i factors = _mm512_cvtepu16_epi32(_mm256_loadu_si256(
        reinterpret_cast<const __m256i*>(block + int64_t(layout.code_bytes) * count)));
    const __m512 rho = _mm512_sub_ps(
        _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(_mm512_srli_epi32(factors, 5), 17),
                                             _mm512_set1_epi32(int(kRhoBias)))),
        _mm512_set1_ps(kRhoZero));
    const __m512i gamma = _mm512_and_si512(factors, _mm512_set1_epi32(kGammaSteps - 1));
    const __m512 add =
        _mm512_permutex2var_ps(_mm512_loadu_ps(list.add), gamma, _mm512_loadu_ps(list.add + 16));
    const __m512 mul =
        _mm512_permutex2var_ps(_mm512_loadu_ps(list.mul), gamma, _mm512_loadu_ps(list.mul + 16));
    const __m512 base = _mm512_add_ps(_mm512_set1_ps(list.list_distance), _mm512_mul_ps(rho, add));
    const __m512 estimate = _mm512_sub_ps(base, _mm512_mul_ps(mul, _mm512_cvtepi32_ps(dot2)));
    _mm512_storeu_ps(distance, estimate);
    return _mm512_cmp_ps_mask(estimate, _mm512_set1_ps(bound), _CMP_LE_OQ) & ((1u << count) - 1);
}

} // namespace

extern const Simd kAvx512;
const Simd kAvx512 = {"avx512",        rotate_tile,    rank_tiles,
                      anchor_distance, quantize_query, scan_block};

} // namespace faiss_vlc
