#include <faiss_vlc/train/stages/update.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/lib/integer_math.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

using Wide = __int128;

Wide floor_div(Wide a, Wide b) {
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

/// The specification in wide integers with divisions instead of shifts.
Wide naive_component(int32_t anchor, int64_t sum, int64_t weight, const UpdateParams& p) {
    const Wide doubled = 2 * Wide(sum < 0 ? -sum : sum) * 65536 + weight;
    const Wide magnitude = doubled / (2 * Wide(weight));
    const Wide target = sum < 0 ? -magnitude : magnitude;
    Wide delta = floor_div((target - anchor) * p.step, 256);
    delta = std::max<Wide>(-p.max_step, std::min<Wide>(p.max_step, delta));
    return std::max<Wide>(-127 * 65536, std::min<Wide>(127 * 65536, anchor + delta));
}

TEST(Update, MatchesTheSpecification) {
    Random random(1);
    for (int m : {1, 2, 7, 40}) {
        for (int d : {1, 16, 21}) {
            for (int trial = 0; trial < 20; trial++) {
                Shape shape;
                shape.m = m;
                shape.d = d;
                shape.dp = padded_dim(d);
                UpdateParams p;
                p.step = trial % 4 == 0 ? 256 : int32_t(random.between(1, 256));
                p.max_step = trial % 3 == 0 ? kMaxAnchor : int32_t(random.between(0, 300000));
                p.mean_count = int32_t(random.between(1, 100));
                p.bias_scale = trial % 5 == 0 ? kMaxBias : int32_t(random.between(0, 100000));
                p.noise_scale = trial % 7 == 0 ? kMaxBias : int32_t(random.between(0, 100000));
                p.seed = uint32_t(random.bits());
                p.iteration = uint32_t(trial);
                std::vector<int64_t> weight(m), sum(size_t(m) * shape.dp), energy(m);
                std::vector<int32_t> count(m),
                        bias = random.values<int32_t>(m, -kMaxBias, kMaxBias);
                std::vector<int32_t> anchor =
                        random.values<int32_t>(size_t(m) * shape.dp, -kMaxAnchor, kMaxAnchor);
                for (int j = 0; j < m; j++) {
                    count[j] = j % 4 == 3 ? 0 : int32_t(random.between(0, 1000));
                    weight[j] = j % 4 == 2 ? 0 : count[j] * random.between(0, 256);
                    energy[j] = count[j] * random.between(0, 4096 * 127 * 127);
                    for (int k = 0; k < shape.dp; k++) {
                        sum[j * shape.dp + k] = weight[j] * random.between(-127, 127) / 2;
                    }
                }
                std::vector<int32_t> moved = anchor, new_bias = bias, spread(m, -1), norm(m, -1);
                std::vector<int8_t> anchor8(moved.size(), 99);
                update_anchors(shape, p, {weight.data(), sum.data(), count.data(), energy.data()},
                               {moved.data(), anchor8.data(), norm.data(), spread.data(),
                                new_bias.data()});
                for (int j = 0; j < m; j++) {
                    int64_t square = 0;
                    for (int k = 0; k < shape.dp; k++) {
                        const size_t at = size_t(j) * shape.dp + k;
                        const Wide expected =
                                weight[j] > 0 ? naive_component(anchor[at], sum[at], weight[j], p)
                                              : Wide(anchor[at]);
                        ASSERT_EQ(Wide(moved[at]), expected) << m << " " << d << " " << trial;
                        const int rounded = int(std::floor(moved[at] / 65536.0 + 0.5));
                        ASSERT_EQ(anchor8[at], rounded);
                        square += int64_t(rounded) * rounded;
                    }
                    ASSERT_EQ(norm[j], square);
                    const double rms = 16 * std::sqrt(double(energy[j]) / std::max(count[j], 1));
                    ASSERT_LE(spread[j], rms + 1e-6);
                    ASSERT_GE(spread[j], rms - 1 - 1e-6);
                    const Wide size =
                            floor_div(Wide(p.bias_scale) * (ilog2_q8(uint32_t(count[j] + 1)) -
                                                            ilog2_q8(uint32_t(p.mean_count + 1))),
                                      256);
                    const Wide noise = floor_div(
                            Wide(p.noise_scale) *
                                    (int(hash32(p.seed, p.iteration, uint32_t(j)) % 65536) - 32768),
                            65536);
                    const Wide target =
                            std::max<Wide>(-kMaxBias, std::min<Wide>(kMaxBias, size + noise));
                    ASSERT_EQ(Wide(new_bias[j]), bias[j] + floor_div(target - bias[j], 4));
                }
            }
        }
    }
}

TEST(Update, ByHand) {
    Shape shape;
    shape.m = 3;
    shape.d = 1;
    shape.dp = 16;
    UpdateParams p;
    p.step = 128; // half way
    p.max_step = 2 << 16;
    p.mean_count = 3;
    p.bias_scale = 1000;
    std::vector<int64_t> weight = {512, 256, 0}, sum(48, 0), energy = {100, 9, 0};
    std::vector<int32_t> count = {7, 1, 0}, anchor(48, 0), norm(3), spread(3), bias = {0, 0, 40};
    std::vector<int8_t> anchor8(48);
    sum[0] = 512 * 3;    // mean 3: half way from 0 is 1.5
    sum[16] = 256 * -90; // mean -90: half way is -45, but a step is at most 2
    anchor[32] = 5 << 16;
    update_anchors(shape, p, {weight.data(), sum.data(), count.data(), energy.data()},
                   {anchor.data(), anchor8.data(), norm.data(), spread.data(), bias.data()});
    EXPECT_EQ(anchor[0], 3 << 15);
    EXPECT_EQ(anchor8[0], 2); // halves up
    EXPECT_EQ(norm[0], 4);
    EXPECT_EQ(anchor[16], -(2 << 16));
    EXPECT_EQ(anchor[32], 5 << 16); // no weight, no move
    EXPECT_EQ(norm[2], 25);
    EXPECT_EQ(spread[0], 60); // 16 sqrt(100 / 7) = 60.47
    EXPECT_EQ(spread[1], 48);
    EXPECT_EQ(spread[2], 0);
    EXPECT_EQ(bias[0], 250);  // 8 / 4 is one octave: a quarter of 1000
    EXPECT_EQ(bias[1], -250); // 2 / 4
    EXPECT_EQ(bias[2], 40 + (-2000 - 40) / 4);
}

TEST(Update, RefreshTouchesOnlyItsAnchors) {
    std::vector<int32_t> anchor(4 * 16, -(1 << 15)), norm(4, -1);
    std::vector<int8_t> anchor8(4 * 16, 77);
    anchor[16] = kMaxAnchor;
    anchor[32] = -kMaxAnchor;
    refresh_anchors(1, 2, 16, anchor.data(), anchor8.data(), norm.data());
    EXPECT_EQ(norm, (std::vector<int32_t>{-1, 127 * 127, 127 * 127, -1}));
    EXPECT_EQ(anchor8[0], 77);
    EXPECT_EQ(anchor8[16], 127);
    EXPECT_EQ(anchor8[17], 0); // -0.5 rounds up
    EXPECT_EQ(anchor8[32], -127);
    EXPECT_EQ(anchor8[48], 77);
}

} // namespace
} // namespace faiss_vlc
