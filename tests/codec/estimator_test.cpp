#include <faiss_vlc/codec/estimator.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

TEST(Length, CodesAreASmallFloat) {
    EXPECT_EQ(decode_length(0), 0);
    EXPECT_EQ(decode_length(31), 0); // gamma's bits don't matter
    double last = -1;
    for (int code = 0; code < 2048; code++) {
        const double exponent = code >> 7, mantissa = code & 127;
        const double expected =
                (128 + mantissa) / 128 * std::pow(2.0, exponent - 6) - std::pow(2.0, -6);
        const float met = decode_length(uint16_t(code << 5 | (code & 31)));
        EXPECT_NEAR(met, expected, 1e-6 * expected) << code;
        EXPECT_GT(met, last);
        last = met;
    }
}

TEST(Length, EncodesToTheNearest) {
    Estimator e;
    e.energy = 2.5f;
    Random random(1);
    for (int code = 0; code < 2048; code++) {
        // what a code stands for comes back
        const float spread = float(0.25 * (1 + code % 16));
        const double l = decode_length(uint16_t(code << 5));
        const double square = l * l * 2.5 * spread * spread;
        EXPECT_EQ(e.encode(square, square, spread) >> 5, code);
        EXPECT_EQ(e.encode_length(square, spread), code << 5);
    }
    for (int i = 0; i < 20000; i++) {
        const double l = std::exp(random.unit() * 14.4 - 7.5); // 5e-4 to 990
        const float met = decode_length(e.encode(l * l * 2.5, l, 1));
        // 7 bits of mantissa, of l + 2^-6
        EXPECT_NEAR(met, l, (l + 0x1p-6) / 256 * 1.001) << l;
    }
}

// Between any two neighbouring codes, where the error is largest.
TEST(Length, RelativeErrorOverAllCodes) {
    Estimator e;
    double worst = 0;
    for (int code = 0; code < 2047; code++) {
        const double low = decode_length(uint16_t(code << 5));
        const double high = decode_length(uint16_t((code + 1) << 5));
        for (const double share : {0.01, 0.25, 0.49, 0.51, 0.75, 0.99}) {
            const double l = low + share * (high - low);
            const int met = e.encode_length(l * l, 1) >> 5;
            ASSERT_EQ(met, share < 0.5 ? code : code + 1) << l;
            const double error = std::fabs(decode_length(uint16_t(met << 5)) - l) / l;
            if (l > 0x1p-6) { // beyond the length that code 0 gives up
                ASSERT_LT(error, 1.0 / 128) << l;
            }
            if (l > 0.25) {
                ASSERT_LT(error, 1.0 / 256 * 1.0625) << l;
                worst = std::max(worst, error);
            }
        }
    }
    EXPECT_GT(worst, 0.0035); // nearly the bound: the steps are no finer than said
}

TEST(Length, EndsOfTheRange) {
    Estimator e;
    EXPECT_EQ(e.encode(0, 0, 1) >> 5, 0);
    EXPECT_EQ(e.encode(1e-30, 0, 1) >> 5, 0);
    const uint16_t largest = e.encode(1000.0 * 1000.0, 0, 1);
    EXPECT_NEAR(decode_length(largest), 1000, 1000 / 256.0);
    for (double far : {1019.0, 1020.0, 1024.0, 65536.0, 1e30, 1e150, double(INFINITY)}) {
        const uint16_t factors = e.encode(far * far, far * far, 1);
        EXPECT_EQ(factors >> 5, 2047) << far; // the farthest there is, not wrapped around
        EXPECT_GT(decode_length(factors), 1019);
    }
    EXPECT_EQ(e.encode(NAN, NAN, 1) >> 5, 2047);
    EXPECT_EQ(e.encode_length(-1, 1) >> 5, 2047); // the root of it is no number
    // nothing to be relative to
    e.energy = 0;
    EXPECT_EQ(e.encode(5, 5, 1) >> 5, 0);
}

// A list of equal vectors has spread 0, and may get others later.
TEST(Length, ListsWithoutSpreadHaveAUnit) {
    Estimator e;
    e.energy = 4;
    EXPECT_EQ(Estimator::list_scale(0), 1.0f / 64);
    EXPECT_EQ(Estimator::list_scale(1.0f / 64), 1.0f / 64);
    EXPECT_EQ(Estimator::list_scale(0.5f), 0.5f);
    EXPECT_EQ(Estimator::list_scale(NAN), 1.0f / 64);
    EXPECT_EQ(e.length_unit(0.5f), 1);
    EXPECT_EQ(e.length_unit(0), 1.0f / 32);
    EXPECT_NEAR(decode_length(e.encode(9, 9, 0)) * e.length_unit(0), 3, 3 / 250.0);
}

TEST(Gamma, RoundsAndClamps) {
    Estimator e;
    for (int c = 0; c < 32; c++) {
        e.gamma[c] = 0.3f + 0.02f * float(c);
    }
    const auto code = [&](double gamma) { return e.encode(10, 10 * gamma, 1) & 31; };
    for (int c = 0; c < 32; c++) {
        EXPECT_EQ(code(0.3 + 0.02 * c), c);
        EXPECT_EQ(code(0.3 + 0.02 * c + 0.009), c);
        EXPECT_EQ(code(0.3 + 0.02 * c - 0.009), c);
    }
    EXPECT_EQ(code(0.1), 0);
    EXPECT_EQ(code(2.0), 31);
    // a residual that its codes miss, or point away from
    EXPECT_EQ(code(0), 0);
    EXPECT_EQ(code(-0.5), 0);
    EXPECT_EQ(code(-1e30), 0);
    EXPECT_EQ(e.encode(10, -INFINITY, 1) & 31, 0);
    EXPECT_EQ(e.encode(10, NAN, 1) & 31, 0);
    // no residual is coded perfectly
    EXPECT_EQ(e.encode(0, 0, 1) & 31, 31);
    // the length does not leak into it
    EXPECT_EQ(e.encode(1e9, 1e9 * 0.5, 1) & 31, 10);
}

TEST(Gamma, ValuesRiseAndCover) {
    for (const auto& [low, high] :
         {std::pair(0.3f, 0.7f), std::pair(0.6f, 0.95f), std::pair(0.98f, 0.9999f),
          std::pair(0.9f, 1.05f), std::pair(-0.5f, 0.4f), std::pair(0.0f, 0.0f),
          std::pair(1.0f, 1.0f), std::pair(0.05f, 1.3f)}) {
        SCOPED_TRACE(std::to_string(low) + " to " + std::to_string(high));
        Estimator e;
        e.set_gamma(low, high);
        EXPECT_GT(e.gamma[0], 0);
        for (int c = 1; c < kGammaSteps; c++) {
            EXPECT_GE(e.gamma[c], e.gamma[c - 1]) << c;
            if (e.gamma[c - 1] > 0.02f) { // that is where values end below
                EXPECT_GT(e.gamma[c], e.gamma[c - 1]) << c;
            }
        }
        // most values lie where the sample's rows do, evenly
        const float least = std::max(low, 0.02f), most = std::max(high, least + 0.001f);
        int within = 0;
        for (const float g : e.gamma) {
            within += g >= least - 1e-6f && g <= most + 1e-6f;
        }
        EXPECT_GE(within, 20);
        EXPECT_NEAR(e.gamma[6], least, 1e-6);
        EXPECT_NEAR(e.gamma[25], most, 1e-6);
        const double step = (double(most) - least) / 19;
        for (double g = least; g <= most; g += 0.003) {
            const float met = e.gamma[e.encode(1, g, 1) & 31];
            ASSERT_NEAR(met, g, 0.5 * step + 1e-6);
        }
        // and some beyond: down to a twelfth, and nearly to 1
        EXPECT_LT(e.gamma[0], std::max(0.0201f, 0.12f * least));
        if (most < 1) {
            EXPECT_LT(e.gamma[31], 1);
            EXPECT_LT(1 - e.gamma[31], 0.2f * (1 - most));
        } else {
            EXPECT_GT(e.gamma[31], most);
        }
    }
}

/// The formulas of the header in doubles, for <q - a, r^> = dot2 * scale.
double formula(const Estimator& e, bool inner_product, double D, double q_norm, double square,
               double gamma, double dot) {
    const double miss = 1 - gamma;
    const double weight = e.t2 < 0 ? 1 + e.t2 - e.t2 * gamma / e.kappa : 1 + e.t2 * (1 / gamma - 1);
    return inner_product
                   ? D + e.c * miss * q_norm * square / std::sqrt(e.energy) - weight * dot
                   : D + e.c * std::min(D, double(e.most_distance)) * miss * square / e.energy +
                             square * (gamma + e.t1 * miss) - 2 * weight * dot;
}

TEST(Tables, GiveTheDocumentedEstimates) {
    Random random(2);
    int capped = 0;
    for (int trial = 0; trial < 2000; trial++) {
        Estimator e;
        e.t1 = float(random.unit());
        e.t2 = float(2 * random.unit() - 1);
        e.c = float(random.unit());
        e.energy = float(0.1 + 100 * random.unit());
        e.kappa = float(0.05 + random.unit());
        const float low = float(0.02 + 0.5 * random.unit());
        e.set_gamma(low, low + float(0.5 * random.unit()));
        if (trial % 3) {
            e.most_distance = float(100 * random.unit());
        }
        const bool inner_product = trial % 2;
        const float D = float((inner_product ? -50 : 0) + 100 * random.unit());
        capped += !inner_product && D > e.most_distance;
        const float norm = float(10 * random.unit());
        const float spread = float(0.2 + 2 * random.unit());
        const float scale = float(1e-3 + random.unit());
        float add[kGammaSteps], mul[kGammaSteps];
        e.tables(e.steps(inner_product), D, norm, spread, scale, add, mul);
        for (int g = 0; g < kGammaSteps; g++) {
            const double l = 3 * random.unit();
            const double dot2 = 40 * random.normal();
            const double square = l * l * e.energy * spread * spread;
            const double expected =
                    formula(e, inner_product, D, norm, square, e.gamma[g], l * dot2 * scale);
            const double met = D + l * (l * add[g] - mul[g] * dot2);
            ASSERT_NEAR(met, expected,
                        2e-5 * (1 + std::fabs(D) + std::fabs(l * l * add[g]) +
                                std::fabs(l * mul[g] * dot2)));
        }
    }
    EXPECT_GT(capped, 100);
}

// q = x: D = |r|^2 and <q - a, r^> = gamma |r|^2, so the unbiased estimate is 0.
TEST(Tables, UnbiasedEstimateIsExactAtTheVector) {
    Estimator e;
    e.t1 = e.t2 = 1;
    e.c = 0;
    for (double gamma : {0.1, 0.5, 0.9, 1.0}) {
        EXPECT_NEAR(formula(e, false, 7, 0, 7, gamma, gamma * 7), 0, 1e-9);
    }
    float add[kGammaSteps], mul[kGammaSteps];
    e.set_gamma(0.25f, 0.5f);
    const double l = std::sqrt(7.0);
    e.tables(e.steps(false), 7, 0, 1, 1, add, mul);
    for (int g = 0; g < kGammaSteps; g++) { // <q - a, r^> / l = gamma l
        EXPECT_NEAR(7 + l * (l * add[g] - mul[g] * e.gamma[g] * l), 0, 1e-5);
    }
    e.energy = 0; // duplicates only: nothing may become NaN
    e.c = 0.3f;
    for (bool inner_product : {false, true}) {
        e.tables(e.steps(inner_product), 7, 3, 1, 0, add, mul);
        for (int g = 0; g < kGammaSteps; g++) {
            EXPECT_TRUE(std::isfinite(add[g]) && std::isfinite(mul[g]));
        }
    }
}

TEST(ShortLength, IsTheNearestThatOneByteHas) {
    for (int length = 0; length < 2048; length++) {
        const auto bits = uint16_t(length << 5);
        const uint8_t byte = Estimator::short_length(bits);
        const uint16_t joined = join_factors(1, &byte);
        EXPECT_EQ(joined & 31, 0);
        EXPECT_LE(std::abs(int(joined) - int(bits)), byte == 255 ? 0xff : 0x80) << length;
        const double exact = decode_length(bits);
        EXPECT_NEAR(decode_length(joined), exact, 1.0 / 16 * (exact + 1.0 / 64)) << length;
        const uint8_t both[] = {uint8_t(bits), uint8_t(bits >> 8)};
        EXPECT_EQ(join_factors(2, both), bits);
        EXPECT_EQ(join_factors(0, both), 0);
    }
}

} // namespace
} // namespace faiss_vlc
