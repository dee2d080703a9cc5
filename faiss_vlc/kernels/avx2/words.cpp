#include <immintrin.h>

#include <faiss_vlc/kernels/avx2/estimates.h>
#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/word_tables.h>

// There is no look-up of 256 bytes, so sums are loads of 16-bit entries, of eight vectors at a
// time.

namespace faiss_vlc {

namespace {

__m256i load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

void products(const WordsView& book, const int16_t* x, int32_t* dots) {
    constexpr int kWide = 8; // registers: 64 words at a time
    for (int b = 0; b < book.blocks; b++) {
        for (int first = 0; first < kWords; first += kWide * 8) {
            __m256i acc[kWide];
            for (int i = 0; i < kWide; i++) {
                acc[i] = _mm256_setzero_si256();
            }
            for (int s = book.slot[b]; s < book.slot[b + 1]; s += 2) {
                const int16_t* words = book.words + int64_t(s) * kWords + first * 2;
                int32_t pair;
                __builtin_memcpy(&pair, x + s, 4);
                const __m256i both = _mm256_set1_epi32(pair);
                for (int i = 0; i < kWide; i++) {
                    acc[i] =
                            _mm256_add_epi32(acc[i], _mm256_madd_epi16(load(words + i * 16), both));
                }
            }
            for (int i = 0; i < kWide; i++) {
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + b * kWords + first + i * 8),
                                    acc[i]);
            }
        }
    }
}

TableScale tables(int blocks, const int32_t* dots, const float* penalty, float share,
                  uint8_t* tables) {
    const TableScale scale = table_scale(blocks, dots, penalty, share);
    for (int b = 0; b < blocks; b++) {
        table_entries(dots, penalty, share, b, scale.step,
                      reinterpret_cast<uint16_t*>(tables) + b * kWords);
    }
    return scale;
}

/// Eight vectors of a list's block of `stride`: rows are `stride` bytes.
void sum_eight(const uint16_t* tables, const uint8_t* rows, int blocks, int stride, int32_t* acc) {
    uint32_t sum[8] = {};
    for (int b = 0; b < blocks; b++) {
        uint64_t codes;
        __builtin_memcpy(&codes, rows + int64_t(b) * stride, 8);
        const uint16_t* table = tables + b * kWords;
        for (int v = 0; v < 8; v++) {
            sum[v] += table[(codes >> (8 * v)) & 255];
        }
    }
    for (int v = 0; v < 8; v++) {
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
        for (int v = 0; v < in_block; v += 8) {
            sum_eight(tables, rows + v, of_vector, in_block, acc + first + v);
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
    simd.words.products = products;
    simd.words.tables = tables;
    simd.words.sums = sums;
}

} // namespace faiss_vlc
