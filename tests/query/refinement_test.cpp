#include <faiss_vlc/query/refinement.h>

#include <cmath>
#include <limits>
#include <memory>

#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/lists.h>

#include <tests/second/tier_fixture.h>
#include <tests/support/index_vlc_test.h>
#include <tests/support/word_index.h>

namespace faiss_vlc {
namespace {

/// The index's training with a second tier of these widths, and x in it.
std::unique_ptr<IndexVLC> with_tier(const IndexVLC& index, const std::vector<uint8_t>& width,
                                    int factor_bytes, const std::vector<float>& x) {
    auto model = std::make_shared<Model>(*index.model);
    auto tier = std::make_shared<SecondTier>(tier_of(model->d, width, factor_bytes));
    tier->unit = std::sqrt(model->estimator.energy);
    model->add_second(tier);
    auto made = std::make_unique<IndexVLC>(model, index.parameters);
    made->add(idx_t(x.size()) / index.d, x.data());
    return made;
}

/// |q - x|^2 or -<q, x> as both tiers know it, in doubles and squared lattice units.
double plain_estimate(const Model& model, int j, const uint8_t* code, const std::vector<float>& q) {
    const int d = model.d;
    const bool product = model.metric == faiss::METRIC_INNER_PRODUCT;
    std::vector<float> x(size_t(d), 0.0f), start(x);
    model.decode(j, code, x.data());
    model.start_of(j, start.data());
    const double scale = model.lattice.scale;
    const SecondFactors factors = model.second->factors(code + model.layout.code_size());
    double from = 0, dot = 0, own = 0, begin = 0;
    for (int k = 0; k < d; k++) {
        const double mean = model.lattice.mean[size_t(k)];
        const double a = start[size_t(k)], r = (x[size_t(k)] - mean) * scale - a;
        const double v = (q[size_t(k)] - (product ? 0 : mean)) * scale;
        from += (v - a) * (v - a);
        begin += v * a;
        dot += (product ? v : v - a) * r;
        own += r * r;
    }
    const double alpha = factors.alpha;
    return product ? -begin - (1 + alpha) * dot
                   : from - 2 * (1 + alpha) * dot + (1 + 2 * alpha) * own;
}

/// Every estimate is near the plain one, which most are that of another second code are not.
void expect_plain_estimates(const IndexVLC& index, const std::vector<float>& queries,
                            double within) {
    const Model& model = *index.model;
    const int d = model.d;
    Query query(model);
    Refinement refinement(model);
    double worst = 0, usual = 0;
    std::vector<uint8_t> code(index.code_size + 2 * kChunk);
    for (size_t at = 0; at < queries.size(); at += size_t(d)) {
        const std::vector<float> q(&queries[at], &queries[at] + d);
        ASSERT_TRUE(query.set(q.data()));
        refinement.forget();
        for (size_t j = 0; j < index.nlist; j++) {
            for (size_t i = 0; i < index.lists().list_size(j); i++) {
                index.lists().copy_code(j, i, code.data());
                const double met = query.refined(refinement, int(j), code.data(),
                                                 &code[size_t(model.layout.code_size())]);
                const double plain = plain_estimate(model, int(j), code.data(), q);
                worst = std::max(worst, std::fabs(met - plain));
                usual = std::max(usual, std::fabs(plain));
            }
        }
    }
    EXPECT_LT(worst, within * usual);
}

TEST(Refinement, EstimatesAreThoseOfDecodedVectorsByLevels) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const bool product = metric == faiss::METRIC_INNER_PRODUCT;
        for (const int d : {1, 2, 3, 4, 24}) {
            const std::vector<float> x = clustered(400, d, 8, 21);
            VLCParameters p = quick(7, d + kFactorBytes);
            p.codec = Codec::lattice;
            IndexVLC index(d, p, metric);
            index.train(400, x.data());
            for (const int bytes : kEveryFactors) {
                if (bytes > 1 && product != (bytes == kProductFactors)) {
                    continue;
                }
                std::vector<uint8_t> width(size_t(d), 3);
                width[0] = 8;
                SCOPED_TRACE(std::to_string(d) + " " + std::to_string(bytes));
                expect_plain_estimates(*with_tier(index, width, bytes, x), clustered(5, d, 5, 22),
                                       2e-3);
            }
        }
    }
}

TEST(Refinement, EstimatesAreThoseOfDecodedVectorsByWords) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const int d = 7;
        const std::vector<float> x = clustered(300, d, 6, 23);
        for (const Words& words : kWordKinds) {
            const auto index = word_index(words, d, 5, x, metric);
            SCOPED_TRACE(std::to_string(words.code_bytes) + " " +
                         std::to_string(words.factor_bytes));
            expect_plain_estimates(*with_tier(*index, {8, 6, 5, 4, 3, 2, 1},
                                              metric == faiss::METRIC_L2 ? 3 : 2, x),
                                   clustered(6, d, 5, 24), 2e-3);
        }
    }
}

// One query's estimates don't depend on what was asked before: of other lists or other queries.
TEST(Refinement, KeepsNothingOfOtherListsAndQueries) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const IndexVLC plain = filled(metric);
        const auto index = with_tier(plain, std::vector<uint8_t>(kDim, 4),
                                     metric == faiss::METRIC_L2 ? 3 : 2, base());
        const Model& model = *index->model;
        Query kept(model);
        Refinement refinement(model);
        Random random(5);
        std::vector<uint8_t> code(index->code_size + 2 * kChunk);
        for (int trial = 0; trial < 300; trial++) {
            const float* q = &queries()[size_t(random.between(0, kQueries - 1)) * kDim];
            if (trial % 7 == 0) {
                kept.set(std::vector<float>(kDim, std::numeric_limits<float>::quiet_NaN()).data());
            }
            ASSERT_TRUE(kept.set(q));
            refinement.forget();
            for (int list = 0; list < 3; list++) {
                const auto j = size_t(random.between(0, int64_t(index->nlist) - 1));
                if (index->lists().list_size(j) == 0) {
                    continue;
                }
                index->lists().copy_code(j, 0, code.data());
                if (list == 1) {
                    kept.list(int(j)); // scanning beside it
                }
                Query fresh(model);
                Refinement other(model);
                fresh.set(q);
                const uint8_t* second = &code[size_t(model.layout.code_size())];
                ASSERT_EQ(kept.refined(refinement, int(j), code.data(), second),
                          fresh.refined(other, int(j), code.data(), second));
            }
        }
    }
}

// Numbers, at least, of queries that are far from everything.
TEST(Refinement, HugeQueriesHaveEstimates) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const auto index = with_tier(trained(metric), std::vector<uint8_t>(kDim, 4),
                                     metric == faiss::METRIC_L2 ? 3 : 2, base());
        Query query(*index->model);
        Refinement refinement(*index->model);
        std::vector<uint8_t> code(index->code_size + 2 * kChunk);
        for (const float size : {0.0f, 1e-38f, 1e-30f, 1e6f, 1e12f, 1e18f, 1e30f, 3e38f}) {
            ASSERT_TRUE(query.set(std::vector<float>(kDim, size).data()));
            refinement.forget();
            for (size_t j = 0; j < index->nlist; j++) {
                if (index->lists().list_size(j) > 0) {
                    index->lists().copy_code(j, 0, code.data());
                    const float met =
                            query.refined(refinement, int(j), code.data(),
                                          &code[size_t(index->model->layout.code_size())]);
                    EXPECT_FALSE(std::isnan(query.distance(met))) << size;
                    EXPECT_FALSE(std::isnan(met)) << size;
                }
            }
        }
    }
}

} // namespace
} // namespace faiss_vlc
