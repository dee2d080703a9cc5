#include <immintrin.h>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/lib/numeric.h>

// AVX2: 8 floats a register, so the 16 lanes of a canonical sum are two. What is clamped comes
// first in max and min: a NaN then takes the bound, as in the portable loops.

namespace faiss_vlc {

namespace {

double square_sum(int d, const float* x) {
    __m256d sum = _mm256_setzero_pd();
    int k = 0;
    for (; k + 4 <= d; k += 4) {
        const __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(x + k));
        sum = _mm256_add_pd(sum, _mm256_mul_pd(v, v));
    }
    double lane[4];
    _mm256_storeu_pd(lane, sum);
    for (; k < d; k++) {
        lane[k % 4] += double(x[k]) * x[k];
    }
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

/// 16 floats within 16 bits, rounded.
__m256i round_words(__m256 low, __m256 high) {
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
    return _mm256_permute4x64_epi64(words, 0xd8);
}

void round_scaled(int d, const float* x, float scale, int16_t* q) {
    const __m256 by = _mm256_set1_ps(scale);
    int k = 0;
    for (; k + 16 <= d; k += 16) {
        const __m256 low = _mm256_mul_ps(_mm256_loadu_ps(x + k), by);
        const __m256 high = _mm256_mul_ps(_mm256_loadu_ps(x + k + 8), by);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + k), round_words(low, high));
    }
    for (; k < d; k++) {
        q[k] = int16_t(round_even(x[k] * scale));
    }
}

__m256 to_lattice(const float* x, const float* mean, __m256 scale) {
    const __m256 v = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(mean)), scale);
    return _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-127.0f)), _mm256_set1_ps(127.0f));
}

void quantize_row(int d, const float* x, const float* mean, float scale, int8_t* q) {
    const __m256 by = _mm256_set1_ps(scale);
    int k = 0;
    for (; k + 16 <= d; k += 16) {
        const __m256i words = round_words(to_lattice(x + k, mean + k, by),
                                          to_lattice(x + k + 8, mean + k + 8, by));
        _mm_storeu_si128(
                reinterpret_cast<__m128i*>(q + k),
                _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    }
    for (; k < d; k++) {
        const float v = (x[k] - mean[k]) * scale;
        const float above = v > -127.0f ? v : -127.0f;
        q[k] = int8_t(round_even(above < 127.0f ? above : 127.0f));
    }
}

float levels(const LevelGrid& grid, const float* y, uint8_t* level) {
    const float *b = grid.base, *inverse_step = grid.inverse_step, *step = grid.step;
    const int slots = grid.slots;
    const int16_t* most = grid.most;
    const __m256 by = _mm256_set1_ps(grid.scale), inverse = _mm256_set1_ps(grid.inverse_scale);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int s = 0; s < slots; s += kLanes) {
        __m256 found[2];
        for (int h = 0; h < 2; h++) {
            const int at = s + 8 * h;
            const __m128i most8 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(most + at));
            const __m256 top = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(most8));
            const __m256 middle = _mm256_mul_ps(top, _mm256_set1_ps(0.5f));
            const __m256 residual = _mm256_sub_ps(_mm256_loadu_ps(y + at), _mm256_loadu_ps(b + at));
            const __m256 scaled = _mm256_mul_ps(_mm256_mul_ps(residual, inverse),
                                                _mm256_loadu_ps(inverse_step + at));
            const __m256 wanted = _mm256_add_ps(scaled, middle);
            found[h] = _mm256_min_ps(_mm256_max_ps(wanted, _mm256_setzero_ps()), top);
            const __m256 rounded = _mm256_cvtepi32_ps(_mm256_cvtps_epi32(found[h]));
            const __m256 unit = _mm256_mul_ps(_mm256_loadu_ps(step + at), by);
            const __m256 decoded = _mm256_mul_ps(_mm256_sub_ps(rounded, middle), unit);
            sum[h] = _mm256_add_ps(sum[h], _mm256_mul_ps(residual, decoded));
        }
        const __m256i words = round_words(found[0], found[1]);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(level + s),
                         _mm_packus_epi16(_mm256_castsi256_si128(words),
                                          _mm256_extracti128_si256(words, 1)));
    }
    float lane[kLanes];
    _mm256_storeu_ps(lane, sum[0]);
    _mm256_storeu_ps(lane + 8, sum[1]);
    return add_lanes(lane);
}

} // namespace

void avx2::patch_encode(Simd& simd) {
    simd.encode.square_sum = square_sum;
    simd.encode.round_scaled = round_scaled;
    simd.encode.quantize_row = quantize_row;
    simd.encode.levels = levels;
}

} // namespace faiss_vlc
