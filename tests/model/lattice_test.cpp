#include <faiss_vlc/model/lattice.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/train/engine.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

TEST(Lattice, FitMatchesASortedReference) {
    Random random(1);
    for (int d : {1, 3, 16, 17, 40}) {
        for (int64_t n : {1, 2, 7, 500, 3000}) {
            for (double scale : {1e-20, 1.0, 300.0, 1e20}) {
                std::vector<float> x = random.normals(n * d, scale, 5 * scale);
                x[0] = float(1000 * scale); // an outlier that larger sets ignore
                const bool ignored = n >= 10;
                const Lattice lattice = Lattice::fit(n, d, x.data());
                ASSERT_EQ(lattice.d, d);
                ASSERT_EQ(lattice.mean.size(), size_t(d));
                std::vector<double> magnitude;
                for (int k = 0; k < d; k++) {
                    double mean = 0;
                    for (int64_t i = 0; i < n; i++) {
                        mean += double(x[i * d + k]) / double(n);
                    }
                    if (k > 0) {
                        EXPECT_NEAR(lattice.mean[k], mean, 1e-6 * 1000 * scale);
                    } else {
                        // the outlier pulls, but no more than it does the plain mean
                        const double others = (mean * n - x[0]) / std::max<int64_t>(1, n - 1);
                        const double pull = n > 1 ? std::fabs(mean - others) : 0;
                        EXPECT_NEAR(lattice.mean[0], n > 1 ? others : mean,
                                    pull + 1e-6 * 1000 * scale);
                    }
                    for (int64_t i = ignored; i < n; i++) {
                        magnitude.push_back(std::fabs(double(x[i * d + k]) - lattice.mean[k]));
                    }
                }
                std::sort(magnitude.rbegin(), magnitude.rend());
                const double within = magnitude[(n - ignored) * d / 10000];
                if (within == 0) {
                    EXPECT_EQ(lattice.scale, 1);
                    continue;
                }
                const double bound = 127.0 / lattice.scale;
                EXPECT_GE(bound, within * (1 - 1e-6)) << n << " x " << d;
                EXPECT_LE(bound, within * (1 + 1.0 / 32) * (1 + 1e-6)) << n << " x " << d;
            }
        }
    }
}

TEST(Lattice, TakesFarRowsForDataWhenThereAreMany) {
    const int d = 8;
    const int64_t n = 2000;
    Random random(3);
    for (const int64_t far : {0, 1, 150, 199, 201, 400, 1000}) {
        std::vector<float> x = random.normals(n * d, 1);
        for (int64_t i = 0; i < far * d; i++) {
            x[i] *= 1000;
        }
        const double bound = 127.0 / Lattice::fit(n, d, x.data()).scale;
        if (far < n / 10) {
            EXPECT_LT(bound, 6) << far;
        } else {
            EXPECT_GT(bound, 1500) << far;
        }
    }
    std::vector<float> x(n * d, 0); // the median row is in the middle itself
    for (int64_t i = 0; i < 5; i++) {
        x[i * d] = 7;
    }
    EXPECT_LT(127.0 / Lattice::fit(n, d, x.data()).scale, 7.5);
    EXPECT_GT(127.0 / Lattice::fit(n, d, x.data()).scale, 6.9);
}

TEST(Lattice, EncodeRoundsAndClampsAndPads) {
    Random random(2);
    for (int d : {1, 2, 15, 16, 17, 33}) {
        for (int64_t n : {1, 3, 1001}) {
            const std::vector<float> x = random.normals(n * d, 2, 10);
            const Lattice lattice = Lattice::fit(n, d, x.data());
            const int dp = padded_dim(d);
            EXPECT_EQ(dp % 16, 0);
            EXPECT_TRUE(dp >= d && dp < d + 16);
            std::vector<int8_t> q(n * dp, 99);
            lattice.encode(n, x.data(), q.data());
            for (int64_t i = 0; i < n; i++) {
                for (int k = 0; k < dp; k++) {
                    if (k >= d) {
                        ASSERT_EQ(q[i * dp + k], 0);
                        continue;
                    }
                    const double v = (double(x[i * d + k]) - lattice.mean[k]) * lattice.scale;
                    const double inside = std::clamp(v, -127.0, 127.0);
                    ASSERT_LE(std::fabs(q[i * dp + k] - inside), 0.5 + 1e-3);
                }
            }
        }
    }
}

TEST(Lattice, TiesGoToEven) {
    Lattice lattice;
    lattice.d = 10;
    lattice.mean.assign(10, 0);
    const float x[10] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.5f, 127.5f, 1e30f, -1e30f, -3.4e38f};
    int8_t q[16];
    lattice.encode(1, x, q);
    const int8_t expected[16] = {0, 2, 2, 0, -2, 126, 127, 127, -127, -127, 0, 0, 0, 0, 0, 0};
    EXPECT_TRUE(std::equal(q, q + 16, expected));
}

TEST(Lattice, AnchorsDecode) {
    Lattice lattice;
    lattice.d = 3;
    lattice.scale = 4;
    lattice.mean = {1, -2, 0};
    const int32_t anchor[3] = {3 << 15, -kMaxAnchor, 1}; // 1.5, -127, 2^-16
    float out[3];
    lattice.decode_anchor(anchor, out);
    EXPECT_EQ(out[0], 1.375f);
    EXPECT_EQ(out[1], -33.75f);
    EXPECT_EQ(out[2], 0x1p-18f);
}

TEST(Lattice, RoundingIsTheDistanceToTheLattice) {
    Lattice lattice;
    lattice.d = 2;
    lattice.scale = 4;
    lattice.mean = {1, -2};
    EXPECT_EQ(lattice.rounding(0, nullptr), 0);
    const float on[] = {1.25f, -1, -30.75f, 29.75f}; // 1, 4, -127, 127
    EXPECT_EQ(lattice.rounding(2, on), 0);
    const float between[] = {1.0625f, -2, 1.125f, -2.0625f}; // .25 and 0; .5 and -.25
    EXPECT_EQ(lattice.rounding(2, between), (0.0625 + 0.25 + 0.0625) / 2);
    const float beyond[] = {40.1f, -2.0625f}; // 156.4
    EXPECT_EQ(lattice.rounding(1, beyond), 0.0625);
}

TEST(Lattice, DegenerateDataStillGivesAUsableScale) {
    for (float value : {0.0f, 3.25f, 1e-42f, -1e30f, 3.4e38f}) {
        const std::vector<float> x(60, value);
        const Lattice lattice = Lattice::fit(20, 3, x.data());
        EXPECT_EQ(lattice.scale, 1) << value;
        std::vector<int8_t> q(20 * 16);
        lattice.encode(20, x.data(), q.data());
        EXPECT_EQ(std::count(q.begin(), q.end(), 0), 20 * 16) << value;
    }
    for (float value : {1e-42f, 1e-37f, 1e37f, std::numeric_limits<float>::max()}) {
        const std::vector<float> x = {value, -value, value, -value};
        const Lattice lattice = Lattice::fit(4, 1, x.data());
        EXPECT_TRUE(std::isfinite(lattice.scale)) << value;
        EXPECT_GT(lattice.scale, 0) << value;
    }
}

} // namespace
} // namespace faiss_vlc
