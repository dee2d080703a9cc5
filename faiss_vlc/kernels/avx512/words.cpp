#include <cmath>
#include <immintrin.h>

#include <faiss_vlc/kernels/avx512/estimates.h>
#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>

namespace faiss_vlc {

namespace {

using avx512::load_factors;
using avx512::put_distances;

constexpr int kWide = 8; ///< registers: 128 words at a time

/// Products with 128 words of block b, from `first` on.
inline void multiply(const WordsView& book, int b, int first, const int16_t* x, __m512i* acc) {
    for (int i = 0; i < kWide; i++) {
        acc[i] = _mm512_setzero_si512();
    }
    for (int s = book.slot[b]; s < book.slot[b + 1]; s += 2) {
        const int16_t* words = book.words + int64_t(s) * kWords + first * 2;
        int32_t pair;
        __builtin_memcpy(&pair, x + s, 4);
        const __m512i both = _mm512_set1_epi32(pair);
        for (int i = 0; i < kWide; i++) {
            acc[i] = _mm512_dpwssd_epi32(acc[i], _mm512_loadu_si512(words + i * 32), both);
        }
    }
}

void products(const WordsView& book, const int16_t* x, int32_t* dots) {
    for (int b = 0; b < book.blocks; b++) {
        for (int first = 0; first < kWords; first += kWide * 16) {
            __m512i acc[kWide];
            multiply(book, b, first, x, acc);
            for (int i = 0; i < kWide; i++) {
                _mm512_storeu_si512(dots + b * kWords + first + i * 16, acc[i]);
            }
        }
    }
}

void values(const WordsView& book, const int16_t* x, const float* penalty, float share,
            float* values, ValueRange* ranges) {
    const __m512 by = _mm512_set1_ps(share);
    for (int b = 0; b < book.blocks; b++) {
        __m512 low = _mm512_set1_ps(INFINITY), high = _mm512_set1_ps(-INFINITY);
        for (int first = 0; first < kWords; first += kWide * 16) {
            __m512i acc[kWide];
            multiply(book, b, first, x, acc);
            for (int i = 0; i < kWide; i++) {
                const int at = b * kWords + first + i * 16;
                __m512 value = _mm512_cvtepi32_ps(acc[i]);
                if (penalty) {
                    value = _mm512_sub_ps(value, _mm512_mul_ps(by, _mm512_loadu_ps(penalty + at)));
                }
                _mm512_storeu_ps(values + at, value);
                low = _mm512_min_ps(low, value);
                high = _mm512_max_ps(high, value);
            }
        }
        ranges[b] = {_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high)};
    }
}

void entries(int blocks, const float* values, const ValueRange* ranges, float step,
             uint8_t* tables) {
    const __m512 by = _mm512_set1_ps(step);
    for (int b = 0; b < blocks; b++) {
        const __m512 least = _mm512_set1_ps(ranges[b].least);
        for (int w = b * kWords; w < (b + 1) * kWords; w += 16) {
            const __m512 scaled =
                    _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(values + w), least), by);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(tables + w * 2),
                                _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(scaled)));
        }
    }
}

uint32_t distances(const ListScan& list, const int32_t* acc, const uint8_t* factors, int count,
                   float bound, float* distance) {
    return put_distances(list, bound, load_factors(factors), _mm512_loadu_si512(acc), distance) &
           ((1u << count) - 1);
}

} // namespace

void avx512::patch_words(Simd& simd) {
    simd.scan.distances = distances;
    simd.words.products = products;
    simd.words.values = values;
    simd.words.entries = entries;
}

} // namespace faiss_vlc
