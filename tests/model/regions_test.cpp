#include <faiss_vlc/model/regions/regions.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace faiss_vlc {
namespace {

/// Regions of these sizes.
Regions regions_of(const std::vector<int>& sizes, std::vector<int32_t> visits) {
    Regions regions;
    for (size_t r = 0; r < sizes.size(); r++) {
        regions.of.insert(regions.of.end(), size_t(sizes[r]), int32_t(r));
    }
    regions.visits = std::move(visits);
    regions.finish(int(sizes.size()));
    return regions;
}

TEST(Regions, MoreAreLookedIntoForMoreLists) {
    const Regions regions = regions_of(std::vector<int>(100, 50), {1, 2, 2, 5});
    EXPECT_FALSE(Regions().used());
    EXPECT_TRUE(regions.used());
    EXPECT_EQ(regions.visited(1), 1);
    EXPECT_EQ(regions.visited(2), 2);
    EXPECT_EQ(regions.visited(3), 2);
    EXPECT_EQ(regions.visited(4), 2);
    EXPECT_EQ(regions.visited(5), 5);
    EXPECT_EQ(regions.visited(8), 5);
    EXPECT_EQ(regions.visited(9), 6); // in proportion beyond
    EXPECT_EQ(regions.visited(16), 10);
    EXPECT_EQ(regions.visited(80), 50);
    EXPECT_EQ(regions.visited(81), 100); // more than half: all
    EXPECT_EQ(regions.visited(160), 100);
    EXPECT_EQ(regions.visited(5000), 100);
    int last = 0;
    for (int lists = 1; lists <= 5000; lists++) {
        EXPECT_GE(regions.visited(lists), last);
        last = regions.visited(lists);
    }
}

// Whichever regions are the nearest.
TEST(Regions, AsManyAnchorsAsListsAreAlwaysThere) {
    const std::vector<int> sizes = {1, 300, 2, 7, 1, 90, 1};
    const Regions regions = regions_of(sizes, {1});
    std::vector<int> smallest = sizes;
    std::sort(smallest.begin(), smallest.end());
    const int m = std::accumulate(sizes.begin(), sizes.end(), 0);
    for (int lists = 1; lists <= m; lists++) {
        const int visited = regions.visited(lists);
        EXPECT_GE(std::accumulate(smallest.begin(), smallest.begin() + visited, 0), lists);
    }
    EXPECT_EQ(regions.visited(m), 7);
    EXPECT_LT(regions.visited(3), 7);
}

} // namespace
} // namespace faiss_vlc
