#include <arm_neon.h>

#include <cstring>

#include <faiss_vlc/kernels/levels.h>

// ARM with dot products: four registers for the 16 lanes of a tile.

namespace faiss_vlc {

namespace {

constexpr int kParts = 4;

/// The smallest scores of one row, and their tiles, in 16 lanes.
struct Best {
    int32x4_t score[kParts];
    int32x4_t tile[kParts];
};

int32_t first_of_smallest(const Best& best) {
    int32_t score[16], tile[16];
    for (int p = 0; p < kParts; p++) {
        vst1q_s32(score + 4 * p, best.score[p]);
        vst1q_s32(tile + 4 * p, best.tile[p]);
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

/// `R` rows meet a tile.
template <int R>
void meet(const AnchorTiles& anchors, int tile, const int8_t* x, Best* best) {
    const int groups = anchors.groups;
    const int32_t* norms = anchors.offsets + tile * 16;
    int32x4_t acc[R][kParts];
    for (int r = 0; r < R; r++) {
        for (int p = 0; p < kParts; p++) {
            acc[r][p] = vdupq_n_s32(0);
        }
    }
    for (int g = 0; g < groups; g++) {
        const int8x16x4_t a = vld1q_s8_x4(anchors.packed + (int64_t(tile) * groups + g) * 64);
        for (int r = 0; r < R; r++) {
            int32_t bytes;
            std::memcpy(&bytes, x + (int64_t(r) * groups + g) * 4, 4);
            const int8x16_t row = vreinterpretq_s8_s32(vdupq_n_s32(bytes));
            for (int p = 0; p < kParts; p++) {
                acc[r][p] = vdotq_s32(acc[r][p], a.val[p], row);
            }
        }
    }
    for (int r = 0; r < R; r++) {
        for (int p = 0; p < kParts; p++) {
            const int32x4_t norm = vld1q_s32(norms + 4 * p);
            const int32x4_t score = vsubq_s32(norm, vshlq_n_s32(acc[r][p], 1));
            const uint32x4_t better = vcgtq_s32(best[r].score[p], score);
            best[r].tile[p] = vbslq_s32(better, vdupq_n_s32(tile), best[r].tile[p]);
            best[r].score[p] = vminq_s32(best[r].score[p], score);
        }
    }
}

template <int R>
void nearest_of_some(const AnchorTiles& anchors, const int8_t* x, int32_t* label) {
    Best best[R];
    for (int r = 0; r < R; r++) {
        for (int p = 0; p < kParts; p++) {
            best[r].score[p] = vdupq_n_s32(INT32_MAX);
            best[r].tile[p] = vdupq_n_s32(0);
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

} // namespace

void neon::patch_nearest(Simd& simd) {
    simd.nearest.rows = nearest_rows;
}

} // namespace faiss_vlc
