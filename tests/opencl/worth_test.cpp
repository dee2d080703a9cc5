// The integers by which a device makes floats of sums are the CPU's doubles.

#include <opencl/search_records.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

// What OpenCL C has.
using uint = uint32_t;
using ulong = uint64_t;
using records::Weighed;
using std::max;
using std::min;
static_assert(sizeof(long) == 8);

uint as_uint(float value) {
    uint bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

float as_float(uint bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

int clz(ulong value) {
    return value == 0 ? 64 : __builtin_clzll(value);
}

ulong mul_hi(ulong a, ulong b) {
    __extension__ using Wide = unsigned __int128;
    return ulong(Wide(a) * b >> 64);
}

#include <opencl/worth.cl>

float by_doubles(int32_t sum, int32_t half, float scale) {
    const double unit = scale > 0 ? 1.0 / double(scale) : 0;
    return float((double(sum) - 0.5 * double(half)) * unit);
}

/// Of a scale with this exponent and this mantissa, 0 to 2^23 - 1.
void expect_same(int32_t sum, int32_t half, uint exponent, uint mantissa) {
    const float scale = as_float(exponent << 23 | mantissa);
    const float met = worth_of(2 * long(sum) - long(half), unit_of(scale, half));
    ASSERT_EQ(met, by_doubles(sum, half, scale)) << sum << " " << half << " " << double(scale);
}

} // namespace

TEST(Worth, IsThatOfDoubles) {
    Random random(1);
    int denormals = 0;
    for (int i = 0; i < 400000; i++) {
        // all usual floats, more of the largest, whose units are denormal
        const auto exponent = uint(random.between(i % 3 == 0 ? 248 : 1, 253));
        const auto mantissa =
                uint(random.between(0, i % 5 == 0 ? 3 : (1 << 23) - 1)) * (i % 7 == 0 ? 0 : 1);
        const auto sum = int32_t(random.between(INT32_MIN, INT32_MAX) >> random.between(0, 31));
        const auto half = int32_t(random.between(INT32_MIN, INT32_MAX) >> random.between(0, 31));
        expect_same(sum, half, exponent, mantissa);
        if (HasFatalFailure()) {
            return;
        }
        const float size = std::fabs(by_doubles(sum, half, as_float(exponent << 23 | mantissa)));
        denormals += size > 0 && size < std::numeric_limits<float>::min();
    }
    EXPECT_GT(denormals, 100);
}

TEST(Worth, OfTheEnds) {
    const int32_t ends[] = {INT32_MIN, INT32_MIN + 1, -1, 0, 1, 2, 3, 1 << 24, INT32_MAX};
    for (const int32_t sum : ends) {
        for (const int32_t half : ends) {
            for (const uint exponent : {1u, 127u, 200u, 252u, 253u}) {
                for (const uint mantissa : {0u, 1u, 0x7fffffu}) {
                    expect_same(sum, half, exponent, mantissa);
                }
            }
            EXPECT_EQ(worth_of(2 * long(sum) - long(half), unit_of(0.0f, half)), 0);
        }
    }
}

} // namespace faiss_vlc
