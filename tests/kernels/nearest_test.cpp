#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/train/stages/assign.h>

#include <tests/kernels/simd_levels.h>

using namespace faiss_vlc;

TEST(Nearest, EveryLevelAgreesWithTheReference) {
    for (int dp : {16, 48, 128}) {
        for (int m : {1, 15, 16, 17, 63, 64, 130}) {
            SCOPED_TRACE(testing::Message() << "dp " << dp << ", m " << m);
            std::mt19937 random(dp + m);
            const auto byte = [&](int most) {
                return int8_t(int(random() % (2 * most + 1)) - most);
            };
            const int padded = (m + 15) / 16 * 16;
            std::vector<int8_t> anchors(size_t(m) * dp), packed(size_t(padded) * dp, 0);
            std::vector<int32_t> norms(padded, INT32_MAX), sums(padded, 0);
            for (int j = 0; j < m; j++) {
                norms[j] = 0;
                for (int k = 0; k < dp; k++) {
                    // few values, so that scores are often equal; some at the limits
                    const int8_t a = j % 5 == 4 ? byte(1) > 0 ? 127 : -127 : byte(1);
                    anchors[size_t(j) * dp + k] = a;
                    norms[j] += a * a;
                    sums[j] += a;
                    packed[(size_t(j / 16) * (dp / 4) + k / 4) * 64 + j % 16 * 4 + k % 4] = a;
                }
            }
            const AnchorTiles tiles{padded / 16, dp / 4, packed.data(), sums.data(), norms.data()};
            for (int rows : {1, 5, 6, 7, 14}) {
                std::vector<int8_t> x(size_t(rows) * dp);
                for (size_t i = 0; i < x.size(); i++) {
                    x[i] = i / dp % 3 == 2 ? byte(127) : byte(1);
                }
                std::vector<int32_t> expected(rows), dist(rows), label(rows);
                assign_rows(rows, x.data(), {m, dp, anchors.data(), norms.data()},
                            {1, expected.data(), dist.data()});
                for (const Simd* level : levels()) {
                    SCOPED_TRACE(level->name);
                    level->nearest.rows(tiles, rows, x.data(), label.data());
                    EXPECT_EQ(label, expected);
                }
            }
        }
    }
}
