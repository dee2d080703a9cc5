#include <faiss_vlc/IndexVLC.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include <faiss/IndexHNSW.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/IDSelector.h>

#include "unit_test.h"

namespace faiss_vlc {
namespace {

using idx_t = int64_t;

constexpr int kDim = 24;
constexpr idx_t kCount = 1500;
constexpr idx_t kQueries = 40;
constexpr float kMost = std::numeric_limits<float>::max();

VLCParameters small(int m = 20, float bits = 4) {
    VLCParameters p;
    p.m = m;
    p.bits_per_dim = bits;
    p.device = "reference";
    p.iterations = 6;
    return p;
}

const std::vector<float>& base() {
    static const std::vector<float> x = clustered(kCount, kDim, 60, 11);
    return x;
}

const std::vector<float>& queries() {
    static const std::vector<float> x = [] {
        Random random(12);
        std::vector<float> q(kQueries * kDim);
        for (idx_t i = 0; i < kQueries; i++) {
            for (int k = 0; k < kDim; k++) {
                q[i * kDim + k] = base()[i * 31 * kDim + k] + float(0.1 * random.normal());
            }
        }
        return q;
    }();
    return x;
}

/// Trained once; tests take copies.
const IndexVLC& trained(faiss::MetricType metric = faiss::METRIC_L2) {
    static std::map<int, std::unique_ptr<IndexVLC>> made;
    std::unique_ptr<IndexVLC>& index = made[int(metric)];
    if (!index) {
        index = std::make_unique<IndexVLC>(kDim, small(), metric);
        index->train(kCount, base().data());
    }
    return *index;
}

IndexVLC filled(faiss::MetricType metric = faiss::METRIC_L2) {
    IndexVLC index(trained(metric));
    index.add(kCount, base().data());
    return index;
}

struct Results {
    std::vector<float> distance;
    std::vector<idx_t> label;
    bool operator==(const Results& o) const {
        return label == o.label && distance == o.distance;
    }
};

Results search(const IndexVLC& index, idx_t k, const faiss::SearchParameters* params = nullptr,
               const std::vector<float>& x = queries()) {
    const idx_t n = idx_t(x.size()) / index.d;
    Results r{std::vector<float>(n * k, -7), std::vector<idx_t>(n * k, -7)};
    index.search(n, x.data(), k, r.distance.data(), r.label.data(), params);
    return r;
}

faiss::SearchParametersIVF probing(size_t nprobe) {
    faiss::SearchParametersIVF params;
    params.nprobe = nprobe;
    return params;
}

template <class Body>
std::string message_of(Body body) {
    try {
        body();
    } catch (const faiss::FaissException& error) {
        return error.what();
    }
    return "nothing thrown";
}

#define EXPECT_MESSAGE(body, part)                                          \
    do {                                                                    \
        const std::string text = message_of([&] { body; });                 \
        EXPECT_NE(text.find(part), std::string::npos) << "message: " << text; \
    } while (0)

double recall(const Results& r, idx_t k, const std::vector<float>& x, bool inner_product) {
    idx_t hits = 0;
    const idx_t n = kQueries;
    for (idx_t q = 0; q < n; q++) {
        std::vector<std::pair<double, idx_t>> order;
        for (idx_t i = 0; i < idx_t(x.size()) / kDim; i++) {
            order.emplace_back(true_distance(kDim, &queries()[q * kDim], &x[i * kDim], inner_product), i);
        }
        std::partial_sort(order.begin(), order.begin() + k, order.end());
        for (idx_t i = 0; i < k; i++) {
            hits += std::count(&r.label[q * k], &r.label[q * k] + k, order[i].second);
        }
    }
    return double(hits) / double(n * k);
}

TEST(Constructor, SetsFieldsAndDefaults) {
    const IndexVLC plain(kDim);
    EXPECT_EQ(plain.d, kDim);
    EXPECT_EQ(plain.metric_type, faiss::METRIC_L2);
    EXPECT_FALSE(plain.is_trained);
    EXPECT_EQ(plain.ntotal, 0);
    EXPECT_EQ(plain.code_size, size_t(kDim * 2 / 8 + 2));
    const IndexVLC four(kDim, 7, 4, faiss::METRIC_INNER_PRODUCT);
    EXPECT_EQ(four.nlist, 7u);
    EXPECT_EQ(four.code_size, size_t(kDim * 4 / 8 + 2));
    EXPECT_EQ(four.metric_type, faiss::METRIC_INNER_PRODUCT);
    VLCParameters bytes = small();
    bytes.bytes = 9;
    EXPECT_EQ(IndexVLC(kDim, bytes).code_size, 9u);
}

TEST(Constructor, ChoosesTheNumberOfAnchors) {
    IndexVLC index(kDim, small(0));
    index.train(kCount, base().data());
    EXPECT_EQ(index.nlist, size_t(kCount / 39)); // fewer than 4 sqrt(n) = 152
    EXPECT_EQ(index.quantizer->ntotal, idx_t(index.nlist));
}

TEST(Constructor, NamesWhatIsWrong) {
    const auto with = [](auto change) {
        VLCParameters p = small();
        change(p);
        IndexVLC index(kDim, p);
    };
    EXPECT_MESSAGE(IndexVLC(0), "d:");
    EXPECT_MESSAGE(IndexVLC(-3), "d:");
    EXPECT_MESSAGE(IndexVLC(5000), "d:");
    EXPECT_MESSAGE(IndexVLC(8, -1), "m:");
    EXPECT_MESSAGE(IndexVLC(8, 4, 0), "bits_per_dim");
    EXPECT_MESSAGE(IndexVLC(8, 4, 9), "bits_per_dim");
    EXPECT_MESSAGE(IndexVLC(8, 4, NAN), "bits_per_dim");
    EXPECT_MESSAGE(IndexVLC(8, 4, 2, faiss::METRIC_L1), "METRIC_L2");
    EXPECT_MESSAGE(with([](auto& p) { p.bytes = 2; }), "bytes");
    EXPECT_MESSAGE(with([](auto& p) { p.work_group = 100; }), "work_group");
    EXPECT_MESSAGE(with([](auto& p) { p.iterations = 0; }), "iterations");
    EXPECT_MESSAGE(with([](auto& p) { p.neighbours = 5; }), "neighbours");
    EXPECT_MESSAGE(with([](auto& p) { p.held_out = 0.6f; }), "held_out");
    EXPECT_MESSAGE(with([](auto& p) { p.kappa = NAN; }), "kappa");
    EXPECT_MESSAGE(with([](auto& p) { p.tilt = NAN; }), "tilt");
    EXPECT_MESSAGE(with([](auto& p) { p.checkpoint_every = 2; }), "checkpoint");
    EXPECT_MESSAGE(with([](auto& p) { p.end_temperature = 1; }), "end_temperature");
}

TEST(Train, RefusesWhatItCannotUse) {
    IndexVLC index(kDim, small());
    EXPECT_MESSAGE(index.train(19, base().data()), "m = 20");
    EXPECT_MESSAGE(index.train(0, base().data()), "0");
    std::vector<float> bad = base();
    for (float v : {float(NAN), float(INFINITY), -float(INFINITY)}) {
        bad[777 * kDim + 5] = v;
        EXPECT_MESSAGE(index.train(kCount, bad.data()), "777");
        EXPECT_FALSE(index.is_trained);
        EXPECT_EQ(index.model, nullptr);
    }
    index.parameters.device = "opencl:no such device";
    EXPECT_MESSAGE(index.train(kCount, base().data()), "no such device");
    EXPECT_FALSE(index.is_trained);
}

TEST(Train, UntrainedDoesNothing) {
    IndexVLC index(kDim, small());
    std::vector<float> x(kDim), out(kDim);
    idx_t label;
    std::vector<uint8_t> code(64);
    EXPECT_MESSAGE(index.add(1, x.data()), "trained");
    EXPECT_MESSAGE(index.search(1, x.data(), 1, out.data(), &label), "trained");
    EXPECT_MESSAGE(index.reconstruct(0, out.data()), "trained");
    EXPECT_MESSAGE(index.sa_encode(1, x.data(), code.data()), "trained");
    EXPECT_MESSAGE(index.sa_decode(1, code.data(), out.data()), "trained");
    faiss::RangeSearchResult result(1);
    EXPECT_MESSAGE(index.range_search(1, x.data(), 1, &result), "trained");
}

TEST(Train, ResetAndRetrain) {
    IndexVLC index = filled();
    EXPECT_MESSAGE(index.train(kCount, base().data()), "empty");
    EXPECT_EQ(index.ntotal, kCount);
    index.reset();
    EXPECT_EQ(index.ntotal, 0);
    EXPECT_TRUE(index.is_trained);
    const Results none = search(index, 3);
    EXPECT_EQ(std::count(none.label.begin(), none.label.end(), -1), idx_t(none.label.size()));
    index.add(kCount, base().data());
    EXPECT_TRUE(search(index, 10) == search(filled(), 10));
    index.reset();
    index.parameters.m = 5;
    index.parameters.bits_per_dim = 8;
    index.train(kCount, base().data());
    EXPECT_EQ(index.nlist, 5u);
    EXPECT_EQ(index.code_size, size_t(kDim + 2));
    EXPECT_LE(index.nprobe, 5u);
    index.add(kCount, base().data());
    const auto all = probing(5);
    // At 8 bits the 6-bit mantissa of rho limits recall, not the codes: about .9 here.
    EXPECT_GT(recall(search(index, 10, &all), 10, base(), false), 0.85);
}

TEST(Train, ChoosesNprobeUnlessSet) {
    IndexVLC index(kDim, small(60));
    index.parameters.coverage = 1;
    index.train(kCount, base().data());
    EXPECT_GT(index.nprobe, 1u);
    EXPECT_EQ(index.nprobe, size_t(index.model->default_nprobe));
    index.parameters.coverage = 0.1f;
    index.parameters.m = 4;
    index.train(kCount, base().data());
    EXPECT_EQ(index.model->default_nprobe, 1);
    EXPECT_EQ(index.nprobe, size_t(index.model->default_nprobe)); // not the first training's
    IndexVLC set(kDim, small(10));
    set.nprobe = 7;
    set.train(kCount, base().data());
    EXPECT_EQ(set.nprobe, 7u);
}

TEST(Train, SameForAnyThreadCount) {
    const int threads = omp_get_max_threads();
    IndexVLC one(kDim, small()), many(kDim, small());
    omp_set_num_threads(1);
    one.train(kCount, base().data());
    one.add(kCount, base().data());
    const Results from_one = search(one, 10);
    omp_set_num_threads(7);
    many.train(kCount, base().data());
    many.add(kCount, base().data());
    const Results from_many = search(many, 10);
    omp_set_num_threads(threads);
    EXPECT_TRUE(one.model->same_as(*many.model));
    EXPECT_EQ(one.model->estimator.t2, many.model->estimator.t2);
    EXPECT_EQ(one.nprobe, many.nprobe);
    EXPECT_TRUE(from_one == from_many);
}

TEST(Add, BadVectorsLeaveTheIndexAsItWas) {
    IndexVLC index = filled();
    const Results before = search(index, 10);
    std::vector<float> bad(base().begin(), base().begin() + 100 * kDim);
    for (float v : {float(NAN), float(INFINITY)}) {
        bad[99 * kDim] = v;
        EXPECT_MESSAGE(index.add(100, bad.data()), "99");
        EXPECT_EQ(index.ntotal, kCount);
        EXPECT_TRUE(search(index, 10) == before);
    }
    index.add(0, nullptr);
    EXPECT_EQ(index.ntotal, kCount);
}

TEST(Add, WithIdsOfAllSizes) {
    IndexVLC index(trained());
    std::vector<idx_t> ids(kCount);
    for (idx_t i = 0; i < kCount; i++) {
        ids[i] = 3 * i + 5;
    }
    index.add_with_ids(1000, base().data(), ids.data());
    EXPECT_FALSE(index.lists().wide_ids());
    ids[1200] = (idx_t(1) << 40) + 1;
    ids[1300] = -9;
    index.add_with_ids(500, base().data() + 1000 * kDim, ids.data() + 1000);
    EXPECT_TRUE(index.lists().wide_ids());
    EXPECT_EQ(index.ntotal, kCount);
    const Results got = search(index, 10), plain = search(filled(), 10);
    EXPECT_EQ(got.distance, plain.distance);
    for (size_t i = 0; i < got.label.size(); i++) {
        ASSERT_EQ(got.label[i], ids[plain.label[i]]);
    }
}

TEST(Search, FindsNeighboursInBothMetrics) {
    const auto all = probing(1000); // more than there are
    EXPECT_GT(recall(search(filled(), 10, &all), 10, base(), false), 0.8);
    EXPECT_GT(recall(search(filled(faiss::METRIC_INNER_PRODUCT), 10, &all), 10, base(), true), 0.8);
    EXPECT_GT(recall(search(filled(), 10), 10, base(), false), 0.75); // the default nprobe
}

TEST(Search, DistancesAreNearTheTrueOnesAndSorted) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const bool ip = metric == faiss::METRIC_INNER_PRODUCT;
        const auto all = probing(20);
        const Results r = search(filled(metric), 10, &all);
        double error = 0, size = 0;
        for (idx_t i = 0; i < kQueries * 10; i++) {
            const double truth = true_distance(kDim, &queries()[i / 10 * kDim],
                                               &base()[r.label[i] * kDim], ip) * (ip ? -1 : 1);
            error += std::fabs(r.distance[i] - truth);
            size += std::fabs(truth);
            if (!ip) {
                EXPECT_GE(r.distance[i], 0);
            }
            if (i % 10 > 0) {
                EXPECT_TRUE(ip ? r.distance[i] <= r.distance[i - 1] : r.distance[i] >= r.distance[i - 1]);
            }
        }
        EXPECT_LT(error, 0.25 * size) << metric;
    }
}

TEST(Search, BatchIsTheSameAsOneByOneAndAsAnyThreadCount) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const IndexVLC index = filled(metric);
        const Results batch = search(index, 7);
        for (idx_t q = 0; q < kQueries; q++) {
            const Results one = search(
                    index, 7, nullptr,
                    {queries().begin() + q * kDim, queries().begin() + (q + 1) * kDim});
            ASSERT_TRUE(std::equal(one.label.begin(), one.label.end(), &batch.label[q * 7]));
            ASSERT_TRUE(std::equal(one.distance.begin(), one.distance.end(), &batch.distance[q * 7]));
        }
        const int threads = omp_get_max_threads();
        for (int t : {1, 3, 8}) {
            omp_set_num_threads(t);
            EXPECT_TRUE(search(index, 7) == batch);
        }
        omp_set_num_threads(threads);
    }
}

TEST(Search, NprobeOfParametersOverrides) {
    IndexVLC index = filled();
    index.nprobe = 20;
    const Results all = search(index, 300); // more than a list holds
    const auto one = probing(1), twenty = probing(20);
    EXPECT_TRUE(search(index, 300, &twenty) == all);
    index.nprobe = 1;
    EXPECT_TRUE(search(index, 300, &one) == search(index, 300));
    EXPECT_FALSE(search(index, 300, &one) == all);
    const auto zero = probing(0);
    EXPECT_MESSAGE(search(index, 10, &zero), "nprobe");
    faiss::SearchParametersHNSW wrong;
    EXPECT_MESSAGE(search(index, 10, &wrong), "SearchParametersIVF");
    EXPECT_MESSAGE(search(index, 0), "k >= 1");
}

TEST(Search, SelectorLeavesOthersOut) {
    const IndexVLC index = filled();
    faiss::IDSelectorRange range(100, 400);
    auto params = probing(20);
    const Results unfiltered = search(index, kCount, &params);
    params.sel = &range;
    const Results got = search(index, 10, &params);
    for (idx_t q = 0; q < kQueries; q++) {
        std::vector<idx_t> wanted;
        for (idx_t i = 0; i < kCount; i++) {
            const idx_t label = unfiltered.label[q * kCount + i];
            if (label >= 100 && label < 400) {
                wanted.push_back(label);
            }
        }
        wanted.resize(10);
        ASSERT_EQ(wanted, std::vector<idx_t>(&got.label[q * 10], &got.label[q * 10] + 10));
    }
}

TEST(Search, MoreThanThereArePadsWithMinusOne) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index(trained(metric));
        index.add(13, base().data());
        const auto all = probing(20);
        const idx_t k = 50;
        const Results r = search(index, k, &all);
        for (idx_t q = 0; q < kQueries; q++) {
            std::set<idx_t> found(&r.label[q * k], &r.label[q * k] + 13);
            EXPECT_EQ(found.size(), 13u);
            EXPECT_EQ(*found.begin(), 0);
            EXPECT_EQ(*found.rbegin(), 12);
            for (idx_t i = 13; i < k; i++) {
                ASSERT_EQ(r.label[q * k + i], -1);
                ASSERT_EQ(r.distance[q * k + i], metric == faiss::METRIC_L2 ? kMost : -kMost);
            }
        }
    }
}

TEST(Search, BadQueriesFindNothingAndHurtNobody) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const IndexVLC index = filled(metric);
        std::vector<float> x = queries();
        x[3 * kDim + 2] = NAN;
        x[5 * kDim] = INFINITY;
        const Results good = search(index, 4), bad = search(index, 4, nullptr, x);
        for (idx_t i = 0; i < kQueries * 4; i++) {
            const bool usable = i / 4 != 3 && i / 4 != 5;
            ASSERT_EQ(bad.label[i], usable ? good.label[i] : -1);
        }
        faiss::RangeSearchResult result(kQueries);
        index.range_search(kQueries, x.data(), metric == faiss::METRIC_L2 ? 5 : 1, &result);
        EXPECT_EQ(result.lims[3], result.lims[4]);
        EXPECT_EQ(result.lims[5], result.lims[6]);
        EXPECT_GT(result.lims[kQueries], 0u);
    }
}

TEST(RangeSearch, IsConsistentWithSearch) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const bool ip = metric == faiss::METRIC_INNER_PRODUCT;
        const IndexVLC index = filled(metric);
        const auto all = probing(20);
        const Results every = search(index, kCount, &all);
        for (float radius : {every.distance[5], every.distance[300], ip ? 1e9f : 0.0f, ip ? -1e9f : 1e9f}) {
            faiss::RangeSearchResult result(kQueries);
            index.range_search(kQueries, queries().data(), radius, &result, &all);
            for (idx_t q = 0; q < kQueries; q++) {
                std::map<idx_t, float> wanted, got;
                for (idx_t i = q * kCount; i < (q + 1) * kCount; i++) {
                    if (ip ? every.distance[i] > radius : every.distance[i] < radius) {
                        wanted[every.label[i]] = every.distance[i];
                    }
                }
                for (size_t i = result.lims[q]; i < result.lims[q + 1]; i++) {
                    got[result.labels[i]] = result.distances[i];
                }
                ASSERT_EQ(got.size(), result.lims[q + 1] - result.lims[q]);
                ASSERT_EQ(got, wanted) << metric << " " << radius;
            }
        }
    }
}

} // namespace
} // namespace faiss_vlc
