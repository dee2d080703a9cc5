#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/second/second_tier.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <faiss_vlc/kernels/simd.h>

#include <tests/kernels/simd_levels.h>
#include <tests/second/tier_fixture.h>

namespace faiss_vlc {
namespace {

/// Levels, packed with 15 bytes behind them that must not count, and what they stand for.
struct Packed {
    std::vector<uint8_t> level, code;

    Packed(const BitLayout& layout, Random& random, bool full = false) {
        for (const uint8_t width : layout.width) {
            const int most = (1 << width) - 1;
            level.push_back(uint8_t(full ? most : random.between(0, most)));
        }
        code = random.values<uint8_t>(size_t(layout.code_bytes) + kBehindCode, 0, 255);
        layout.pack(level.data(), code.data());
    }
};

std::vector<uint8_t> ragged_widths(int d, int most, Random& random) {
    std::vector<uint8_t> width;
    for (int i = 0; i < d; i++) {
        width.push_back(uint8_t(random.between(0, most)));
    }
    return width;
}

// Integers: the same on every level, whatever lies behind the code.
TEST(LevelDot, IsTheSameOnEverySimdLevel) {
    Random random(1);
    for (const int d : {1, 2, 3, 4, 15, 16, 17, 33, 100, 257}) {
        for (const int most : {1, 4, 8}) {
            const BitLayout layout = BitLayout::of_widths(d + 3, ragged_widths(d, most, random));
            const PackedLevels packed = layout.packed();
            // |sum| <= 255 * 2^15 * d fits in 31 bits
            const auto weights = random.values<int16_t>(packed.slot.size(), -32768, 32767);
            const Packed one(layout, random);
            int64_t expected = 0;
            for (size_t i = 0; i < packed.slot.size(); i++) {
                const LevelChunk& chunk = packed.chunks[i / kChunk];
                const size_t at = size_t(chunk.offset) + i % kChunk % size_t(chunk.bytes);
                ASSERT_LT(at, one.code.size());
                const int level = one.code[at] >> chunk.shift[i % kChunk / 2];
                expected += int64_t(level & chunk.mask[i % kChunk]) * weights[weight_at(i)];
            }
            ASSERT_LT(std::abs(expected), int64_t(1) << 31);
            for (const Simd* level : levels()) {
                EXPECT_EQ(level->levels.dot(int(packed.chunks.size()), packed.chunks.data(),
                                            one.code.data(), weights.data()),
                          expected)
                        << level->name << " " << d << " " << most;
            }
        }
    }
}

TEST(LevelWeights, ComeToThePlainSum) {
    Random random(2);
    for (const int d : {1, 2, 3, 4, 16, 31, 96, 200}) {
        for (const int most : {1, 3, 8}) {
            SCOPED_TRACE(std::to_string(d) + " " + std::to_string(most));
            SecondTier tier = tier_of(d, std::vector<uint8_t>(size_t(d), 0), 3);
            tier.layout = BitLayout::of_widths(d + 3, ragged_widths(d, most, random));
            tier.finish();
            LevelWeights weights(tier.packed, tier.slots(), tier.most.data());
            for (const double size : {1e-25, 1.0, 1e6, 1e15}) {
                std::vector<float> y = random.normals(size_t(tier.slots()), size);
                weights.set(y.data(), tier.step.data());
                double largest = 0, all = 0;
                for (size_t s = 0; s < tier.step.size(); s++) {
                    const double v = std::fabs(double(y[s]) * tier.step[s]);
                    largest = std::max(largest, v);
                    all += v * tier.most[s];
                }
                for (int trial = 0; trial < 4; trial++) {
                    const Packed one(tier.layout, random, trial == 0);
                    double expected = 0;
                    for (size_t s = 0; s < one.level.size(); s++) {
                        expected +=
                                (one.level[s] - 0.5 * tier.most[s]) * double(y[s]) * tier.step[s];
                    }
                    // a weight is within half of its unit, of which the largest has thousands
                    const double slack = 1e-6 * all + largest / 2000 * 255 * std::sqrt(d) / 2;
                    ASSERT_NEAR(weights.dot(one.code.data()), expected, slack) << size;
                    if (d >= 16) {
                        ASSERT_NEAR(weights.dot(one.code.data()), expected, 1e-3 * all);
                    }
                }
            }
        }
    }
}

// Sums of the largest weights at the largest levels stay within 31 bits.
TEST(LevelWeights, TheLargestSumsFit) {
    Random random(3);
    const int d = 2000;
    SecondTier tier = tier_of(16, std::vector<uint8_t>(16, 0), 3);
    tier.frame = Frame::own_axes(d);
    tier.frame.kept = d;
    tier.layout = BitLayout::of_widths(d, std::vector<uint8_t>(size_t(d), 8));
    tier.sigma.assign(size_t(d), 1.0f);
    tier.finish();
    LevelWeights weights(tier.packed, tier.slots(), tier.most.data());
    std::vector<float> y(size_t(tier.slots()), 1.0f);
    weights.set(y.data(), tier.step.data());
    const Packed full(tier.layout, random, true);
    const double expected = 0.5 * 255 * tier.step[0] * d;
    EXPECT_NEAR(weights.dot(full.code.data()), expected, 1e-3 * expected);
}

TEST(LevelWeights, NothingAndTooMuchCountNothing) {
    Random random(4);
    const SecondTier tier = tier_of(5, {8, 3, 0, 1, 5}, 3);
    LevelWeights weights(tier.packed, tier.slots(), tier.most.data());
    const Packed one(tier.layout, random);
    const auto slots = size_t(tier.slots());
    for (const float v : {0.0f, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN(), 3e38f, 1e-37f, 1e-44f}) {
        weights.set(std::vector<float>(slots, v).data(), tier.step.data());
        const float dot = weights.dot(one.code.data());
        EXPECT_TRUE(std::isfinite(dot)) << v;
        if (v != 3e38f) {
            EXPECT_NEAR(dot, 0, 1e-30) << v;
        }
    }
}

} // namespace
} // namespace faiss_vlc
