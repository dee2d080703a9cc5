#include <immintrin.h>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/lib/numeric.h>

// AVX-512: the 16 lanes of a canonical sum are one register, ragged ends are masked. As in
// avx2/encode.cpp, what is clamped comes first in max and min.

namespace faiss_vlc {

namespace {

__mmask16 first_lanes(int n) {
    return __mmask16(n >= 16 ? 0xffff : (1 << n) - 1);
}

double square_sum(int d, const float* x) {
    __m256d sum = _mm256_setzero_pd();
    for (int k = 0; k < d; k += 4) { // masked lanes add 0, which changes nothing
        const __m256d v = _mm256_cvtps_pd(_mm_maskz_loadu_ps(__mmask8(first_lanes(d - k)), x + k));
        sum = _mm256_add_pd(sum, _mm256_mul_pd(v, v));
    }
    double lane[4];
    _mm256_storeu_pd(lane, sum);
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

void round_scaled(int d, const float* x, float scale, int16_t* q) {
    for (int k = 0; k < d; k += 16) {
        const __mmask16 lanes = first_lanes(d - k);
        const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + k), _mm512_set1_ps(scale));
        _mm512_mask_cvtepi32_storeu_epi16(q + k, lanes, _mm512_cvtps_epi32(v));
    }
}

void quantize_row(int d, const float* x, const float* mean, float scale, int8_t* q) {
    for (int k = 0; k < d; k += 16) {
        const __mmask16 lanes = first_lanes(d - k);
        const __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + k),
                                                     _mm512_maskz_loadu_ps(lanes, mean + k)),
                                       _mm512_set1_ps(scale));
        const __m512 within =
                _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-127.0f)), _mm512_set1_ps(127.0f));
        _mm512_mask_cvtepi32_storeu_epi8(q + k, lanes, _mm512_cvtps_epi32(within));
    }
}

float levels(const LevelGrid& grid, const float* y, uint8_t* level) {
    const float *b = grid.base, *inverse_step = grid.inverse_step, *step = grid.step;
    const int slots = grid.slots;
    const int16_t* most = grid.most;
    const __m512 by = _mm512_set1_ps(grid.scale), inverse = _mm512_set1_ps(grid.inverse_scale);
    __m512 sum = _mm512_setzero_ps();
    for (int s = 0; s < slots; s += kLanes) {
        const __m256i most16 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(most + s));
        const __m512 top = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(most16));
        const __m512 middle = _mm512_mul_ps(top, _mm512_set1_ps(0.5f));
        const __m512 residual = _mm512_sub_ps(_mm512_loadu_ps(y + s), _mm512_loadu_ps(b + s));
        const __m512 scaled =
                _mm512_mul_ps(_mm512_mul_ps(residual, inverse), _mm512_loadu_ps(inverse_step + s));
        const __m512 wanted = _mm512_add_ps(scaled, middle);
        const __m512i found =
                _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(wanted, _mm512_setzero_ps()), top));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(level + s), _mm512_cvtepi32_epi8(found));
        const __m512 unit = _mm512_mul_ps(_mm512_loadu_ps(step + s), by);
        const __m512 decoded =
                _mm512_mul_ps(_mm512_sub_ps(_mm512_cvtepi32_ps(found), middle), unit);
        sum = _mm512_add_ps(sum, _mm512_mul_ps(residual, decoded));
    }
    float lane[kLanes];
    _mm512_storeu_ps(lane, sum);
    return add_lanes(lane);
}

} // namespace

void avx512::patch_encode(Simd& simd) {
    simd.encode.square_sum = square_sum;
    simd.encode.round_scaled = round_scaled;
    simd.encode.quantize_row = quantize_row;
    simd.encode.levels = levels;
}

} // namespace faiss_vlc
