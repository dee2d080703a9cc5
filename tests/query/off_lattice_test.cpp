#include <faiss_vlc/query/off_lattice.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <faiss_vlc/index/anchor_quantizer.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/query/query_group.h>

#include <tests/support/index_vlc_test.h>

namespace faiss_vlc {
namespace {

constexpr double kTimes[] = {0.1, 1, 5, 30, 1e3, 1e6, 1e12, 1e30};

IndexVLC trained_on(int d, int m, const std::vector<float>& x) {
    VLCParameters p = small(m, 4);
    p.iterations = 2;
    IndexVLC index(d, p);
    index.train(idx_t(x.size()) / d, x.data());
    return index;
}

std::vector<float> in_lattice(const Model& model, const float* x) {
    std::vector<float> u(model.d);
    model.lattice.scale_row(x, u.data());
    return u;
}

/// Scores of a vector off the lattice as off_lattice.h has them, in wider integers.
std::vector<int64_t> scores_of(const Model& model, const std::vector<float>& u, int shift,
                               const std::vector<int32_t>& offset) {
    const double unit = std::ldexp(1.0, shift - 1);
    std::vector<int64_t> scores(model.m);
    for (int j = 0; j < model.m; j++) {
        scores[j] = int64_t(std::floor(offset[j] / (2 * unit)));
        for (int k = 0; k < model.d; k++) {
            scores[j] -= std::lrint(u[k] / unit) * model.anchors8[j * model.dp() + k];
        }
    }
    return scores;
}

std::vector<int64_t> order_of(const std::vector<int64_t>& scores) {
    std::vector<int64_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return scores[a] < scores[b]; });
    return order;
}

// The nearest anchor is that of the vector itself, but for what rounding to integers can do.
void expect_nearest(const Model& model, const std::vector<float>& u, int shift, int64_t met) {
    const auto distance = [&](int64_t j) { // less |u|^2
        double sum = 0;
        for (int k = 0; k < model.d; k++) {
            const double a = model.anchors8[j * model.dp() + k];
            sum += a * a - 2 * a * u[k];
        }
        return sum;
    };
    for (int j = 0; j < model.m; j++) {
        double apart = 2;
        for (int k = 0; k < model.d; k++) {
            apart += std::abs(model.anchors8[j * model.dp() + k] -
                              model.anchors8[met * model.dp() + k]);
        }
        const double slack = 1e-9 * std::fabs(distance(j));
        ASSERT_LE(distance(met), distance(j) + std::ldexp(apart, shift - 1) + slack) << j;
    }
}

/// Ranks and assigns vectors of any length; every list of every one goes into the digest.
std::string ranked() {
    uint64_t hash = digest(nullptr, 0);
    int off = 0;
    for (const int d : {1, 3, 16, 37, 130}) {
        const idx_t n = 24;
        Random random{uint64_t(d)};
        const IndexVLC index = trained_on(d, 40, random.normals(size_t(800) * d));
        const Model& model = *index.model;
        const RankTables& ranks = model.derived().ranks;
        Query query(model);
        for (const double times : kTimes) {
            const std::vector<float> x = random.normals(size_t(n) * d, times);
            std::vector<int64_t> list(n);
            assign_to_anchors(model, n, x.data(), list.data());
            for (idx_t i = 0; i < n; i++) {
                EXPECT_TRUE(query.set(&x[i * d]));
                const std::vector<int64_t> order = query.rank(model.m);
                hash = digest(order.data(), order.size() * sizeof(order[0]), hash);
                hash = digest(&list[i], sizeof(list[i]), hash);
                const std::vector<float> u = in_lattice(model, &x[i * d]);
                const int shift = OffLattice::of(d, u.data()).shift;
                if (shift == 0) {
                    continue; // Query.RanksListsByTheRoundedQueryAndTheirSpread
                }
                off++;
                EXPECT_EQ(order, order_of(scores_of(model, u, shift, ranks.offset))) << d;
                EXPECT_EQ(list[i], order_of(scores_of(model, u, shift, ranks.norm))[0]) << d;
                expect_nearest(model, u, shift, list[i]);
            }
        }
    }
    EXPECT_GT(off, 400);
    return std::string(simd().name) + " " + std::to_string(hash);
}

TEST(OffLatticeChild, DISABLED_Ranked) {
    report(ranked());
}

TEST(OffLattice, RanksAndAssignsByTheVectorItselfAtEveryLevel) {
    const std::string own = ranked();
    const std::string hash = own.substr(own.find(' '));
    for (const char* const* level = simd_levels(); *level; level++) {
        EXPECT_EQ(run_child("OffLatticeChild.DISABLED_Ranked", std::string("VLC_SIMD=") + *level),
                  *level + hash);
    }
}

TEST(OffLattice, OnlyWhereClampingTakesMuchAway) {
    const auto shift = [](std::vector<float> u) {
        return OffLattice::of(int(u.size()), u.data()).shift;
    };
    const float infinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(shift({3, -127, 127, 0}), 0);
    EXPECT_EQ(shift({100, -135, 90, 80}), 0);
    EXPECT_EQ(shift({100, -200, 90, 80}), 1);
    EXPECT_EQ(shift({0, 0, 0, 16256}), 1);
    EXPECT_EQ(shift({0, 0, 0, 16257}), 2);
    EXPECT_EQ(shift({1, -3e38f}), 115);
    EXPECT_EQ(shift({1, infinity}), 0);
    EXPECT_EQ(shift({1, std::nanf(""), 1000}), 0);
    EXPECT_EQ(shift({}), 0);
    // so many dimensions that products would leave int32
    EXPECT_EQ(shift(std::vector<float>(16384, 129)), 0);
    EXPECT_EQ(shift(std::vector<float>(16384, 1000)), 4);
}

TEST(OffLattice, FarIsBeyondTwiceTheLattice) {
    const auto far = [](std::vector<float> u) {
        return OffLattice::of(int(u.size()), u.data()).far;
    };
    EXPECT_FALSE(far({254, 0, -3}));
    EXPECT_TRUE(far({255, 0, -3}));
    EXPECT_TRUE(far({0, -3e9f}));
    EXPECT_FALSE(far(std::vector<float>(16384, 129)));
    std::vector<float> long_one(16384, 127); // an ordinary one
    long_one[5] = -300;
    EXPECT_FALSE(far(long_one));
}

// What devices do for the lists that add() takes, and threads.
TEST(OffLattice, DevicesLeaveItToTheCpu) {
    const int d = 24;
    const idx_t n = 3000;
    Random random(5);
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Model& model = *trained(metric).model;
        const std::vector<float> x = random.normals(n * d, 500);
        std::vector<int64_t> expected(n);
        assign_to_anchors(model, n, x.data(), expected.data());
        std::vector<int8_t> x8(size_t(n) * model.dp());
        for (idx_t i = 0; i < n; i++) {
            model.to_assign(&x[i * d], &x8[i * model.dp()]);
        }
        std::vector<int32_t> met(n, -1), clamped(n);
        AnchorRanking::assign(model, int(n), x8.data(), clamped.data());
        for (const idx_t some : {idx_t(100), n}) { // a thread, all threads
            met = clamped;
            correct_off_lattice(model, some, x.data(), x8.data(), met.data());
            EXPECT_TRUE(std::equal(met.begin(), met.begin() + some, expected.begin()));
            EXPECT_TRUE(std::equal(met.begin() + some, met.end(), clamped.begin() + some));
        }
        EXPECT_NE(met, clamped);
    }
}

// Queries that share a ranking with ordinary ones.
TEST(OffLattice, GroupsRankAsSingleQueriesDo) {
    const Model& model = *trained().model;
    std::vector<float> x = queries();
    for (idx_t q = 0; q < kQueries; q += q % 8 ? 5 : 3) {
        for (int k = 0; k < kDim; k++) {
            x[q * kDim + k] *= 40;
        }
    }
    QueryGroup group(model, int(kQueries));
    group.set(int(kQueries), x.data());
    group.rank(7);
    for (int q = 0; q < kQueries; q++) {
        Query alone(model);
        ASSERT_TRUE(alone.set(&x[q * kDim]));
        EXPECT_EQ(std::vector<int64_t>(group.lists(q), group.lists(q) + 7), alone.rank(7)) << q;
    }
}

// Far rows are where their list's anchor is nearest, so that few lists hold their neighbours.
TEST(OffLattice, FarRowsAreFoundWithFewLists) {
    const int d = 16;
    Random random(9);
    IndexVLC index = trained_on(d, 32, random.normals(size_t(3000) * d));
    const std::vector<float> far = random.normals(size_t(400) * d, 30);
    std::vector<idx_t> list(400);
    index.quantizer->assign(400, far.data(), list.data());
    std::vector<float> anchors(size_t(32) * d);
    index.quantizer->reconstruct_n(0, 32, anchors.data());
    int nearest = 0;
    for (int i = 0; i < 400; i++) {
        std::vector<double> distance(32);
        for (int j = 0; j < 32; j++) {
            distance[j] = true_distance(d, &far[i * d], &anchors[j * d]);
        }
        const auto least = std::min_element(distance.begin(), distance.end());
        nearest += list[i] == idx_t(least - distance.begin());
    }
    EXPECT_GE(nearest, 396);
}

} // namespace
} // namespace faiss_vlc
