#include <faiss_vlc/train/stages/assign.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

struct Problem {
    int64_t n;
    int m, dp;
    std::vector<int8_t> x, anchors8;
    std::vector<int32_t> norm, bias;
};

/// Values within +-range; small ranges make ties.
Problem make_problem(int64_t n, int m, int d, int range, int max_bias, uint64_t seed) {
    Random random(seed);
    Problem p{n, m, padded_dim(d), {}, {}, {}, {}};
    p.x.assign(n * p.dp, 0);
    p.anchors8.assign(size_t(m) * p.dp, 0);
    const auto fill = [&](std::vector<int8_t>& rows) {
        for (size_t i = 0; i < rows.size(); i++) {
            if (int(i % p.dp) < d) {
                rows[i] = int8_t(range == 127 && random.between(0, 2) == 0
                                         ? (random.between(0, 1) ? 127 : -127)
                                         : random.between(-range, range));
            }
        }
    };
    fill(p.x);
    fill(p.anchors8);
    for (int j = 0; j < m; j++) {
        int32_t norm = 0;
        for (int k = 0; k < p.dp; k++) {
            norm += p.anchors8[j * p.dp + k] * p.anchors8[j * p.dp + k];
        }
        p.norm.push_back(norm);
        p.bias.push_back(int32_t(random.between(-max_bias, max_bias)));
    }
    return p;
}

int64_t distance(const Problem& p, int64_t i, int j) {
    int64_t sum = 0;
    for (int k = 0; k < p.dp; k++) {
        const int64_t u = p.x[i * p.dp + k] - p.anchors8[int64_t(j) * p.dp + k];
        sum += u * u;
    }
    return sum;
}

/// All anchors sorted by distance plus bias; the first of each residue class is kept.
void check(const Problem& p, int neighbours, bool with_bias) {
    std::vector<int32_t> label(p.n * neighbours, 12345), dist(p.n * neighbours, 12345);
    assign_rows(p.n, p.x.data(),
                {p.m, p.dp, p.anchors8.data(), p.norm.data(), with_bias ? p.bias.data() : nullptr},
                {neighbours, label.data(), dist.data()});
    for (int64_t i = 0; i < p.n; i++) {
        std::vector<std::tuple<int64_t, int, int64_t>> order;
        for (int j = 0; j < p.m; j++) {
            const int64_t square = distance(p, i, j);
            order.emplace_back(square + (with_bias ? p.bias[j] : 0), j, square);
        }
        std::sort(order.begin(), order.end());
        bool taken[16] = {};
        int r = 0;
        for (const auto& [score, j, square] : order) {
            if (r < neighbours && !taken[j % 16]) {
                ASSERT_EQ(label[i * neighbours + r], j) << p.n << " " << p.m << " row " << i;
                ASSERT_EQ(dist[i * neighbours + r], square);
                r++;
            }
            taken[j % 16] = true;
        }
        for (; r < neighbours; r++) {
            ASSERT_EQ(label[i * neighbours + r], -1);
            ASSERT_EQ(dist[i * neighbours + r], INT_MAX);
        }
    }
}

TEST(Assign, MatchesASortedReference) {
    uint64_t seed = 0;
    for (int64_t n : {1, 2, 17, 101, 130}) {
        for (int m : {1, 2, 3, 15, 16, 17, 33, 100}) {
            for (int d : {1, 3, 16, 17, 40}) {
                seed++;
                const int range = seed % 3 == 0 ? 1 : 127;
                const int max_bias = seed % 2 ? kMaxBias : 2;
                const Problem p = make_problem(n, m, d, range, max_bias, seed);
                check(p, 1 + int(seed % 4), seed % 5 != 0);
            }
        }
    }
}

TEST(Assign, LargestDimensionDoesNotOverflow) {
    Problem p = make_problem(3, 5, 4096, 127, kMaxBias, 9);
    std::fill_n(p.x.begin(), 4096, int8_t(127));
    std::fill_n(p.anchors8.begin(), 4096, int8_t(-127));
    p.norm[0] = 4096 * 127 * 127;
    p.bias[0] = kMaxBias;
    check(p, 4, true);
}

TEST(Assign, TiesGoToTheSmallerAnchor) {
    const Problem p = make_problem(4, 40, 3, 0, 0, 1); // all zero
    check(p, 4, true);
    std::vector<int32_t> label(4 * 4), dist(4 * 4);
    assign_rows(4, p.x.data(), {40, p.dp, p.anchors8.data(), p.norm.data()},
                {4, label.data(), dist.data()});
    EXPECT_EQ(std::vector<int32_t>(label.begin(), label.begin() + 4),
              (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST(Assign, SummaryCountsChangesAndSplitsEnergy) {
    Shape shape;
    shape.n = 5;
    shape.n_train = 3;
    shape.neighbours = 2;
    const int32_t label[10] = {1, 9, 0, 9, 2, 9, 1, 9, 3, 9};
    const int32_t dist[10] = {10, 999, INT_MAX, 999, 30, 999, 7, 999, INT_MAX, 999};
    int32_t previous[5] = {1, -1, 2, 0, 3};
    const AssignSummary summary = summarize_assign(shape, shape.n, label, dist, previous);
    EXPECT_EQ(summary.changes, 2);
    EXPECT_EQ(summary.energy_train, int64_t(INT_MAX) + 40);
    EXPECT_EQ(summary.energy_held, int64_t(INT_MAX) + 7);
    EXPECT_EQ(std::vector<int32_t>(previous, previous + 5), (std::vector<int32_t>{1, 0, 2, 1, 3}));
}

} // namespace
} // namespace faiss_vlc
