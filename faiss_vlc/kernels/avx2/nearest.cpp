#include <immintrin.h>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>

// AVX2: two registers for the 16 lanes of a tile.

namespace faiss_vlc {

namespace {

__m256i load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

/// The smallest scores of one row, and their tiles, in 16 lanes.
struct Best {
    __m256i score[2];
    __m256i tile[2];
};

int32_t first_of_smallest(const Best& best) {
    int32_t score[16], tile[16];
    for (int h = 0; h < 2; h++) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(score + 8 * h), best.score[h]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(tile + 8 * h), best.tile[h]);
    }
    int first = 0;
    for (int i = 1; i < 16; i++) {
        const bool equal = score[i] == score[first];
        if (score[i] < score[first] || (equal && tile[i] < tile[first])) {
            first = i;
        }
    }
    return tile[first] * 16 + first;
}

/// `R` rows meet a tile. vpmaddubsw takes |x| as unsigned and gives its sign to the anchors.
template <int R>
void meet(const AnchorTiles& anchors, int tile, const int8_t* x, Best* best) {
    const int groups = anchors.groups;
    const int32_t* norms = anchors.offsets + tile * 16;
    __m256i acc[R][2];
    for (int r = 0; r < R; r++) {
        acc[r][0] = acc[r][1] = _mm256_setzero_si256();
    }
    const int8_t* from = anchors.packed + int64_t(tile) * groups * 64;
    const int32_t* x4 = reinterpret_cast<const int32_t*>(x);
    const __m256i ones = _mm256_set1_epi16(1);
    for (int g = 0; g < groups; g++) {
        const __m256i a[2] = {load(from + g * 64), load(from + g * 64 + 32)};
        for (int r = 0; r < R; r++) {
            const __m256i q = _mm256_set1_epi32(x4[r * groups + g]);
            const __m256i magnitude = _mm256_abs_epi8(q);
            for (int h = 0; h < 2; h++) {
                const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a[h], q));
                acc[r][h] = _mm256_add_epi32(acc[r][h], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    for (int r = 0; r < R; r++) {
        for (int h = 0; h < 2; h++) {
            const __m256i score =
                    _mm256_sub_epi32(load(norms + h * 8), _mm256_slli_epi32(acc[r][h], 1));
            const __m256i better = _mm256_cmpgt_epi32(best[r].score[h], score);
            best[r].tile[h] = _mm256_blendv_epi8(best[r].tile[h], _mm256_set1_epi32(tile), better);
            best[r].score[h] = _mm256_min_epi32(best[r].score[h], score);
        }
    }
}

template <int R>
void nearest_of_some(const AnchorTiles& anchors, const int8_t* x, int32_t* label) {
    Best best[R];
    for (int r = 0; r < R; r++) {
        for (int h = 0; h < 2; h++) {
            best[r].score[h] = _mm256_set1_epi32(INT32_MAX);
            best[r].tile[h] = _mm256_setzero_si256();
        }
    }
    for (int t = 0; t < anchors.tiles; t++) {
        meet<R>(anchors, t, x, best);
    }
    for (int r = 0; r < R; r++) {
        label[r] = first_of_smallest(best[r]);
    }
}

void nearest_rows(const AnchorTiles& anchors, int rows, const int8_t* x, int32_t* label) {
    const int64_t size = int64_t(anchors.groups) * 4;
    int r = 0;
    for (; r + 4 <= rows; r += 4) {
        nearest_of_some<4>(anchors, x + r * size, label + r);
    }
    for (; r < rows; r++) {
        nearest_of_some<1>(anchors, x + r * size, label + r);
    }
}

/// The words from number `tile` * 16 on, as many as sums fit registers.
template <int T>
void meet_words(const BlockWords& block, int tile, const int16_t* x, Best& best) {
    __m256i acc[2 * T];
    for (int i = 0; i < 2 * T; i++) {
        acc[i] = _mm256_setzero_si256();
    }
    for (int k = 0; k < block.width; k += 2) {
        const int16_t* words = block.words + int64_t(k) * kWords + tile * 32;
        int32_t pair;
        __builtin_memcpy(&pair, x + k, 4);
        const __m256i both = _mm256_set1_epi32(pair);
        for (int i = 0; i < 2 * T; i++) {
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(load(words + i * 16), both));
        }
    }
    for (int i = 0; i < 2 * T; i++) {
        const int h = i % 2;
        const __m256i score = _mm256_sub_epi32(load(block.norms + tile * 16 + i * 8),
                                               _mm256_slli_epi32(acc[i], 1));
        const __m256i better = _mm256_cmpgt_epi32(best.score[h], score);
        best.tile[h] = _mm256_blendv_epi8(best.tile[h], _mm256_set1_epi32(tile + i / 2), better);
        best.score[h] = _mm256_min_epi32(best.score[h], score);
    }
}

void nearest_words(const BlockWords& block, int rows, const int16_t* x, uint8_t* word,
                   int32_t* least) {
    constexpr int kTiles = 4;
    for (int r = 0; r < rows; r++, x += block.width) {
        Best best;
        for (int h = 0; h < 2; h++) {
            best.score[h] = _mm256_set1_epi32(INT32_MAX);
            best.tile[h] = _mm256_setzero_si256();
        }
        for (int tile = 0; tile < kWords / 16; tile += kTiles) {
            meet_words<kTiles>(block, tile, x, best);
        }
        word[r] = uint8_t(first_of_smallest(best));
        int32_t score[8];
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(score),
                            _mm256_min_epi32(best.score[0], best.score[1]));
        least[r] = score[0];
        for (int i = 1; i < 8; i++) {
            least[r] = score[i] < least[r] ? score[i] : least[r];
        }
    }
}

} // namespace

void avx2::patch_nearest(Simd& simd) {
    simd.nearest.rows = nearest_rows;
    simd.nearest.words = nearest_words;
}

} // namespace faiss_vlc
