#include <faiss_vlc/lib/integer_math.h>

#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

using Wide = __int128;

void expect_root(uint64_t v) {
    const Wide root = isqrt(v);
    EXPECT_LE(root * root, Wide(v)) << v;
    EXPECT_GT((root + 1) * (root + 1), Wide(v)) << v;
}

TEST(Isqrt, IsTheFloorOfTheRoot) {
    for (uint64_t v = 0; v < 70000; v++) {
        expect_root(v);
    }
    Random random(1);
    for (int i = 0; i < 20000; i++) {
        const uint64_t root = random.bits() >> (32 + i % 32);
        expect_root(root * root);
        expect_root(root * root - 1);
        expect_root(root * root + 2 * root);
        expect_root(random.bits() >> (i % 64));
    }
    for (uint64_t v : {UINT64_MAX, UINT64_MAX - 1, uint64_t(0xfffffffe00000001u)}) {
        expect_root(v);
    }
}

TEST(Ilog2, IsLinearBetweenPowersOfTwo) {
    for (int e = 0; e < 32; e++) {
        EXPECT_EQ(ilog2_q8(1u << e), 256 * e);
    }
    Random random(2);
    int32_t last = -1;
    for (uint32_t v = 1; v < 100000; v++) {
        EXPECT_GE(ilog2_q8(v), last);
        last = ilog2_q8(v);
    }
    for (int i = 0; i < 20000; i++) {
        const uint32_t v = std::max(1u, uint32_t(random.bits() >> (32 + i % 32)));
        int e = 0;
        while (e < 31 && (uint64_t(2) << e) <= v) {
            e++;
        }
        const double exact = 256 * (e + v / std::pow(2.0, e) - 1);
        EXPECT_EQ(ilog2_q8(v), int32_t(std::floor(exact))) << v;
        EXPECT_NEAR(ilog2_q8(v) / 256.0, std::log2(double(v)), 0.0861 + 1 / 256.0);
    }
    EXPECT_EQ(ilog2_q8(UINT32_MAX), 256 * 32 - 1);
}

TEST(RoundDiv, RoundsHalvesAwayFromZero) {
    EXPECT_EQ(round_div(5, 2), 3);
    EXPECT_EQ(round_div(-5, 2), -3);
    EXPECT_EQ(round_div(4, 3), 1);
    EXPECT_EQ(round_div(-5, 3), -2);
    Random random(3);
    for (int i = 0; i < 20000; i++) {
        const int64_t a = int64_t(random.bits()) >> (2 + i % 60);
        const int64_t b = 1 + int64_t(random.bits() >> (4 + i % 59));
        const Wide magnitude = (2 * (a < 0 ? -Wide(a) : Wide(a)) + b) / (2 * Wide(b));
        // for odd b the half that b / 2 loses never decides
        EXPECT_EQ(Wide(round_div(a, b)), a < 0 ? -magnitude : magnitude) << a << " / " << b;
    }
}

TEST(StableExp, AgreesWithLibm) {
    for (double x = -1; x <= 1; x += 1.0 / 4096) {
        EXPECT_NEAR(stable_exp(x) / std::exp(x), 1, 2e-15) << x;
    }
    for (double x = -699.9; x <= 700; x += 0.37) {
        EXPECT_NEAR(stable_exp(x) / std::exp(x), 1, 3e-13) << x;
    }
    EXPECT_EQ(stable_exp(0), 1);
    EXPECT_EQ(stable_exp(-701), 0);
    EXPECT_EQ(stable_exp(-1e300), 0);
}

TEST(StableLog, AgreesWithLibm) {
    EXPECT_EQ(stable_log(1), 0);
    for (double x = 0.25; x <= 4; x += 1.0 / 4096) {
        EXPECT_NEAR(stable_log(x), std::log(x), 1e-15) << x;
    }
    for (double x = 5e-324; x < 1e308; x *= 1.7 + (x < 1e-307)) {
        EXPECT_NEAR(stable_log(x), std::log(x), 1e-15 * (2 + std::fabs(std::log(x)))) << x;
    }
}

// What files and other machines rely on: these bits never change.
TEST(Stable, GivesTheSameBitsEverywhere) {
    uint64_t hash = digest(nullptr, 0);
    for (double x = -50; x < 50; x += 0.0625) {
        const double values[2] = {stable_exp(x), stable_log(x + 50.5)};
        hash = digest(values, sizeof(values), hash);
    }
    EXPECT_EQ(hash, 10295677133025635266u);
}

/// The same function over 64-bit words with explicit reduction.
uint32_t hash_in_words(uint64_t a, uint64_t b, uint64_t c) {
    constexpr uint64_t kModulus = uint64_t(1) << 32;
    uint64_t h = a * 2654435761u % kModulus;
    h = ((h ^ h / 32768) + b * 2246822519u) % kModulus;
    h = ((h ^ h / 8192) * 3266489917u % kModulus + c * 668265263u) % kModulus;
    h = (h ^ h / 65536) * 2146121005u % kModulus;
    h = (h ^ h / 32768) * 2221713035u % kModulus;
    return uint32_t(h ^ h / 65536);
}

TEST(Hash32, IsTheDocumentedMixAndSpreads) {
    Random random(4);
    for (int i = 0; i < 10000; i++) {
        const uint32_t a = uint32_t(random.bits()), b = uint32_t(random.bits());
        const uint32_t c = uint32_t(i);
        ASSERT_EQ(hash32(a, b, c), hash_in_words(a, b, c));
    }
    // Each flipped input bit flips about half of the output's, and low bits are even.
    for (int word = 0; word < 3; word++) {
        for (int bit = 0; bit < 32; bit++) {
            int flipped = 0;
            for (uint32_t i = 0; i < 200; i++) {
                uint32_t in[3] = {i, i * 7, i + 99};
                const uint32_t before = hash32(in[0], in[1], in[2]);
                in[word] ^= 1u << bit;
                flipped += __builtin_popcount(before ^ hash32(in[0], in[1], in[2]));
            }
            EXPECT_NEAR(flipped / 200.0, 16, 2.5) << word << " " << bit;
        }
    }
    int bins[16] = {};
    for (uint32_t i = 0; i < 16000; i++) {
        bins[hash32(1234, 0, i) & 15]++;
    }
    for (int count : bins) {
        EXPECT_NEAR(count, 1000, 160);
    }
}

} // namespace
} // namespace faiss_vlc
