#include <cmath>
#include <immintrin.h>

#include <faiss_vlc/kernels/avx2/estimates.h>
#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/word_residual.h>

// There is no look-up of 256 bytes, so sums are loads of 16-bit entries, of four vectors at a time.
// Look-ups of 16 bytes, 32 a block, take longer, and gathers as long as these loads one by one.

namespace faiss_vlc {

namespace {

__m256i load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

float residual(int n, const float* y, const float* base, float* out) {
    return word_residual(n, y, base, out);
}

constexpr int kWide = 8; ///< registers: 64 words at a time

/// Products with 64 words of block b, from `first` on.
inline void multiply(const WordsView& book, int b, int first, const int16_t* x, __m256i* acc) {
    for (int i = 0; i < kWide; i++) {
        acc[i] = _mm256_setzero_si256();
    }
    for (int s = book.slot[b]; s < book.slot[b + 1]; s += 2) {
        const int16_t* words = book.words + int64_t(s) * kWords + first * 2;
        int32_t pair;
        __builtin_memcpy(&pair, x + s, 4);
        const __m256i both = _mm256_set1_epi32(pair);
        for (int i = 0; i < kWide; i++) {
            const __m256i some = _mm256_madd_epi16(load(words + i * 16), both);
            // compilers add into another register and copy that
            asm("vpaddd %1, %0, %0" : "+x"(acc[i]) : "x"(some));
        }
    }
}

void products(const WordsView& book, const int16_t* x, int32_t* dots) {
    for (int b = 0; b < book.blocks; b++) {
        for (int first = 0; first < kWords; first += kWide * 8) {
            __m256i acc[kWide];
            multiply(book, b, first, x, acc);
            for (int i = 0; i < kWide; i++) {
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + b * kWords + first + i * 8),
                                    acc[i]);
            }
        }
    }
}

/// The least of `low` and the largest of `high`.
inline ValueRange range_of(__m256 low, __m256 high) {
    __m128 l = _mm_min_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
    __m128 h = _mm_max_ps(_mm256_castps256_ps128(high), _mm256_extractf128_ps(high, 1));
    l = _mm_min_ps(l, _mm_movehl_ps(l, l));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return {_mm_cvtss_f32(_mm_min_ss(l, _mm_movehdup_ps(l))),
            _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)))};
}

void values(const WordsView& book, const int16_t* x, const float* penalty, float share,
            float* values, ValueRange* ranges) {
    const __m256 by = _mm256_set1_ps(share);
    for (int b = 0; b < book.blocks; b++) {
        __m256 low = _mm256_set1_ps(INFINITY), high = _mm256_set1_ps(-INFINITY);
        for (int first = 0; first < kWords; first += kWide * 8) {
            __m256i acc[kWide];
            multiply(book, b, first, x, acc);
            for (int i = 0; i < kWide; i++) {
                const int at = b * kWords + first + i * 8;
                __m256 value = _mm256_cvtepi32_ps(acc[i]);
                if (penalty) {
                    value = _mm256_sub_ps(value, _mm256_mul_ps(by, _mm256_loadu_ps(penalty + at)));
                }
                _mm256_storeu_ps(values + at, value);
                low = _mm256_min_ps(low, value);
                high = _mm256_max_ps(high, value);
            }
        }
        ranges[b] = range_of(low, high);
    }
}

void entries(int blocks, const float* values, const ValueRange* ranges, float step,
             uint8_t* tables) {
    const __m256 by = _mm256_set1_ps(step);
    for (int b = 0; b < blocks; b++) {
        const __m256 least = _mm256_set1_ps(ranges[b].least);
        const auto rounded = [&](const float* from) {
            return _mm256_cvtps_epi32(
                    _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(from), least), by));
        };
        for (int w = b * kWords; w < (b + 1) * kWords; w += 16) {
            const __m256i pairs = _mm256_packus_epi32(rounded(values + w), rounded(values + w + 8));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(tables + w * 2),
                                _mm256_permute4x64_epi64(pairs, 0xd8));
        }
    }
}

/// Four vectors of a list's block of `stride`: rows are `stride` bytes.
void sum_four(const uint16_t* tables, const uint8_t* rows, int blocks, int stride, int32_t* acc) {
    uint32_t sum[4] = {};
    for (int b = 0; b < blocks; b++) {
        for (int v = 0; v < 4; v++) {
            sum[v] += tables[rows[v]];
            asm("" : "+r"(sum[v])); // compilers gather the sums into a register, which is slower
        }
        tables += kWords;
        rows += stride;
    }
    for (int v = 0; v < 4; v++) {
        acc[v] = int32_t(sum[v]);
    }
}

void sums(const ListScan& list, const uint8_t* blocks, int count, int32_t* acc) {
    const Layout& layout = *list.layout;
    const auto* tables = reinterpret_cast<const uint16_t*>(list.tables);
    const int of_vector = layout.blocks();
    for (int first = 0; first < count; first += kBlock) {
        const int in_block = count - first < kBlock ? count - first : kBlock;
        const uint8_t* rows = blocks + int64_t(first) * layout.code_size();
        // what lies behind the last vector is summed too, and left alone
        for (int v = 0; v < in_block; v += 4) {
            sum_four(tables, rows + v, of_vector, in_block, acc + first + v);
        }
    }
}

uint32_t distances(const ListScan& list, const int32_t* acc, const uint8_t* factors, int count,
                   float bound, float* distance) {
    const avx2::Shared shared = avx2::shared_of(list, bound);
    uint32_t within = 0;
    for (int h = 0; h < 2; h++) {
        within |= avx2::put_distances(list, shared, avx2::load_factors(factors + 16 * h),
                                      load(acc + 8 * h), distance + 8 * h)
                  << (8 * h);
    }
    return within & ((1u << count) - 1);
}

} // namespace

void avx2::patch_words(Simd& simd) {
    simd.scan.distances = distances;
    simd.words.residual = residual;
    simd.words.products = products;
    simd.words.values = values;
    simd.words.entries = entries;
    simd.words.sums = sums;
}

} // namespace faiss_vlc
