#pragma once

#include <immintrin.h>

#include <faiss_vlc/kernels/list_scan.h>

// From the sums of 16 vectors to their distances, see list_scan.h. Whatever codes the sums are of,
// this end of a scan is the same.

namespace faiss_vlc::avx512 {

/// The factors of 16 vectors.
struct Factors {
    __m512 length;
    __m512i gamma;
};

static inline Factors load_factors(const uint8_t* from) {
    const __m512i word =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    const __m512i bits = _mm512_add_epi32(_mm512_slli_epi32(_mm512_srli_epi32(word, 5), 16),
                                          _mm512_set1_epi32(int(kLengthBias)));
    return {_mm512_sub_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(kLengthZero)),
            _mm512_and_si512(word, _mm512_set1_epi32(kGammaSteps - 1))};
}

/// A table of 32 floats looked up by 16 indices.
static inline __m512 look_up(const float* table, __m512i index) {
    return _mm512_permutex2var_ps(_mm512_loadu_ps(table), index, _mm512_loadu_ps(table + 16));
}

/// dot2 of 16 sums.
static inline __m512 dot2_of(__m512i sums, int32_t half) {
    return _mm512_cvtepi32_ps(
            _mm512_sub_epi32(_mm512_slli_epi32(sums, 1), _mm512_set1_epi32(half)));
}

/// Writes 16 distances by dot2; returns a bit for each within the bound.
static inline uint32_t put_estimates(const ListScan& list, float bound, const Factors& factors,
                                     __m512 dot2, float* to) {
    const __m512 l = factors.length;
    __m512 add = look_up(list.add, factors.gamma);
    __m512 mul = look_up(list.mul, factors.gamma);
    if (const __mmask16 far =
                _mm512_cmp_ps_mask(l, _mm512_set1_ps(list.usual_length), _CMP_GT_OQ)) {
        const __m512 own = look_up(list.far, factors.gamma);
        add = _mm512_mask_mul_ps(add, far, _mm512_set1_ps(list.far_add), own);
        mul = _mm512_mask_mov_ps(mul, far, _mm512_set1_ps(list.far_mul));
    }
    const __m512 rest = _mm512_sub_ps(_mm512_mul_ps(l, add), _mm512_mul_ps(mul, dot2));
    const __m512 estimate =
            _mm512_add_ps(_mm512_set1_ps(list.list_distance), _mm512_mul_ps(l, rest));
    __m512 least = _mm512_sub_ps(_mm512_set1_ps(list.reach),
                                 _mm512_mul_ps(_mm512_set1_ps(list.length_unit), l));
    if (!list.inner_product) {
        least = _mm512_mul_ps(least, least);
    }
    const __m512 distance = _mm512_max_ps(least, estimate);
    _mm512_storeu_ps(to, distance);
    return _mm512_cmp_ps_mask(distance, _mm512_set1_ps(bound), _CMP_LE_OQ);
}

/// The same by the sums.
static inline uint32_t put_distances(const ListScan& list, float bound, const Factors& factors,
                                     __m512i sums, float* to) {
    return put_estimates(list, bound, factors, dot2_of(sums, list.half), to);
}

/// The same by the sums of two planes.
static inline uint32_t put_fine_distances(const ListScan& list, float bound, const Factors& factors,
                                          __m512i sums, __m512i fine, float* to) {
    const __m512 rest = _mm512_mul_ps(dot2_of(fine, list.fine_half), _mm512_set1_ps(kFineUnit));
    return put_estimates(list, bound, factors, _mm512_add_ps(dot2_of(sums, list.half), rest), to);
}

} // namespace faiss_vlc::avx512
