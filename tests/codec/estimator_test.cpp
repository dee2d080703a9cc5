#include <faiss_vlc/codec/estimator.h>

#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

TEST(Rho, CodesAreASmallFloat) {
    EXPECT_EQ(decode_rho(0), 0);
    EXPECT_EQ(decode_rho(31), 0); // gamma's bits don't matter
    double last = -1;
    for (int code = 0; code < 2048; code++) {
        const double exponent = code >> 6, mantissa = code & 63;
        const double expected =
                (64 + mantissa) / 64 * std::pow(2.0, exponent - 16) - std::pow(2.0, -16);
        const float met = decode_rho(uint16_t(code << 5 | (code & 31)));
        EXPECT_NEAR(met, expected, 1e-6 * expected) << code;
        EXPECT_GT(met, last);
        last = met;
    }
}

TEST(Rho, EncodesToTheNearest) {
    Estimator e;
    e.energy = 2.5f;
    Random random(1);
    for (int code = 0; code < 2048; code++) {
        // what a code stands for comes back
        const float spread = float(0.25 * (1 + code % 16));
        const double square = double(decode_rho(uint16_t(code << 5))) * 2.5 * spread * spread;
        EXPECT_EQ(e.encode(square, square, spread) >> 5, code);
    }
    for (int i = 0; i < 20000; i++) {
        const double rho = std::exp(random.unit() * 26 - 15); // 3e-7 to 6e4
        const float met = decode_rho(e.encode(rho * 2.5, rho, 1));
        // 6 bits of mantissa, of rho + 2^-16
        EXPECT_NEAR(met, rho, (rho + 0x1p-16) / 128 * 1.001) << rho;
    }
}

TEST(Rho, EndsOfTheRange) {
    Estimator e;
    EXPECT_EQ(e.encode(0, 0, 1) >> 5, 0);
    EXPECT_EQ(e.encode(1e-30, 0, 1) >> 5, 0);
    const uint16_t largest = e.encode(64000, 0, 1);
    EXPECT_NEAR(decode_rho(largest), 64000, 64000 / 128.0);
    for (double far : {65000.0, 65536.0, 1e6, 1e30, 1e300, double(INFINITY)}) {
        const uint16_t factors = e.encode(far, far, 1);
        EXPECT_EQ(factors >> 5, 2047) << far; // the farthest there is, not wrapped around
        EXPECT_GT(decode_rho(factors), 64000);
    }
    // nothing to be relative to
    EXPECT_EQ(e.encode(5, 5, 0) >> 5, 0);
    e.energy = 0;
    EXPECT_EQ(e.encode(5, 5, 1) >> 5, 0);
}

TEST(Gamma, RoundsAndClamps) {
    Estimator e;
    e.gamma_low = 0.3f;
    e.gamma_step = 0.02f;
    const auto code = [&](double gamma) { return e.encode(10, 10 * gamma, 1) & 31; };
    for (int c = 0; c < 32; c++) {
        EXPECT_EQ(code(0.3 + 0.02 * c), c);
        EXPECT_EQ(code(0.3 + 0.02 * c + 0.009), c);
        EXPECT_EQ(code(0.3 + 0.02 * c - 0.009), c);
        EXPECT_NEAR(e.gamma(c), 0.3 + 0.02 * c, 1e-6);
    }
    EXPECT_EQ(code(0.1), 0);
    EXPECT_EQ(code(2.0), 31);
    // a residual that its codes miss, or point away from
    EXPECT_EQ(code(0), 0);
    EXPECT_EQ(code(-0.5), 0);
    EXPECT_EQ(code(-1e30), 0);
    EXPECT_EQ(e.encode(10, -INFINITY, 1) & 31, 0);
    // no residual is coded perfectly
    EXPECT_EQ(e.encode(0, 0, 1) & 31, 31);
    // rho does not leak into it
    EXPECT_EQ(e.encode(1e9, 1e9 * 0.5, 1) & 31, 10);
}

/// The formulas of the header in doubles, for <q - a, r^> = dot2 * scale.
double formula(const Estimator& e, bool inner_product, double D, double q_norm, double square,
               double gamma, double dot) {
    const double miss = 1 - gamma;
    const double weight = 1 + e.t2 * (1 / gamma - 1);
    return inner_product ? D + e.c * miss * q_norm * square / std::sqrt(e.energy) - weight * dot
                         : D * (1 + e.c * miss * square / e.energy) +
                                   square * (gamma + e.t1 * miss) - 2 * weight * dot;
}

TEST(Tables, GiveTheDocumentedEstimates) {
    Random random(2);
    for (int trial = 0; trial < 2000; trial++) {
        Estimator e;
        e.t1 = float(random.unit());
        e.t2 = float(random.unit());
        e.c = float(random.unit());
        e.energy = float(0.1 + 100 * random.unit());
        e.gamma_low = float(0.02 + 0.5 * random.unit());
        e.gamma_step = float(0.015 * random.unit());
        const bool inner_product = trial % 2;
        const float D = float((inner_product ? -50 : 0) + 100 * random.unit());
        const float norm = float(10 * random.unit());
        const float spread = float(0.2 + 2 * random.unit());
        const float scale = float(1e-3 + random.unit());
        float add[kGammaSteps], mul[kGammaSteps];
        e.tables(e.steps(inner_product), D, norm, spread, scale, add, mul);
        for (int g = 0; g < kGammaSteps; g++) {
            const double rho = 3 * random.unit();
            const double dot2 = 40 * random.normal();
            const double square = rho * e.energy * spread * spread;
            const double expected =
                    formula(e, inner_product, D, norm, square, e.gamma(g), dot2 * scale);
            const double met = D + rho * add[g] - mul[g] * dot2;
            ASSERT_NEAR(
                    met, expected,
                    2e-5 * (1 + std::fabs(D) + std::fabs(rho * add[g]) + std::fabs(mul[g] * dot2)));
        }
    }
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
    e.gamma_low = 0.25f;
    e.tables(e.steps(false), 7, 0, 1, 1, add, mul);
    EXPECT_NEAR(7 + 7 * add[0] - mul[0] * 0.25 * 7, 0, 1e-5);
    e.energy = 0; // duplicates only: nothing may become NaN
    e.c = 0.3f;
    for (bool inner_product : {false, true}) {
        e.tables(e.steps(inner_product), 7, 3, 1, 0, add, mul);
        for (int g = 0; g < kGammaSteps; g++) {
            EXPECT_TRUE(std::isfinite(add[g]) && std::isfinite(mul[g]));
        }
    }
}

} // namespace
} // namespace faiss_vlc
