#include <faiss_vlc/query/anchor_ranking.h>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/query/query_group.h>

#include <tests/support/index_vlc_test.h>
#include <tests/support/region_index.h>

namespace faiss_vlc {
namespace {

// Queries that share a ranking get their own lists, scored together or not, in any order, and when
// one of them changes.
TEST(AnchorRanking, QueriesThatShareItGetTheirOwn) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Model& model = *trained(metric).model;
        const auto alone = [&](int i) {
            Query query(model);
            EXPECT_TRUE(query.set(&queries()[i * kDim]));
            return query.rank(7);
        };
        // the later ones are scored one by one
        for (int count : {2, kTogether, kTogether + 1, kManyTogether}) {
            AnchorRanking ranking(model, count);
            std::vector<std::unique_ptr<Query>> own;
            for (int q = 0; q < count + kTogether; q++) {
                own.push_back(std::make_unique<Query>(model, &ranking));
                ASSERT_TRUE(own[q]->set(&queries()[q * kDim]));
            }
            const RoundedQuery* together[kManyTogether];
            for (int q = 0; q < count; q++) {
                together[q] = &own[q]->rounded();
            }
            ranking.score(count, together);
            ASSERT_TRUE(own[2]->set(&queries()[30 * kDim]));
            EXPECT_NE(alone(30), alone(2));
            for (int q = count + kTogether - 1; q >= 0; q--) {
                EXPECT_EQ(own[q]->rank(7), alone(q == 2 ? 30 : q)) << count << " " << q;
            }
            EXPECT_EQ(own[1]->rank(7), alone(1));
        }
    }
}

// Where vectors are added: by the distance to the anchor alone.
TEST(AnchorRanking, AssignsToTheNearestAnchorWithoutBias) {
    Model model = *trained().model;
    model.bias_ranks(4);
    const int dp = model.dp(), rows = 50;
    std::vector<int8_t> x(size_t(rows) * dp);
    model.lattice.encode(rows, base().data(), x.data());
    std::vector<int32_t> label(rows);
    AnchorRanking::assign(model, rows, x.data(), label.data());
    for (int r = 0; r < rows; r++) {
        int nearest = 0, least = INT32_MAX;
        for (int j = 0; j < model.m; j++) {
            int distance = 0;
            for (int k = 0; k < dp; k++) {
                const int u = x[r * dp + k] - model.anchors8[j * dp + k];
                distance += u * u;
            }
            if (distance < least) {
                least = distance;
                nearest = j;
            }
        }
        EXPECT_EQ(label[r], nearest) << r;
    }
}

/// A model of m anchors with those of a small range, so that there are ties, and any bias.
Model model_of_ties(faiss::MetricType metric, int m, uint64_t seed) {
    const IndexVLC& index = trained(metric);
    Model model = *index.model;
    Random random(seed);
    model.m = m;
    model.grid = AnchorGrid::int8;
    model.anchors16.clear();
    model.routing = Routing();
    model.anchors8.assign(size_t(m) * model.dp(), 0);
    model.spread.clear();
    model.group.assign(size_t(m), 0);
    for (int j = 0; j < m; j++) {
        model.spread.push_back(float(random.between(1, 3)) / 2);
        for (int k = 0; k < model.d; k++) {
            model.anchors8[size_t(j) * model.dp() + k] =
                    int8_t(k < 2 ? random.between(-3, 3) * 16 : model.anchors8[k]);
        }
    }
    model.finish();
    model.bias_ranks(0.25f);
    return model;
}

std::vector<int64_t> ranked(const Model& model, int query, int n, int width = 0) {
    Query own(model);
    EXPECT_TRUE(own.set(&queries()[query * kDim]));
    EXPECT_FALSE(own.rounded().off.is());
    return own.rank(n, width);
}

// What it says: all anchors of the nearest regions in the order that all anchors have.
TEST(AnchorRanking, LooksIntoTheNearestRegions) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const int m : {2, 15, 16, 17, 100, 333}) {
            const Model exact = model_of_ties(metric, m, uint64_t(m));
            for (const int count : {2, 3, 17, 50}) {
                if (count > m) {
                    continue;
                }
                Model model = exact;
                model.set_regions(ragged_regions(exact, count, {1, 1, 2, 3, 9}, 7));
                const Regions& regions = model.regions;
                const RankTables& centres = model.derived().regions.centres;
                for (int q = 0; q < 12; q++) {
                    const std::vector<int64_t> all = ranked(exact, q, m);
                    std::vector<int32_t> order;
                    Query query(model);
                    query.set(&queries()[q * kDim]);
                    AnchorRanking::order_regions(model, centres, query.rounded(), order);
                    ASSERT_EQ(order.size(), size_t(count));
                    for (const int n : {1, 3, 8, 20, m - 1, m}) {
                        if (n > m) {
                            continue;
                        }
                        std::vector<uint8_t> visited(size_t(count), 0);
                        for (int r = 0; r < regions.visited(n); r++) {
                            visited[order[r]] = 1;
                        }
                        std::vector<int64_t> expected;
                        for (const int64_t j : all) {
                            if (visited[regions.of[j]] && int(expected.size()) < n) {
                                expected.push_back(j);
                            }
                        }
                        EXPECT_EQ(ranked(model, q, n), expected) << m << " " << count << " " << n;
                        EXPECT_EQ(ranked(model, q, n, m),
                                  std::vector<int64_t>(all.begin(), all.begin() + n));
                    }
                    EXPECT_EQ(ranked(model, q, m), all);
                }
            }
        }
    }
}

// Whoever goes on to further lists has seen the first ones.
TEST(AnchorRanking, FewerOfTheSameWidthAreTheFirstOfMore) {
    const Model exact = model_of_ties(faiss::METRIC_L2, 200, 3);
    Model model = exact;
    model.set_regions(ragged_regions(exact, 20, {1, 2, 3, 4, 5, 6, 7}, 5));
    int different = 0;
    for (int q = 0; q < 12; q++) {
        const std::vector<int64_t> many = ranked(model, q, 40, 60);
        for (const int n : {1, 2, 9, 39}) {
            const std::vector<int64_t> first(many.begin(), many.begin() + n);
            EXPECT_EQ(ranked(model, q, n, 60), first);
            different += ranked(model, q, n) != first;
        }
    }
    EXPECT_GT(different, 0);
}

// Beside those that are ranked among all anchors, with any width in any order, in groups of any
// size: of some regions the loops take four queries and more, of others one.
TEST(AnchorRanking, GroupsOfQueriesRankInRegionsAsEachAlone) {
    constexpr int kMany = AnchorRanking::kMost + 13;
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Model exact = model_of_ties(metric, 300, 8);
        Model model = exact;
        model.set_regions(ragged_regions(exact, 30, {1, 2, 3, 4, 5}, 5));
        std::vector<float> x;
        while (x.size() < size_t(kMany) * kDim) {
            x.insert(x.end(), queries().begin(), queries().end());
        }
        for (int q = int(kQueries); q < kMany; q++) { // not those from before
            x[size_t(q) * kDim] += 0.5f;
        }
        const bool some_off = metric == faiss::METRIC_L2; // products have none
        if (some_off) {
            std::fill_n(&x[5 * kDim], 3, 1e4f);
        }
        const auto alone = [&](const Model& own, int q, int n, int width) {
            Query query(own);
            EXPECT_TRUE(query.set(&x[size_t(q) * kDim]));
            EXPECT_EQ(query.rounded().off.is(), some_off && q == 5);
            return query.rank(n, width);
        };
        QueryGroup group(model, kMany);
        for (const int size : {1, 2, 3, 4, 5, 11, 32, 33, AnchorRanking::kMost, kMany}) {
            for (const auto& [n, width] :
                 {std::pair(4, 4), {300, 300}, {4, 300}, {2, 9}, {7, 16}}) {
                group.set(size, x.data());
                group.rank(n, width);
                for (int q = 0; q < size; q++) {
                    const std::vector<int64_t> lists(group.lists(q), group.lists(q) + n);
                    ASSERT_EQ(lists, alone(model, q, n, width)) << q << " " << size;
                    if ((some_off && q == 5) || width == 300) {
                        ASSERT_EQ(lists, alone(exact, q, n, 0)) << q << " " << size;
                    }
                }
            }
        }
    }
}

/// Of these every third is a little off the lattice, and one far.
std::vector<float> queries_off_lattice(const Model& model) {
    std::vector<float> x = queries();
    for (int q = 0; q < int(kQueries); q += 3) {
        put_off_lattice(model.lattice, kDim, q == 6, &x[size_t(q) * kDim]);
    }
    return x;
}

TEST(AnchorRanking, QueriesALittleOffTheLatticeLookIntoRegions) {
    const Model exact = model_of_ties(faiss::METRIC_L2, 333, 8);
    Model model = exact;
    model.set_regions(ragged_regions(exact, 40, {3}, 5));
    const Regions& regions = model.regions;
    const std::vector<float> x = queries_off_lattice(model);
    int different = 0;
    for (int q = 0; q < int(kQueries); q += 3) {
        Query of_all(exact), query(model);
        ASSERT_TRUE(of_all.set(&x[size_t(q) * kDim]));
        ASSERT_TRUE(query.set(&x[size_t(q) * kDim]));
        ASSERT_TRUE(query.rounded().off.is());
        EXPECT_EQ(query.rounded().off.far, q == 6);
        const std::vector<int64_t> all = of_all.rank(model.m);
        std::vector<int64_t> expected;
        const int32_t shift = query.rounded().off.shift;
        std::vector<std::pair<int64_t, int>> order; // as off_lattice.h scores
        for (int r = 0; r < regions.count(); r++) {
            int64_t norm = 0, dot = 0;
            for (int k = 0; k < kDim; k++) {
                const int64_t c = regions.centres[size_t(r) * model.dp() + k];
                norm += c * c;
                dot += c * (query.rounded().x[k] * 128 + query.rounded().low[k]);
            }
            order.emplace_back((norm >> shift) - dot, r);
        }
        std::sort(order.begin(), order.end());
        std::vector<uint8_t> visited(order.size(), q == 6);
        for (int i = 0; i < regions.visited(5); i++) {
            visited[order[i].second] = 1;
        }
        for (const int64_t j : all) {
            if (visited[regions.of[j]] && expected.size() < 5) {
                expected.push_back(j);
            }
        }
        EXPECT_EQ(query.rank(5), expected) << q;
        different += expected != std::vector<int64_t>(all.begin(), all.begin() + 5);
        EXPECT_EQ(query.rank(model.m), all) << q;
    }
    EXPECT_GT(different, 0);
}

TEST(AnchorRanking, GroupsWithQueriesOffTheLatticeRankAsEachAlone) {
    Model model = model_of_ties(faiss::METRIC_L2, 300, 8);
    model.set_regions(ragged_regions(model, 30, {1, 2, 3, 4, 5}, 5));
    const std::vector<float> x = queries_off_lattice(model);
    QueryGroup group(model, int(kQueries));
    for (const int size : {1, 2, 7, int(kQueries)}) {
        group.set(size, x.data());
        group.rank(4);
        for (int q = 0; q < size; q++) {
            Query alone(model);
            ASSERT_TRUE(alone.set(&x[size_t(q) * kDim]));
            const std::vector<int64_t> lists(group.lists(q), group.lists(q) + 4);
            EXPECT_EQ(lists, alone.rank(4)) << q << " " << size;
        }
    }
}

TEST(AnchorRanking, FirstForAFewListsThenForAll) {
    const Model exact = model_of_ties(faiss::METRIC_L2, 300, 8);
    Model model = exact;
    model.set_regions(ragged_regions(exact, 30, {1, 2, 3, 4, 5}, 5));
    Query query(model);
    ASSERT_TRUE(query.set(queries().data()));
    const std::vector<int64_t> few = query.rank(3);
    EXPECT_EQ(few, ranked(model, 0, 3));
    EXPECT_EQ(query.rank(300), ranked(exact, 0, 300));
    EXPECT_EQ(query.rank(3), few);
}

TEST(AnchorRanking, RegionsFollowTheBias) {
    const Model exact = model_of_ties(faiss::METRIC_L2, 120, 4);
    Model first = exact, last = exact;
    first.set_regions(ragged_regions(exact, 9, {2, 3}, 5));
    first.bias_ranks(2);
    last.bias_ranks(2);
    last.set_regions(ragged_regions(exact, 9, {2, 3}, 5));
    for (int q = 0; q < 12; q++) {
        EXPECT_EQ(ranked(first, q, 20), ranked(last, q, 20));
    }
}

} // namespace
} // namespace faiss_vlc
