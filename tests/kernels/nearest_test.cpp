#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/kernels/list_scan.h>
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

TEST(Nearest, WordsOfEveryLevelAreTheFirstOfTheNearest) {
    for (int width : {2, 4, 6, 16, 34}) {
        for (int most : {1, 2, 2896}) { // few values, so that distances are often equal
            SCOPED_TRACE(testing::Message() << "width " << width << ", most " << most);
            std::mt19937 random(width + most);
            const auto value = [&] { return int16_t(int(random() % (2 * most + 1)) - most); };
            std::vector<int16_t> words(size_t(width) * kWords);
            std::generate(words.begin(), words.end(), value);
            const auto word = [&](int w, int k) {
                return int64_t(words[(size_t(k / 2) * kWords + w) * 2 + k % 2]);
            };
            std::vector<int32_t> norms(kWords, 0);
            for (int w = 0; w < kWords; w++) {
                for (int k = 0; k < width; k++) {
                    norms[w] += int32_t(word(w, k) * word(w, k));
                }
            }
            constexpr int kRows = 60;
            std::vector<int16_t> x(size_t(kRows) * width);
            std::generate(x.begin(), x.end(), value);
            std::vector<uint8_t> expected(kRows), found(kRows);
            std::vector<int32_t> distance(kRows, INT32_MAX), least(kRows);
            for (int i = 0; i < kRows; i++) {
                for (int w = 0; w < kWords; w++) {
                    int64_t score = norms[w];
                    for (int k = 0; k < width; k++) {
                        score -= 2 * word(w, k) * x[size_t(i) * width + k];
                    }
                    if (score < distance[i]) {
                        distance[i] = int32_t(score);
                        expected[i] = uint8_t(w);
                    }
                }
            }
            for (const Simd* level : levels()) {
                SCOPED_TRACE(level->name);
                level->nearest.words({width, words.data(), norms.data()}, kRows, x.data(),
                                     found.data(), least.data());
                EXPECT_EQ(found, expected);
                EXPECT_EQ(least, distance);
            }
        }
    }
}
