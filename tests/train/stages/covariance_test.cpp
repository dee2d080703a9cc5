#include <faiss_vlc/train/stages/covariance.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

void check(int64_t n, int64_t n_train, int d, int neighbours, bool extreme) {
    Random random(uint64_t(n * 100 + d));
    Shape shape;
    shape.n = n;
    shape.n_train = n_train;
    shape.d = d;
    shape.dp = padded_dim(d);
    shape.m = 5;
    shape.neighbours = neighbours;
    const int dp = shape.dp;
    std::vector<int8_t> x(n * dp, 0), a(5 * dp, 0);
    std::vector<int32_t> label(n * neighbours, -1); // only the nearest counts
    for (int64_t i = 0; i < n; i++) {
        label[i * neighbours] = int32_t(random.between(0, 4));
        for (int k = 0; k < d; k++) {
            x[i * dp + k] = extreme ? 127 : int8_t(random.between(-127, 127));
        }
    }
    for (int j = 0; j < 5; j++) {
        for (int k = 0; k < d; k++) {
            a[j * dp + k] = extreme ? -127 : int8_t(random.between(-127, 127));
        }
    }
    std::vector<int64_t> sums(size_t(d) * d, 12345);
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < n_train; i += 1 + i % neighbours) {
        rows.push_back(int32_t(i));
    }
    residual_covariance(shape, x.data(), a.data(), label.data(), rows.data(), int64_t(rows.size()),
                        sums.data());
    std::vector<int64_t> expected(size_t(d) * d, 0);
    for (int64_t i : rows) {
        const int64_t j = label[i * neighbours];
        for (int k = 0; k < d; k++) {
            for (int l = 0; l < d; l++) {
                expected[size_t(k) * d + l] +=
                        int64_t(x[i * dp + k] - a[j * dp + k]) * (x[i * dp + l] - a[j * dp + l]);
            }
        }
    }
    EXPECT_EQ(sums, expected) << n << " rows, " << d << " dimensions";
    if (has_covariance_loops()) {
        std::fill(sums.begin(), sums.end(), 12345);
        covariance_by_loops(shape, x.data(), a.data(), label.data(), rows.data(),
                            int64_t(rows.size()), sums.data());
        EXPECT_EQ(sums, expected) << n << " rows, " << d << " dimensions by loops";
    }
}

TEST(Covariance, MatchesBruteForce) {
    for (int64_t n : {1, 2, 255, 256, 257, 600}) {
        for (int d : {1, 2, 7, 16, 17, 33}) {
            check(n, n, d, 1, false);
            check(n, n - n / 10, d, 3, false);
        }
    }
}

TEST(Covariance, LargestResidualsAreExact) {
    check(1000, 1000, 3, 2, true);
    check(300000, 300000, 3, 1, true); // more than 32 bits hold, on up to 9 threads
}

TEST(Covariance, NoTrainingRowsGiveZero) {
    check(4, 0, 5, 1, false);
}

} // namespace
} // namespace faiss_vlc
