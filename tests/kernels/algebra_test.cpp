#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <tests/kernels/simd_levels.h>
#include <tests/support/unit_test.h>

using namespace faiss_vlc;

// The largest differences among them: 254 in both of a pair's rows.
TEST(Algebra, SquaresOfEveryLevelAreExact) {
    for (int tiles : {1, 2, 3, 4, 5, 8}) {
        for (int pairs : {1, 2, 33}) {
            SCOPED_TRACE(testing::Message() << tiles << " tiles, " << pairs << " pairs");
            Random random(tiles * 100 + pairs);
            const int rows = 2 * pairs, dp = 16 * tiles;
            std::vector<int8_t> x = random.values<int8_t>(size_t(rows) * dp, -127, 127);
            std::vector<int8_t> a = random.values<int8_t>(x.size(), -127, 127);
            std::fill_n(x.begin(), 2 * dp, int8_t(127));
            std::fill_n(a.begin(), 2 * dp, int8_t(-127));
            std::vector<const int8_t*> xs, as;
            for (int r = 0; r < rows; r++) {
                xs.push_back(&x[size_t(r) * dp]);
                as.push_back(&a[size_t(r) * dp]);
            }
            for (const Simd* level : levels()) {
                if (!level->algebra.squares) {
                    EXPECT_STREQ(level->name, "portable");
                    continue;
                }
                SCOPED_TRACE(level->name);
                std::vector<int16_t> packed(x.size());
                std::vector<int32_t> sums(size_t(dp) * dp, 7);
                level->algebra.differences(tiles, pairs, xs.data(), as.data(), packed.data());
                level->algebra.squares(tiles, pairs, packed.data(), sums.data());
                for (int k = 0; k < dp; k++) {
                    for (int l = k; l < dp; l++) {
                        int32_t expected = 7;
                        for (int r = 0; r < rows; r++) {
                            expected += (xs[r][k] - as[r][k]) * (xs[r][l] - as[r][l]);
                        }
                        ASSERT_EQ(sums[size_t(k) * dp + l], expected) << k << " " << l;
                    }
                }
            }
        }
    }
}
