#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/lib/aligned.h>

#include <tests/kernels/simd_levels.h>
#include <tests/support/unit_test.h>

using namespace faiss_vlc;

// Differences of 8 bits and of 9, the largest among them.
TEST(Algebra, SquaresOfEveryLevelAreExact) {
    for (int tiles : {1, 2, 3, 4, 5, 8}) {
        for (int rows : {1, 2, 3, 4, 67, kSquareRows}) {
            SCOPED_TRACE(testing::Message() << tiles << " tiles, " << rows << " rows");
            Random random(tiles * 1000 + rows);
            const int dp = 16 * tiles;
            std::vector<int8_t> x, a;
            for (int r = 0; r < rows; r++) {
                const int most = r % 3 == 1 ? 127 : 63;
                for (int k = 0; k < dp; k++) {
                    x.push_back(r == 1 ? 127 : int8_t(random.between(-most, most)));
                    a.push_back(r == 1 ? -127 : int8_t(random.between(-most - 1, most)));
                }
            }
            std::vector<const int8_t*> xs, as;
            for (int r = 0; r < rows; r++) {
                xs.push_back(&x[size_t(r) * dp]);
                as.push_back(&a[size_t(r) * dp]);
            }
            if (rows > 3) {
                x[3 * dp] = 64; // one more than 8 bits hold
                a[3 * dp] = -64;
            }
            for (const Simd* level : levels()) {
                if (!level->algebra.add_squares) {
                    EXPECT_TRUE(level->name == std::string("portable") ||
                                level->name == std::string("neon"));
                    continue;
                }
                SCOPED_TRACE(level->name);
                AlignedVector<int16_t> room(size_t(dp) * kSquareRows);
                std::vector<int32_t> sums(size_t(dp) * dp, 7);
                level->algebra.add_squares(tiles, rows, xs.data(), as.data(), room.data(),
                                           sums.data());
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
