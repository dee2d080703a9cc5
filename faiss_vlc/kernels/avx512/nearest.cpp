#include <immintrin.h>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/lib/limits.h>

// AVX-512 with VNNI: as many sums at once as there are registers.

namespace faiss_vlc {

namespace {

/// Of each lane the smallest score so far, and its tile.
struct Best {
    __m512i score;
    __m512i tile;
};

int32_t first_of_smallest(const Best& best) {
    const __m512i least = _mm512_set1_epi32(_mm512_reduce_min_epi32(best.score));
    const __mmask16 equal = _mm512_cmpeq_epi32_mask(best.score, least);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i anchor = _mm512_add_epi32(_mm512_slli_epi32(best.tile, 4), lane);
    return _mm512_mask_reduce_min_epi32(equal, anchor);
}

/// sum += products of q's unsigned and a's signed bytes, by fours. GCC 12 copies the sums of its
/// own intrinsic around until they no longer fit the registers.
void add_products(__m512i& sum, __m512i q, __m512i a) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(q), "v"(a));
}

/// `R` rows meet `T` tiles, the first of which is `tile`. Rows enter as x + 128, unsigned, which
/// makes each dot product 128 sums too large.
template <int R, int T>
void meet(const AnchorTiles& anchors, int tile, const uint8_t* x, Best* best) {
    const int groups = anchors.groups;
    __m512i acc[R][T];
    for (int r = 0; r < R; r++) {
        for (int t = 0; t < T; t++) {
            acc[r][t] = _mm512_setzero_si512();
        }
    }
    const int8_t* from = anchors.packed + int64_t(tile) * groups * 64;
    const int32_t* x4 = reinterpret_cast<const int32_t*>(x);
    for (int g = 0; g < groups; g++) {
        __m512i a[T];
        for (int t = 0; t < T; t++) {
            a[t] = _mm512_loadu_si512(from + (int64_t(t) * groups + g) * 64);
        }
        for (int r = 0; r < R; r++) {
            // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the caller's rows are there
            const __m512i q = _mm512_set1_epi32(x4[r * groups + g]);
            for (int t = 0; t < T; t++) {
                add_products(acc[r][t], q, a[t]);
            }
        }
    }
    for (int t = 0; t < T; t++) {
        const int at = (tile + t) * 16;
        const __m512i own = _mm512_add_epi32(
                _mm512_loadu_si512(anchors.offsets + at),
                _mm512_slli_epi32(_mm512_loadu_si512(anchors.component_sums + at), 8));
        const __m512i number = _mm512_set1_epi32(tile + t);
        for (int r = 0; r < R; r++) {
            const __m512i score = _mm512_sub_epi32(own, _mm512_slli_epi32(acc[r][t], 1));
            const __mmask16 better = _mm512_cmplt_epi32_mask(score, best[r].score);
            best[r].tile = _mm512_mask_mov_epi32(best[r].tile, better, number);
            best[r].score = _mm512_min_epi32(best[r].score, score);
        }
    }
}

template <int R>
void nearest_of_some(const AnchorTiles& anchors, const int8_t* x, int32_t* label) {
    alignas(64) uint8_t moved[R * kMaxDim];
    const int bytes = R * anchors.groups * 4;
    for (int k = 0; k < bytes; k += 64) {
        const __mmask64 some = bytes - k >= 64 ? ~0ull : (1ull << (bytes - k)) - 1;
        const __m512i v = _mm512_maskz_loadu_epi8(some, x + k);
        _mm512_mask_storeu_epi8(moved + k, some, _mm512_xor_si512(v, _mm512_set1_epi8(-128)));
    }
    Best best[R];
    for (int r = 0; r < R; r++) {
        best[r] = {_mm512_set1_epi32(INT32_MAX), _mm512_setzero_si512()};
    }
    int t = 0;
    for (; t + 4 <= anchors.tiles; t += 4) {
        meet<R, 4>(anchors, t, moved, best);
    }
    for (; t < anchors.tiles; t++) {
        meet<R, 1>(anchors, t, moved, best);
    }
    for (int r = 0; r < R; r++) {
        label[r] = first_of_smallest(best[r]);
    }
}

void nearest_rows(const AnchorTiles& anchors, int rows, const int8_t* x, int32_t* label) {
    const int64_t size = int64_t(anchors.groups) * 4;
    int r = 0;
    for (; r + 6 <= rows; r += 6) {
        nearest_of_some<6>(anchors, x + r * size, label + r);
    }
    for (; r < rows; r++) {
        nearest_of_some<1>(anchors, x + r * size, label + r);
    }
}

void nearest_words(const BlockWords& block, int rows, const int16_t* x, uint8_t* word,
                   int32_t* least) {
    constexpr int kWide = kWords / 16;
    for (int r = 0; r < rows; r++, x += block.width) {
        __m512i acc[kWide];
        for (int i = 0; i < kWide; i++) {
            acc[i] = _mm512_setzero_si512();
        }
        for (int k = 0; k < block.width; k += 2) {
            const int16_t* words = block.words + int64_t(k) * kWords;
            int32_t pair;
            __builtin_memcpy(&pair, x + k, 4);
            const __m512i both = _mm512_set1_epi32(pair);
            for (int i = 0; i < kWide; i++) {
                acc[i] = _mm512_dpwssd_epi32(acc[i], _mm512_loadu_si512(words + i * 32), both);
            }
        }
        Best best{_mm512_set1_epi32(INT32_MAX), _mm512_setzero_si512()};
        for (int i = 0; i < kWide; i++) {
            const __m512i score = _mm512_sub_epi32(_mm512_loadu_si512(block.norms + i * 16),
                                                   _mm512_slli_epi32(acc[i], 1));
            const __mmask16 better = _mm512_cmplt_epi32_mask(score, best.score);
            best.tile = _mm512_mask_mov_epi32(best.tile, better, _mm512_set1_epi32(i));
            best.score = _mm512_min_epi32(best.score, score);
        }
        word[r] = uint8_t(first_of_smallest(best));
        least[r] = _mm512_reduce_min_epi32(best.score);
    }
}

} // namespace

void avx512::patch_nearest(Simd& simd) {
    simd.nearest.rows = nearest_rows;
    simd.nearest.words = nearest_words;
}

} // namespace faiss_vlc
