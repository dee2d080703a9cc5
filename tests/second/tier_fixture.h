#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <faiss_vlc/axes/frame.h>
#include <faiss_vlc/second/second_tier.h>

#include <tests/support/index_test.h>

namespace faiss_vlc {

constexpr int kProductFactors = 2;            ///< bytes of them
constexpr int kEveryFactors[] = {1, 2, 3, 4}; ///< decoding, inner products, L2, fine L2

inline SecondList list_of(float square, float start) {
    SecondList list;
    list.square = square;
    list.start = start;
    return list;
}

/// A second tier of d axes, of as many widths, in a frame that turns.
inline SecondTier tier_of(int d, const std::vector<uint8_t>& width, int factor_bytes) {
    Random random(uint64_t(d) * 7 + 1);
    std::vector<int64_t> covariance(size_t(d) * size_t(d));
    for (int row = 0; row < 3 * d; row++) {
        const auto x = random.values<int32_t>(size_t(d), -1000, 1000);
        for (size_t i = 0; i < covariance.size(); i++) {
            covariance[i] += int64_t(x[i / size_t(d)]) * x[i % size_t(d)];
        }
    }
    SecondTier tier;
    tier.frame = Frame::principal(d, covariance.data());
    int bits = 0;
    for (const uint8_t w : width) {
        bits += w;
    }
    tier.layout = BitLayout::of_widths(bits / 8 + 4, width);
    tier.factor_bytes = factor_bytes;
    tier.sigma.assign(size_t(d), 1 / std::sqrt(float(d)));
    tier.finish();
    return tier;
}

} // namespace faiss_vlc
