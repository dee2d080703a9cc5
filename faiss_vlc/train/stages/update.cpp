#include <faiss_vlc/train/stages/update.h>

#include <algorithm>

#include <faiss_vlc/lib/integer_math.h>

namespace faiss_vlc {

void refresh_anchors(int first, int count, int dp, const int32_t* anchor, int8_t* anchor8,
                     int32_t* norm) {
    for (int j = first; j < first + count; j++) {
        int32_t square = 0;
        for (int k = 0; k < dp; k++) {
            const int64_t at = int64_t(j) * dp + k;
            const int32_t rounded = round_anchor(anchor[at]);
            anchor8[at] = int8_t(rounded);
            square += rounded * rounded;
        }
        norm[j] = square;
    }
}

void update_anchors(const Shape& shape, const UpdateParams& params, const AnchorSums& sums,
                    const AnchorArrays& anchors) {
    const auto [weight, sum, count, energy] = sums;
    const auto [anchor, anchor8, norm, spread, bias] = anchors;
    for (int j = 0; j < shape.m; j++) {
        for (int k = 0; weight[j] > 0 && k < shape.dp; k++) {
            const int64_t at = int64_t(j) * shape.dp + k;
            const int64_t target = round_div(sum[at] * (1 << kAnchorBits), weight[j]);
            const int64_t delta = ((target - anchor[at]) * params.step) >> 8;
            const int64_t moved =
                    anchor[at] + std::clamp<int64_t>(delta, -params.max_step, params.max_step);
            anchor[at] = int32_t(std::clamp<int64_t>(moved, -kMaxAnchor, kMaxAnchor));
        }
        spread[j] = int32_t(
                isqrt(uint64_t(energy[j] << (2 * kSpreadBits)) / uint64_t(std::max(count[j], 1))));
        const int32_t octaves =
                ilog2_q8(uint32_t(count[j]) + 1) - ilog2_q8(uint32_t(params.mean_count) + 1);
        const int32_t random = int32_t(hash32(params.seed, params.iteration, uint32_t(j)) & 0xffff);
        const int64_t size_bias = (int64_t(params.bias_scale) * octaves) >> 8;
        const int64_t noise = (int64_t(params.noise_scale) * (random - 32768)) >> 16;
        // a quarter of the way: the whole way makes lists swing between empty and overfull
        const int64_t target = std::clamp<int64_t>(size_bias + noise, -kMaxBias, kMaxBias);
        bias[j] += int32_t((target - bias[j]) >> 2);
    }
    refresh_anchors(0, shape.m, shape.dp, anchor, anchor8, norm);
}

} // namespace faiss_vlc
