#include <faiss_vlc/lib/half.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

double value_of(int h) {
    const int exponent = h >> 10 & 31;
    const int mantissa = h & 1023;
    const double sign = h & 0x8000 ? -1 : 1;
    return sign *
           (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
}

TEST(Half, AllValuesDecodeAndComeBack) {
    for (int h = 0; h < 65536; h++) {
        const float f = half_to_float(uint16_t(h));
        const bool special = (h & 0x7c00) == 0x7c00;
        if (special && (h & 1023)) {
            EXPECT_TRUE(std::isnan(f)) << h;
            const uint16_t back = float_to_half(f);
            EXPECT_TRUE((back & 0x7c00) == 0x7c00 && (back & 1023)) << h;
            continue;
        }
        if (special) {
            EXPECT_TRUE(std::isinf(f)) << h;
        } else {
            EXPECT_EQ(double(f), value_of(h)) << h;
        }
        EXPECT_EQ(std::signbit(f), h >= 0x8000) << h;
        EXPECT_EQ(float_to_half(f), h);
    }
}

TEST(Half, RoundsToNearestTiesToEven) {
    for (int sign : {0, 0x8000}) {
        for (int h = 0; h < 0x7c00; h++) {
            // between h and the next one; beyond the largest the next step would be 65536
            const double low = value_of(h);
            const double high = h == 0x7bff ? 65536 : value_of(h + 1);
            const float middle = float((low + high) / 2);
            ASSERT_EQ(double(middle), (low + high) / 2);
            const float s = sign ? -1.0f : 1.0f;
            EXPECT_EQ(float_to_half(s * middle), sign | (h % 2 ? h + 1 : h)) << h;
            EXPECT_EQ(float_to_half(s * std::nextafter(middle, 0.0f)), sign | h) << h;
            EXPECT_EQ(float_to_half(s * std::nextafter(middle, 1e9f)), sign | (h + 1)) << h;
        }
    }
}

TEST(Half, RangeEnds) {
    const float infinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(float_to_half(infinity), 0x7c00);
    EXPECT_EQ(float_to_half(-infinity), 0xfc00);
    EXPECT_EQ(float_to_half(std::numeric_limits<float>::max()), 0x7c00);
    EXPECT_EQ(float_to_half(65519.99f), 0x7bff);
    EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
    EXPECT_EQ(float_to_half(65536.0f), 0x7c00);
    EXPECT_EQ(float_to_half(0x1p-25f), 0);
    EXPECT_EQ(float_to_half(std::nextafter(0x1p-25f, 1.0f)), 1);
    EXPECT_EQ(float_to_half(-0x1p-26f), 0x8000);
    EXPECT_EQ(float_to_half(1e-40f), 0);
    EXPECT_EQ(float_to_half(-0.0f), 0x8000);
    EXPECT_EQ(float_to_half(0x1.ffffffp-15f), 0x400); // carries out of the denormals
    const uint16_t nan = float_to_half(std::numeric_limits<float>::quiet_NaN());
    EXPECT_TRUE(std::isnan(half_to_float(nan)));
}

} // namespace
} // namespace faiss_vlc
