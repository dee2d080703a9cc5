#include <climits>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>

namespace faiss_vlc {

namespace {

void nearest_rows(const AnchorTiles& anchors, int rows, const int8_t* x, int32_t* label) {
    const int groups = anchors.groups;
    for (int r = 0; r < rows; r++) {
        const int8_t* row = x + int64_t(r) * groups * 4;
        int32_t best = INT_MAX;
        label[r] = 0;
        for (int t = 0; t < anchors.tiles; t++) {
            int32_t dot[16] = {};
            for (int g = 0; g < groups; g++) {
                const int8_t* a = anchors.packed + (int64_t(t) * groups + g) * 64;
                for (int j = 0; j < 16; j++) {
                    for (int i = 0; i < 4; i++) {
                        dot[j] += int16_t(a[j * 4 + i]) * int16_t(row[g * 4 + i]);
                    }
                }
            }
            for (int j = 0; j < 16; j++) {
                const int32_t score = anchors.offsets[t * 16 + j] - 2 * dot[j];
                if (score < best) {
                    best = score;
                    label[r] = t * 16 + j;
                }
            }
        }
    }
}

void nearest_classes(const AnchorTiles& anchors, int rows, const int8_t* const* x, int32_t* score,
                     int32_t* tile) {
    const int groups = anchors.groups;
    for (int r = 0; r < rows; r++, score += 16, tile += 16) {
        for (int j = 0; j < 16; j++) {
            score[j] = INT_MAX;
            tile[j] = 0;
        }
        for (int t = 0; t < anchors.tiles; t++) {
            int32_t dot[16] = {};
            for (int g = 0; g < groups; g++) {
                const int8_t* a = anchors.packed + (int64_t(t) * groups + g) * 64;
                for (int j = 0; j < 16; j++) {
                    for (int i = 0; i < 4; i++) {
                        dot[j] += int16_t(a[j * 4 + i]) * int16_t(x[r][g * 4 + i]);
                    }
                }
            }
            for (int j = 0; j < 16; j++) {
                const int32_t met = anchors.offsets[t * 16 + j] - 2 * dot[j];
                tile[j] = met < score[j] ? t : tile[j];
                score[j] = met < score[j] ? met : score[j];
            }
        }
    }
}

void nearest_words(const BlockWords& block, int rows, const int16_t* x, uint8_t* word,
                   int32_t* least) {
    for (int r = 0; r < rows; r++, x += block.width) {
        int32_t score[kWords];
        for (int w = 0; w < kWords; w++) {
            score[w] = block.norms[w];
        }
        for (int k = 0; k < block.width; k += 2) {
            const int16_t* pairs = block.words + int64_t(k) * kWords;
            for (int w = 0; w < kWords; w++) {
                score[w] -=
                        2 * (int32_t(pairs[2 * w]) * x[k] + int32_t(pairs[2 * w + 1]) * x[k + 1]);
            }
        }
        int32_t best = score[0];
        for (int w = 1; w < kWords; w++) {
            best = score[w] < best ? score[w] : best;
        }
        int w = 0;
        while (score[w] != best) {
            w++;
        }
        word[r] = uint8_t(w);
        least[r] = best;
    }
}

} // namespace

void portable::patch_nearest(Simd& simd) {
    simd.nearest.rows = nearest_rows;
    simd.nearest.classes = nearest_classes;
    simd.nearest.words = nearest_words;
}

} // namespace faiss_vlc
