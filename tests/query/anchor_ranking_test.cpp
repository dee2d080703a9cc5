#include <faiss_vlc/query/anchor_ranking.h>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/query/query.h>

#include <tests/support/index_vlc_test.h>

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

} // namespace
} // namespace faiss_vlc
