// What training counts of held-out vectors, against brute force, and what it says about it.

#include <faiss_vlc/tune/held_out.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include <faiss/IndexPQ.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/tune/steps.h>
#include <faiss_vlc/tune/tune.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

VLCParameters parameters(int m, int bytes) {
    VLCParameters p;
    p.m = m;
    p.bytes = bytes;
    p.device = "reference";
    p.iterations = 6;
    return p;
}

/// A training, with all that it was made of.
struct Trained {
    Sample sample;
    Anchors anchors;
    Model model;
    Trial wide;

    Trained(const std::vector<float>& x, int d, const VLCParameters& p, faiss::MetricType metric)
        : sample(draw_sample(int64_t(x.size()) / d, d, x.data(), p)) {
        ReferenceEngine engine;
        anchors = anneal(engine, sample, p, false);
        model = tune_model(sample, anchors, p, metric);
        wide = widen(make_trial(sample, model), model);
    }
};

/// True neighbours of a held-out row, by distances in double precision.
std::set<int> neighbours(const Trained& t, const float* query) {
    std::vector<std::pair<double, int>> order;
    for (size_t i = 0; i < t.wide.base.size(); i++) {
        order.emplace_back(true_distance(t.model.d, query, t.sample.vector(t.wide.base[i]),
                                         t.model.metric == faiss::METRIC_INNER_PRODUCT),
                           int(i));
    }
    std::sort(order.begin(), order.end());
    std::set<int> nearest;
    for (int i = 0; i < 10; i++) {
        nearest.insert(order[i].second);
    }
    return nearest;
}

/// How many of `wanted` are among the first 10 by value.
int hits(const std::set<int>& wanted, const std::vector<std::pair<double, int>>& values) {
    std::vector<std::pair<double, int>> order = values;
    std::sort(order.begin(), order.end());
    int count = 0;
    for (size_t i = 0; i < std::min<size_t>(10, order.size()); i++) {
        count += int(wanted.count(order[i].second));
    }
    return count;
}

TEST(HeldOut, CountsAreThoseOfBruteForce) {
    const int d = 24;
    const std::vector<float> x = clustered(3000, d, 40, 3);
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Trained t(x, d, parameters(30, 8), metric);
        const HeldOutRecall& met = t.model.recall;
        const Terms terms = estimate_terms(t.sample, t.anchors, t.wide, t.model);
        int64_t in_lists = 0, decoded = 0, estimated = 0, probed = 0;
        Model::Coder coder(t.model);
        std::vector<uint8_t> code(t.model.layout.code_size());
        std::vector<float> back(d), estimate;
        Query query(t.model);
        for (size_t q = 0; q < t.wide.queries.size(); q++) {
            const std::set<int> wanted = neighbours(t, t.wide.queries[q]);
            query.set(t.wide.queries[q]);
            const std::vector<int64_t> lists = query.rank(t.model.default_nprobe);
            estimate_all(t.wide, terms, t.model, t.model.estimator, q, estimate);
            std::vector<std::pair<double, int>> all, some, plain;
            for (size_t c = 0; c < estimate.size(); c++) {
                const int i = t.wide.candidate[q * t.wide.candidates + c];
                const int64_t row = t.wide.base[i];
                const int j = t.anchors.label[row];
                all.emplace_back(estimate[c], i);
                if (std::count(lists.begin(), lists.end(), j) > 0) {
                    some.emplace_back(estimate[c], i);
                    in_lists += int64_t(wanted.count(i));
                }
                coder.encode(t.sample.vector(row), j, code.data());
                t.model.decode(j, code.data(), back.data());
                plain.emplace_back(true_distance(d, t.wide.queries[q], back.data(),
                                                 metric == faiss::METRIC_INNER_PRODUCT),
                                   i);
            }
            estimated += hits(wanted, all);
            probed += hits(wanted, some);
            decoded += hits(wanted, plain);
        }
        EXPECT_EQ(met.queries, int64_t(t.wide.queries.size()));
        EXPECT_EQ(met.base, int64_t(t.wide.base.size()));
        EXPECT_EQ(met.sought, 10 * met.queries);
        EXPECT_EQ(met.nprobe, t.model.default_nprobe);
        EXPECT_EQ(met.in_lists, in_lists);
        EXPECT_EQ(met.estimated, estimated);
        EXPECT_EQ(met.probed, probed);
        // <r, r^> stands for |r^|^2
        EXPECT_NEAR(double(met.decoded), double(decoded), 0.05 * double(met.sought));
        EXPECT_EQ(met.on_lattice, met.sought);
        EXPECT_LE(met.probed, met.in_lists);
        EXPECT_EQ(met.product, 0); // of so few rows
        EXPECT_GT(met.estimated, met.sought / 2);
        EXPECT_FLOAT_EQ(fit_usual_length(t.sample, t.anchors, t.model), t.model.usual_length);
        EXPECT_LT(t.model.usual_length, 10);
    }
}

// One anchor in the middle: then it is FAISS's product quantizer of the vectors.
TEST(HeldOut, ProductQuantizerFindsWhatFaissesDoes) {
    const int d = 32;
    const std::vector<float> x = Random(4).normals(size_t(6000) * d);
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const int bytes = metric == faiss::METRIC_L2 ? 8 : 16;
        VLCParameters p = parameters(1, bytes);
        p.codec = Codec::lattice; // whichever: the product quantizer knows nothing of it
        p.max_points_per_anchor = 6000;
        const Trained t(x, d, p, metric);
        faiss::IndexPQ pq(d, bytes, 8, metric);
        std::vector<float> base;
        for (const int64_t row : t.wide.base) {
            base.insert(base.end(), t.sample.vector(row), t.sample.vector(row) + d);
        }
        const auto n = int64_t(t.wide.base.size());
        pq.pq.cp.niter = 8;
        pq.train(n, base.data());
        pq.add(n, base.data());
        int64_t found = 0;
        for (const float* query : t.wide.queries) {
            std::vector<float> distance(10);
            std::vector<faiss::Index::idx_t> label(10);
            pq.search(1, query, 10, distance.data(), label.data());
            const std::set<int> wanted = neighbours(t, query);
            for (const int64_t i : label) {
                found += int64_t(wanted.count(int(i)));
            }
        }
        const auto sought = double(t.model.recall.sought);
        EXPECT_NEAR(double(t.model.recall.product) / sought, double(found) / sought, 0.04) << bytes;
        EXPECT_LT(found, t.model.recall.sought);
    }
}

/// What training says to stderr.
std::string said(const std::vector<float>& x, int d, const VLCParameters& p,
                 HeldOutRecall* recall = nullptr) {
    IndexVLC index(d, p);
    testing::internal::CaptureStderr();
    index.train(int64_t(x.size()) / d, x.data());
    if (recall) {
        *recall = index.held_out_recall();
    }
    return testing::internal::GetCapturedStderr();
}

TEST(HeldOut, WarnsWhereCodesFindLessThanAProductQuantizers) {
    const int d = 64, n = 6000;
    Random random(6);
    std::vector<float> one_hot(size_t(n) * d, 0);
    for (int i = 0; i < n; i++) {
        for (int part = 0; part < 4; part++) { // one of 16, few of them often
            const double u = random.unit();
            one_hot[size_t(i) * d + part * 16 + int(16 * u * u * u)] = 1;
        }
        one_hot[size_t(i) * d] += float(0.1 * random.normal());
    }
    VLCParameters levels = parameters(32, 8);
    levels.codec = Codec::lattice; // words are what would be better
    const std::string bad = said(one_hot, d, levels);
    EXPECT_NE(bad.find("by a product quantizer of as many bytes"), std::string::npos) << bad;
    EXPECT_EQ(std::count(bad.begin(), bad.end(), '\n'), 1);

    const Matrix<float> good = sift("base.npy", 6000);
    for (const int bytes : {16, 32, 64}) {
        EXPECT_EQ(said(good.data, good.d, parameters(32, bytes)), "") << bytes;
    }
}

// Eight groups whose centres lie farther and farther apart: lists can be told apart on the lattice
// until its steps are some times as wide as a group.
TEST(HeldOut, WarnsOfACoarseLatticeWhereItCostsRecall) {
    const int d = 48, n = 6000;
    Random random(8);
    const std::vector<float> centre = random.normals(size_t(8) * d);
    const std::vector<float> axes = random.normals(size_t(12) * d, std::sqrt(1.0 / 12));
    const std::vector<float> inner = random.normals(size_t(n) * 12, 3.5);
    double recall[3] = {};
    const float far[] = {30, 300, 5000};
    for (int f = 0; f < 3; f++) {
        std::vector<float> x(size_t(n) * d);
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < d; k++) {
                float& v = x[size_t(i) * d + k];
                v = far[f] * centre[i % 8 * d + k];
                for (int a = 0; a < 12; a++) {
                    v += inner[i * 12 + a] * axes[a * d + k];
                }
            }
        }
        HeldOutRecall held;
        const std::string met = said(x, d, parameters(64, 16), &held);
        const bool coarse = met.find("the int8 lattice, with steps of") != std::string::npos;
        EXPECT_EQ(coarse, far[f] == 5000) << far[f] << ": " << met;
        recall[f] = double(held.estimated) / double(held.sought);
    }
    EXPECT_NEAR(recall[1], recall[0], 0.1);
    EXPECT_LT(recall[2], recall[0] - 0.3);
}

// Hundreds of rows lie on each point of the lattice that has any.
TEST(HeldOut, NeighboursAreExactWhereTheLatticeIsCoarse) {
    const int d = 3, n = 4000, groups = 5;
    Random random(9);
    const std::vector<float> centre = random.normals(size_t(groups) * d, 100.0f);
    std::vector<float> x = random.normals(size_t(n) * d, 0.5f);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] += centre[i / d % groups * d + i % d];
    }
    const Trained t(x, d, parameters(8, 3), faiss::METRIC_L2);
    const Trial trial = make_trial(t.sample, t.model);
    ASSERT_GT(trial.base.size(), size_t(trial.candidates));
    int64_t right = 0;
    for (size_t q = 0; q < trial.queries.size(); q++) {
        const std::set<int> wanted = neighbours(t, trial.queries[q]);
        for (int c = 0; c < 10; c++) {
            right += int64_t(wanted.count(trial.candidate[q * trial.candidates + c]));
        }
    }
    EXPECT_GE(double(right), 0.995 * 10 * double(trial.queries.size())); // floats
}

// Else the fewer codes there are, the better they would look.
TEST(HeldOut, EqualEstimatesShareTheirPlaces) {
    Trial trial;
    const float query = 0;
    trial.queries = {&query, &query};
    trial.neighbours = 10;
    trial.candidates = 20;
    Model model;
    model.layout.factor_bytes = 0;
    Terms terms;
    terms.square.assign(40, 0);
    terms.dot.assign(40, 0);
    terms.gamma.assign(40, -1);
    terms.list_distance.assign(40, 1);
    EXPECT_EQ(found_by(trial, terms, model), 10); // half of 20
    for (int c = 0; c < 20; c++) {
        terms.list_distance[c] = float(c); // the first query's
    }
    EXPECT_EQ(found_by(trial, terms, model), 15);
    std::fill_n(terms.list_distance.begin() + 5, 10, 5.0f); // five true ones and five others
    EXPECT_EQ(found_by(trial, terms, model), 5 + 2 + 5);    // 2.5 for five places
}

// 256 words hold eight zeros and ones exactly, but not what lists' anchors make of them.
TEST(HeldOut, WordsAreOfWholeVectorsWhereValuesRepeat) {
    const int d = 64, n = 4000;
    Random random(10);
    std::vector<float> share(size_t(10) * d);
    for (float& s : share) {
        s = float(random.unit());
    }
    std::vector<float> x(size_t(n) * d);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = random.unit() < share[i / d % 10 * d + i % d] ? 1.0f : 0.0f;
    }
    const Trained t(x, d, parameters(16, 8), faiss::METRIC_L2);
    EXPECT_TRUE(t.model.whole_words);
    EXPECT_EQ(t.model.layout.factor_bytes, 0);
    EXPECT_GT(double(t.model.recall.estimated), 0.85 * double(t.model.recall.sought));
    const Trained products(x, d, parameters(16, 8), faiss::METRIC_INNER_PRODUCT);
    EXPECT_GT(double(products.model.recall.estimated), 0.8 * double(products.model.recall.sought));
    for (float& v : x) {
        v += float(0.1 * random.normal());
    }
    EXPECT_FALSE(Trained(x, d, parameters(16, 8), faiss::METRIC_L2).model.whole_words);
}

TEST(HeldOut, IsTheSameWithAnyThreads) {
    const std::vector<float> x = clustered(2000, 20, 30, 5);
    HeldOutRecall one, other;
    for (const int threads : {1, 3}) {
        omp_set_num_threads(threads);
        const Trained t(x, 20, parameters(16, 10), faiss::METRIC_L2);
        (threads == 1 ? one : other) = t.model.recall;
    }
    EXPECT_GT(one.sought, 0);
    for (const auto member :
         {&HeldOutRecall::queries, &HeldOutRecall::base, &HeldOutRecall::sought,
          &HeldOutRecall::nprobe, &HeldOutRecall::in_lists, &HeldOutRecall::decoded,
          &HeldOutRecall::estimated, &HeldOutRecall::probed, &HeldOutRecall::product,
          &HeldOutRecall::on_lattice}) {
        EXPECT_EQ(one.*member, other.*member);
    }
}

} // namespace
} // namespace faiss_vlc
