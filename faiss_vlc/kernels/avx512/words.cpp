#include <immintrin.h>

#include <faiss_vlc/kernels/avx512/estimates.h>
#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/word_tables.h>

namespace faiss_vlc {

namespace {

using avx512::load_factors;
using avx512::put_distances;

void products(const WordsView& book, const int16_t* x, int32_t* dots) {
    constexpr int kWide = kWords / 16;
    for (int b = 0; b < book.blocks; b++) {
        __m512i acc[kWide];
        for (int i = 0; i < kWide; i++) {
            acc[i] = _mm512_setzero_si512();
        }
        for (int s = book.slot[b]; s < book.slot[b + 1]; s += 2) {
            const int16_t* words = book.words + int64_t(s) * kWords;
            int32_t pair;
            __builtin_memcpy(&pair, x + s, 4);
            const __m512i both = _mm512_set1_epi32(pair);
            for (int i = 0; i < kWide; i++) {
                acc[i] = _mm512_dpwssd_epi32(acc[i], _mm512_loadu_si512(words + i * 32), both);
            }
        }
        for (int i = 0; i < kWide; i++) {
            _mm512_storeu_si512(dots + b * kWords + i * 16, acc[i]);
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

uint32_t distances(const ListScan& list, const int32_t* acc, const uint8_t* factors, int count,
                   float bound, float* distance) {
    return put_distances(list, bound, load_factors(factors), _mm512_loadu_si512(acc), distance) &
           ((1u << count) - 1);
}

} // namespace

void avx512::patch_words(Simd& simd) {
    simd.scan.distances = distances;
    simd.words.products = products;
    simd.words.tables = tables;
}

} // namespace faiss_vlc
