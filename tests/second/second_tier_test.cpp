#include <faiss_vlc/second/second_tier.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tests/second/tier_fixture.h>

namespace faiss_vlc {
namespace {

TEST(SecondTier, ScalesGoByEighthsOfAnOctave) {
    SecondTier tier = tier_of(4, {8, 8, 8, 8}, 3);
    for (const float unit : {1.0f, 0.03f, 4e4f}) {
        tier.unit = unit;
        EXPECT_EQ(tier.scale(0), 0);
        EXPECT_FLOAT_EQ(tier.scale(128), unit);
        EXPECT_FLOAT_EQ(tier.scale(136), 2 * unit);
        for (int code = 1; code < 256; code++) {
            const float s = tier.scale(uint8_t(code));
            ASSERT_EQ(tier.encode_scale(s), code);
            ASSERT_NEAR(s, unit * std::exp2((code - 128) / 8.0), 1e-6 * s);
            // the nearest by ratio, on both sides
            ASSERT_EQ(tier.encode_scale(s * 1.04f), code);
            ASSERT_EQ(tier.encode_scale(s / 1.04f), code);
            ASSERT_NE(tier.encode_scale(s * 1.046f), code == 255 ? 0 : code);
        }
    }
}

TEST(SecondTier, ExtremeScalesHaveACode) {
    SecondTier tier = tier_of(4, {8, 8, 8, 8}, 3);
    EXPECT_EQ(tier.encode_scale(0), 0);
    EXPECT_EQ(tier.encode_scale(1e-30f), 0);
    EXPECT_EQ(tier.encode_scale(tier.scale(1) * 0.49f), 0);
    EXPECT_EQ(tier.encode_scale(tier.scale(1) * 0.6f), 1);
    EXPECT_EQ(tier.encode_scale(1e30f), 255);
    EXPECT_EQ(tier.encode_scale(std::numeric_limits<float>::infinity()), 255);
    EXPECT_EQ(tier.encode_scale(std::numeric_limits<float>::quiet_NaN()), 0);
    tier.unit = 0; // nothing was missed in training
    EXPECT_EQ(tier.encode_scale(5), 0);
    EXPECT_EQ(tier.scale(255), 0);
}

TEST(SecondTier, AlphaHasEqualSteps) {
    for (const int factors : kEveryFactors) {
        const bool product = factors == kProductFactors;
        SecondTier tier = tier_of(4, {8, 8, 8, 8}, factors);
        tier.low = -0.1f;
        tier.high = 0.3f;
        const int most = product ? 255 : 15;
        for (int code = 0; code <= most; code++) {
            EXPECT_EQ(tier.encode_alpha(tier.alpha(code)), code);
        }
        EXPECT_FLOAT_EQ(tier.alpha(0), -0.1f);
        EXPECT_FLOAT_EQ(tier.alpha(most), 0.3f);
        EXPECT_EQ(tier.encode_alpha(-1e9), 0);
        EXPECT_EQ(tier.encode_alpha(1e9), most);
        EXPECT_EQ(tier.encode_alpha(std::numeric_limits<double>::infinity()), most);
    }
}

TEST(SecondTier, RestIsASmallFloat) {
    for (const int factors : {3, 4}) {
        const SecondTier tier = tier_of(4, {8, 8, 8, 8}, factors);
        const uint32_t sign = factors == 3 ? 0x800 : 0x80000;
        EXPECT_EQ(tier.rest(0), 0);
        EXPECT_EQ(tier.rest(sign), 0);
        float last = 0;
        for (uint32_t code = 1; code < sign; code++) {
            const float rest = tier.rest(code);
            ASSERT_GT(rest, last);
            last = rest;
            ASSERT_EQ(tier.rest(code | sign), -rest);
            if (rest < 15.98) {
                ASSERT_EQ(tier.encode_rest(rest), code);
                ASSERT_EQ(tier.encode_rest(-double(rest)), code | sign);
            }
        }
        EXPECT_NEAR(last, 16, factors == 3 ? 0.07 : 0.001);
        const double step = factors == 3 ? 1.0 / 256 : 1.0 / 65536; // half of the mantissa's last
        for (double rest = 1e-6; rest < 15.9; rest *= 1.01) {
            ASSERT_NEAR(tier.rest(tier.encode_rest(rest)), rest, (rest + 1.0 / 4096) * step)
                    << rest;
        }
        for (const double rest : {16.0, 1e30, double(std::numeric_limits<float>::infinity())}) {
            EXPECT_NEAR(tier.rest(tier.encode_rest(rest)), 15.965, 0.03);
            EXPECT_NEAR(tier.rest(tier.encode_rest(-rest)), -15.965, 0.03);
        }
    }
}

TEST(SecondTier, FineCodesOfL2HaveFineFactors) {
    EXPECT_EQ(SecondTier::factors_of(128, 80, true), 2);
    EXPECT_EQ(SecondTier::factors_of(128, 131, true), 2);
    EXPECT_EQ(SecondTier::factors_of(128, 80, false), 3);
    EXPECT_EQ(SecondTier::factors_of(128, 131, false), 4);
}

TEST(SecondTier, MoreAreOrderedAnewForMoreResultsOfMoreVectors) {
    SecondTier tier = tier_of(4, {8, 8, 8, 8}, 3);
    tier.refined = tier.refined_usual = 40;
    tier.refined_base = 1000;
    tier.growth = 0.5f;
    EXPECT_EQ(tier.count_for(10, 1000, 1), 40);
    EXPECT_EQ(tier.count_for(1, 1000, 1), 40);
    EXPECT_EQ(tier.count_for(40, 1000, 1), 80);
    EXPECT_GT(tier.count_for(10, 100000, 1), 40);
    EXPECT_EQ(tier.count_for(10, 20, 1), 20); // no more than there are
    EXPECT_EQ(tier.count_for(30, 20, 1), 30); // no fewer than are wanted
    EXPECT_EQ(tier.count_for(10, 0, 1), 10);
    EXPECT_LE(tier.count_for(1 << 30, int64_t(1) << 40, 1), int64_t(1) << 40);
}

TEST(SecondTier, FewerAreOrderedAnewOfFewerLists) {
    SecondTier tier = tier_of(4, {8, 8, 8, 8}, 3);
    tier.refined = 70;
    tier.refined_usual = 40;
    tier.refined_base = 1000;
    EXPECT_EQ(tier.count_for(10, 1000, 1), 40);
    EXPECT_EQ(tier.count_for(10, 1000, 1.0 / 16), 20);
    EXPECT_EQ(tier.count_for(10, 1000, 1.0 / 81), 14); // 13.33
    EXPECT_EQ(tier.count_for(10, 1000, 4), 57);        // 56.57
    EXPECT_EQ(tier.count_for(10, 1000, 16), 70);       // as with all lists
    EXPECT_EQ(tier.count_for(10, 1000, 1e6), 70);
    EXPECT_EQ(tier.count_for(10, 1000, 1e-9), 10);
}

// A code decodes to what is near the error that it was made of, and its factors to what makes both
// sides of the estimate agree.
TEST(SecondCoder, DecodesToWhatWasMissed) {
    Random random(3);
    for (const int bytes : kEveryFactors) {
        const bool product = bytes == kProductFactors;
        for (const int d : {1, 2, 3, 4, 13, 40}) {
            const SecondTier tier = tier_of(d, std::vector<uint8_t>(size_t(d), 6), bytes);
            SecondCoder coder(tier);
            for (int trial = 0; trial < 50; trial++) {
                const std::vector<float> anchor = random.normals(size_t(d), 20);
                const std::vector<float> residual = random.normals(size_t(d), 30);
                std::vector<float> decoded = residual;
                for (float& v : decoded) {
                    v += float(8 * random.normal());
                }
                std::vector<uint8_t> code(size_t(tier.code_size()) + 1, 0x5a);
                const SecondList list = list_of(900.0f * float(d), 20 * std::sqrt(float(d)));
                coder.encode(anchor.data(), residual.data(), decoded.data(), list, code.data());
                EXPECT_EQ(code.back(), 0x5a);
                std::vector<float> whole = decoded;
                tier.decode_add(code.data(), whole.data());
                const double before = true_distance(d, residual.data(), decoded.data());
                const double after = true_distance(d, residual.data(), whole.data());
                ASSERT_LT(after, d < 5 ? before : 0.05 * before) << d;
                if (tier.by_decoding()) {
                    continue; // there are no other factors
                }
                double known = 0, along = 0, cross = 0;
                for (int k = 0; k < d; k++) {
                    const double r = whole[size_t(k)];
                    known += r * r;
                    along += (residual[size_t(k)] - r) * r;
                    cross += double(anchor[size_t(k)]) * r;
                }
                EXPECT_NEAR(coder.alpha, along / known, 1e-4 + 1e-3 * std::fabs(along / known));
                const SecondFactors factors = tier.factors(code.data());
                const double near =
                        std::min<double>(tier.high, std::max<double>(tier.low, coder.alpha));
                ASSERT_NEAR(factors.alpha, near, (tier.high - tier.low) / (product ? 500 : 29));
                if (!product) {
                    const double own =
                            (1 + 2 * factors.alpha) * known + 2 * (1 + factors.alpha) * cross;
                    const double unit = tier.rest_unit(list, factors.scale);
                    const double rest = std::fabs(own - list.square) / unit;
                    if (rest < 15.9) {
                        const double step = bytes == 3 ? 1.0 / 256 : 1.0 / 65536;
                        ASSERT_NEAR(tier.own(list, factors), own,
                                    unit * (rest + 1e-3) * step + 1e-5 * std::fabs(own));
                    }
                }
            }
        }
    }
}

TEST(SecondCoder, NothingMissedIsNothingAdded) {
    const SecondTier tier = tier_of(5, {4, 4, 4, 4, 4}, 3);
    SecondCoder coder(tier);
    const std::vector<float> zero(5, 0.0f), r = {1, 2, 3, 4, 5};
    std::vector<uint8_t> code(size_t(tier.code_size()));
    for (const std::vector<float>* residual : {&zero, &r}) {
        coder.encode(r.data(), residual->data(), residual->data(), list_of(55, 7), code.data());
        EXPECT_EQ(tier.factors(code.data()).scale, 0);
        std::vector<float> out = *residual;
        tier.decode_add(code.data(), out.data());
        EXPECT_EQ(out, *residual);
    }
}

// However far or near, a code is made, it is of finite factors, and it decodes to finite numbers.
TEST(SecondCoder, ExtremeErrorsAreCoded) {
    for (const int bytes : kEveryFactors) {
        const SecondTier tier = tier_of(6, {8, 7, 3, 1, 0, 2}, bytes);
        SecondCoder coder(tier);
        Random random(9);
        for (const double size : {0.0, 1e-38, 1e-20, 1e-3, 1e4, 1e9, 1e15, 1e18}) {
            const std::vector<float> r = random.normals(6, size), zero(6, 0.0f);
            std::vector<uint8_t> code(size_t(tier.code_size()));
            for (const SecondList& list : {list_of(0, 0), list_of(1e30f, 1e15f)}) {
                coder.encode(r.data(), r.data(), zero.data(), list, code.data());
                const SecondFactors factors = tier.factors(code.data());
                EXPECT_TRUE(std::isfinite(factors.scale) && std::isfinite(factors.alpha) &&
                            std::isfinite(factors.rest));
                std::vector<float> out(6, 0.0f);
                tier.decode_add(code.data(), out.data());
                for (const float v : out) {
                    EXPECT_TRUE(std::isfinite(v)) << size;
                }
            }
        }
    }
}

} // namespace
} // namespace faiss_vlc
