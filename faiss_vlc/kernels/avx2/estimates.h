#pragma once

#include <immintrin.h>

#include <faiss_vlc/kernels/list_scan.h>

// From the sums of 8 vectors to their distances, see list_scan.h. Whatever codes the sums are of,
// this end of a scan is the same.

namespace faiss_vlc::avx2 {

/// What a list's vectors share, in registers.
struct Shared {
    __m256i half;
    __m256 usual, base, reach, unit, bound;
};

static inline Shared shared_of(const ListScan& list, float bound) {
    return {_mm256_set1_epi32(list.half),       _mm256_set1_ps(list.usual_length),
            _mm256_set1_ps(list.list_distance), _mm256_set1_ps(list.reach),
            _mm256_set1_ps(list.length_unit),   _mm256_set1_ps(bound)};
}

/// The factors of 8 vectors.
struct Factors {
    __m256 length;
    __m256i gamma;     ///< in the lowest 5 bits
    __m256 bit3, bit4; ///< of gamma, as signs
};

static inline Factors load_factors(const uint8_t* from) {
    const __m256i word =
            _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    const __m256i bits = _mm256_add_epi32(_mm256_slli_epi32(_mm256_srli_epi32(word, 5), 16),
                                          _mm256_set1_epi32(int(kLengthBias)));
    // look-ups take the lowest 3 bits of an index, and blends the sign
    __m256i bit3 = _mm256_slli_epi32(word, 28), bit4 = _mm256_slli_epi32(word, 27);
    asm("" : "+x"(bit3), "+x"(bit4)); // compilers compare with 0 what they know to be an integer
    return {_mm256_sub_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(kLengthZero)), word,
            _mm256_castsi256_ps(bit3), _mm256_castsi256_ps(bit4)};
}

/// A table of 32 floats looked up by 8 gammas.
static inline __m256 look_up(const float* table, const Factors& factors) {
    const __m256i index = factors.gamma;
    const __m256 a = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), index);
    const __m256 b = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), index);
    const __m256 c = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 16), index);
    const __m256 d = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 24), index);
    return _mm256_blendv_ps(_mm256_blendv_ps(a, b, factors.bit3),
                            _mm256_blendv_ps(c, d, factors.bit3), factors.bit4);
}

/// dot2 of 8 sums.
static inline __m256 dot2_of(__m256i sums, __m256i half) {
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_slli_epi32(sums, 1), half));
}

/// Writes 8 distances by dot2; returns a bit for each within the bound.
static inline uint32_t put_estimates(const ListScan& list, const Shared& shared,
                                     const Factors& factors, __m256 dot2, float* to) {
    const __m256 l = factors.length;
    __m256 add = look_up(list.add, factors);
    __m256 mul = look_up(list.mul, factors);
    const __m256 far = _mm256_cmp_ps(l, shared.usual, _CMP_GT_OQ);
    if (!_mm256_testz_ps(far, far)) {
        const __m256 own = _mm256_mul_ps(_mm256_set1_ps(list.far_add), look_up(list.far, factors));
        add = _mm256_blendv_ps(add, own, far);
        mul = _mm256_blendv_ps(mul, _mm256_set1_ps(list.far_mul), far);
    }
    const __m256 rest = _mm256_sub_ps(_mm256_mul_ps(l, add), _mm256_mul_ps(mul, dot2));
    const __m256 estimate = _mm256_add_ps(shared.base, _mm256_mul_ps(l, rest));
    __m256 least = _mm256_sub_ps(shared.reach, _mm256_mul_ps(shared.unit, l));
    if (!list.inner_product) {
        least = _mm256_mul_ps(least, least);
    }
    const __m256 distance = _mm256_max_ps(least, estimate);
    _mm256_storeu_ps(to, distance);
    return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(distance, shared.bound, _CMP_LE_OQ)));
}

/// The same by the sums.
static inline uint32_t put_distances(const ListScan& list, const Shared& shared,
                                     const Factors& factors, __m256i sums, float* to) {
    return put_estimates(list, shared, factors, dot2_of(sums, shared.half), to);
}

/// dot2 of two planes by what each of them makes.
static inline __m256 add_fine(__m256 dot2, __m256 fine) {
    return _mm256_add_ps(dot2, _mm256_mul_ps(fine, _mm256_set1_ps(kFineUnit)));
}

} // namespace faiss_vlc::avx2
