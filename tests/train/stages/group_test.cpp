#include <faiss_vlc/train/stages/group.h>

#include <cstdint>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

/// Anchors around far apart centres, in turn.
std::vector<int8_t> around_centres(int m, int dp, int centres) {
    Random random(7);
    std::vector<int8_t> anchors(size_t(m) * dp, 0);
    for (int j = 0; j < m; j++) {
        for (int k = 0; k < dp; k++) {
            const int side = (j % centres) >> (k % 3) & 1 ? 90 : -90;
            anchors[size_t(j) * dp + k] = int8_t(side + random.between(-9, 9));
        }
    }
    return anchors;
}

TEST(Group, NeighboursStayTogether) {
    for (int m : {8, 9, 100, 1000}) {
        const int dp = 16, centres = 8;
        const std::vector<int8_t> anchors = around_centres(m, dp, centres);
        const std::vector<int32_t> count(m, 10);
        const std::vector<uint8_t> group =
                group_anchors(m, dp, anchors.data(), count.data(), 16, 1234);
        ASSERT_EQ(group.size(), size_t(m));
        std::set<int> used(group.begin(), group.end());
        EXPECT_GE(used.size(), m >= 100 ? 4u : 1u);
        EXPECT_LE(used.size(), 16u);
        EXPECT_EQ(*used.rbegin(), int(used.size()) - 1) << "a gap";
        // no two centres that have groups of their own share one with a third
        std::vector<std::set<int>> of_group(used.size());
        for (int j = 0; j < m; j++) {
            of_group[group[j]].insert(j % centres);
        }
        size_t pure = 0;
        for (const std::set<int>& in_group : of_group) {
            pure += in_group.size() == 1;
        }
        EXPECT_GE(pure, m >= 100 ? of_group.size() / 2 : 0);
    }
}

TEST(Group, EmptyAnchorsAndCopiesAreNoMatter) {
    const int dp = 16;
    const std::vector<int8_t> same(size_t(50) * dp, 3);
    const std::vector<int32_t> none(50, 0);
    EXPECT_EQ(group_anchors(50, dp, same.data(), none.data(), 8, 1), std::vector<uint8_t>(50, 0));
    const std::vector<int8_t> one(dp, -127);
    EXPECT_EQ(group_anchors(1, dp, one.data(), none.data(), 64, 1), std::vector<uint8_t>(1, 0));
}

TEST(Group, OneGroupHoldsAll) {
    const int dp = 16;
    const std::vector<int8_t> anchors = around_centres(64, dp, 2);
    std::vector<int32_t> count(64, 1);
    EXPECT_EQ(group_anchors(64, dp, anchors.data(), count.data(), 1, 1),
              std::vector<uint8_t>(64, 0));
}

TEST(Group, NumberGrowsWithTheSample) {
    Shape shape;
    shape.d = shape.dp = 128;
    const auto groups = [&](int64_t n, int m, int code_size) {
        shape.n = n;
        shape.n_train = n - n / 10;
        shape.m = m;
        return choose_groups(shape, code_size);
    };
    EXPECT_EQ(groups(100, 8, 32), 1);
    EXPECT_EQ(groups(1000000, 1024, 32), 16);
    EXPECT_EQ(groups(1000000, 16, 32), 2) << "8 anchors each";
    EXPECT_LT(groups(4000, 1024, 32), 16) << "512 rows each";
    EXPECT_LE(groups(20000, 256, 18), groups(20000, 256, 64)) << "bytes";
}

} // namespace
} // namespace faiss_vlc
