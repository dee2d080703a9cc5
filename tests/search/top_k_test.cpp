#include <faiss_vlc/search/top_k.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tests/support/index_vlc_test.h>

namespace faiss_vlc {
namespace {

std::vector<TopK::Entry> sorted_best(std::vector<TopK::Entry> all, size_t k) {
    std::sort(all.begin(), all.end());
    all.resize(std::min(k, all.size()));
    return all;
}

/// What is pushed as scanning does: what is beyond the bound is not.
void push_all(TopK& top, const std::vector<TopK::Entry>& all) {
    for (const TopK::Entry& e : all) {
        if (e.estimate <= top.bound()) {
            top.push(e.estimate, e.place);
        }
    }
}

void expect_equal(const std::vector<TopK::Entry>& met, const std::vector<TopK::Entry>& expected) {
    ASSERT_EQ(met.size(), expected.size());
    for (size_t i = 0; i < met.size(); i++) {
        EXPECT_EQ(met[i].estimate, expected[i].estimate) << i;
        EXPECT_EQ(met[i].id, expected[i].id) << i;
        EXPECT_TRUE(met[i].place == expected[i].place) << i;
    }
}

/// n entries by make(i), in another order.
template <class Make>
std::vector<TopK::Entry> entries(size_t n, Random& random, Make make) {
    std::vector<TopK::Entry> all;
    for (size_t i = 0; i < n; i++) {
        const Place place{uint32_t(i % 7), uint32_t(i)};
        all.push_back({make(), place.label(), place});
    }
    for (size_t i = n; i > 1; i--) {
        std::swap(all[i - 1], all[size_t(random.between(0, int(i) - 1))]);
    }
    return all;
}

void expect_best(const std::vector<TopK::Entry>& all) {
    for (const size_t k : {1, 2, 10, 16, 17, 78, 100, 1000, 5000}) {
        SCOPED_TRACE(k);
        TopK top(k);
        push_all(top, all);
        EXPECT_EQ(top.size(), std::min(k, all.size()));
        const auto expected = sorted_best(all, k);
        if (!expected.empty() && expected.size() == k) {
            EXPECT_GE(top.bound(), expected.back().estimate);
        }
        expect_equal(top.sorted(), expected);
        top.clear(); // and again
        push_all(top, all);
        std::vector<TopK::Entry> visited;
        top.each([&](float estimate, Place place) {
            visited.push_back({estimate, place.label(), place});
        });
        size_t at = 0; // in the order of pushing
        for (const TopK::Entry& e : visited) {
            while (at < all.size() && !(all[at].place == e.place)) {
                at++;
            }
            ASSERT_LT(at, all.size());
        }
        expect_equal(sorted_best(visited, k), expected);
    }
}

TEST(TopK, HoldsTheBest) {
    Random random(1);
    for (const size_t n : {0, 1, 15, 16, 33, 500, 12000}) {
        SCOPED_TRACE(n);
        expect_best(entries(n, random, [&] { return float(random.normal()); }));
        expect_best(entries(n, random, [&] { return std::exp(20 * float(random.normal())); }));
    }
}

TEST(TopK, EqualEstimatesGoByTheSmallerId) {
    Random random(2);
    expect_best(entries(9000, random, [] { return 3.0f; }));
    expect_best(entries(9000, random, [&] { return float(random.between(0, 3)); }));
    expect_best(entries(9000, random, [&] { return random.between(0, 1) ? 0.0f : -0.0f; }));
    const float next = std::nextafter(1.0f, 2.0f); // nothing lies between the two
    expect_best(entries(9000, random, [&] { return random.between(0, 1) ? 1.0f : next; }));
}

TEST(TopK, TheLargestAndTheLeast) {
    constexpr float kMost = std::numeric_limits<float>::max();
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    Random random(3);
    for (const float v : {kMost, -kMost, -kInfinity, 1e-45f}) {
        SCOPED_TRACE(v);
        expect_best(entries(9000, random,
                            [&] { return random.between(0, 2) ? v : float(random.normal()); }));
    }
}

// Neither is ever among the best, whatever else there is.
TEST(TopK, LeavesOutWhatIsNoNumber) {
    TopK top(3);
    top.push(std::numeric_limits<float>::quiet_NaN(), {0, 0});
    top.push(std::numeric_limits<float>::infinity(), {0, 1});
    EXPECT_EQ(top.size(), 0u);
    EXPECT_TRUE(top.sorted().empty());
}

} // namespace
} // namespace faiss_vlc
