#include <climits>

#include <faiss_vlc/kernels/levels.h>

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

} // namespace

void portable::patch_nearest(Simd& simd) {
    simd.nearest.rows = nearest_rows;
}

} // namespace faiss_vlc
