#include <faiss_vlc/tune/tune.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include <faiss/IndexFlat.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/reference_engine.h>

#include <tests/support/unit_test.h>

// On the real descriptors, with recall@10 = |found 10 and true 10| / 10.

namespace faiss_vlc {
namespace {

using idx_t = int64_t;

struct Data {
    Matrix<float> base = sift("base.npy");
    Matrix<float> query = sift("query.npy");
    Matrix<int64_t> truth = read_labels(std::string(VLC_TEST_DATA) + "/sift20k/gt.npy");
};

const Data& data() {
    static const Data d;
    return d;
}

VLCParameters parameters(int bytes) {
    VLCParameters p;
    p.m = 64;
    p.bytes = bytes;
    p.device = "reference";
    p.iterations = 6;
    p.max_points_per_anchor = 128;
    return p;
}

std::unique_ptr<IndexVLC> build(const VLCParameters& p) {
    auto index = std::make_unique<IndexVLC>(data().base.d, p);
    index->train(data().base.n, data().base.data.data());
    index->add(data().base.n, data().base.data.data());
    return index;
}

double recall(const faiss::Index& index, const faiss::SearchParameters* params) {
    const idx_t n = data().query.n, k = 10;
    std::vector<float> distance(n * k);
    std::vector<idx_t> label(n * k);
    index.search(n, data().query.data.data(), k, distance.data(), label.data(), params);
    idx_t hits = 0;
    for (idx_t q = 0; q < n; q++) {
        const int64_t* truth = &data().truth.data[q * data().truth.d];
        for (idx_t i = 0; i < k; i++) {
            hits += std::count(truth, truth + k, label[q * k + i]);
        }
    }
    return double(hits) / double(n * k);
}

double recall(const IndexVLC& index, size_t nprobe) {
    faiss::SearchParametersIVF params;
    params.nprobe = nprobe;
    return recall(index, &params);
}

const IndexVLC& index32() {
    static const std::unique_ptr<IndexVLC> index = build(parameters(32));
    return *index;
}

const IndexVLC& index16() {
    static const std::unique_ptr<IndexVLC> index = build(parameters(16));
    return *index;
}

TEST(Tune, RecallFloors) {
    const double at16 = recall(index16(), 64);
    const double at32 = recall(index32(), 64);
    const double at64 = recall(*build(parameters(64)), 64);
    printf("recall@10 at 16, 32, 64 bytes: %.3f %.3f %.3f\n", at16, at32, at64);
    EXPECT_GT(at16, 0.67);
    EXPECT_GT(at32, 0.83);
    EXPECT_GT(at64, 0.93);
}

/// Recall of an exact search in the decoded vectors: what codes give without an estimator.
double decoded_recall(const IndexVLC& index) {
    faiss::IndexFlatL2 flat(index.d);
    std::vector<float> x(size_t(index.ntotal) * index.d);
    index.reconstruct_n(0, index.ntotal, x.data());
    flat.add(index.ntotal, x.data());
    return recall(flat, nullptr);
}

TEST(Tune, EstimatorBeatsPlainDecoding) {
    const double at16 = decoded_recall(index16()), at32 = decoded_recall(index32());
    printf("recall@10 decoded at 16, 32 bytes: %.3f %.3f\n", at16, at32);
    EXPECT_GT(recall(index16(), 64), at16 + 0.01);
    EXPECT_GT(recall(index32(), 64), at32 + 0.01);
}

// The held-out vectors choose the blend between decoding (0) and the unbiased estimate (1).
TEST(Tune, ChosenBlendIsAsGoodAsTheEnds) {
    VLCParameters fixed = parameters(16);
    fixed.t1 = fixed.t2 = fixed.c = 0;
    const double zero = recall(*build(fixed), 64);
    fixed.t1 = fixed.t2 = 1;
    const double one = recall(*build(fixed), 64);
    const double chosen = recall(index16(), 64);
    printf("recall@10 t = 0: %.3f, t = 1: %.3f, chosen: %.3f\n", zero, one, chosen);
    EXPECT_GT(chosen, zero - 0.01);
    EXPECT_GT(chosen, one + 0.01);
}

TEST(Tune, DefaultNprobeIsUseful) {
    const IndexVLC& index = index32();
    EXPECT_EQ(index.nprobe, size_t(index.model->default_nprobe));
    EXPECT_GT(index.nprobe, 1u);
    EXPECT_LT(index.nprobe, 32u); // much less than all of 64
    const double all = recall(index, 64);
    EXPECT_GT(recall(index, index.nprobe), 0.93 * all);
    EXPECT_LT(recall(index, 1), 0.8 * all);
    VLCParameters more = parameters(32);
    more.coverage = 0.999f;
    EXPECT_GT(build(more)->nprobe, index.nprobe);
}

/// Vectors in the lists that a query probes until these hold 9 of 10 true neighbours, on average;
/// the last list that is needed counts by the share of it that is.
double scanned(const IndexVLC& index, float rank_bias, const std::vector<idx_t>& truth) {
    Model model = *index.model;
    model.bias_ranks(rank_bias);
    std::vector<int64_t> list_of(index.ntotal);
    for (size_t j = 0; j < index.nlist; j++) {
        for (size_t i = 0; i < index.lists().list_size(j); i++) {
            list_of[index.lists().get_single_id(j, i)] = int64_t(j);
        }
    }
    const idx_t queries = data().query.n;
    std::vector<double> met(index.nlist), sizes(index.nlist);
    Query query(model);
    for (idx_t q = 0; q < queries; q++) {
        query.set(&data().query.data[q * index.d]);
        const std::vector<int64_t>& order = query.rank(int(index.nlist));
        for (size_t r = 0; r < order.size(); r++) {
            sizes[r] += double(index.lists().list_size(order[r])) / double(queries);
            for (int k = 0; k < 10; k++) {
                met[r] += list_of[truth[q * 10 + k]] == order[r];
            }
        }
    }
    double missing = 0.9 * 10 * double(queries), sum = 0;
    for (size_t r = 0; missing > 0; r++) {
        sum += sizes[r] * std::min(1.0, missing / met[r]);
        missing -= met[r];
    }
    return sum;
}

// Wide lists come later, or sooner with inner products.
TEST(Tune, RankBiasScansLess) {
    const idx_t queries = data().query.n;
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index(data().base.d, parameters(32), metric);
        index.train(data().base.n, data().base.data.data());
        index.add(data().base.n, data().base.data.data());
        faiss::IndexFlat flat(index.d, metric);
        flat.add(data().base.n, data().base.data.data());
        std::vector<float> distance(queries * 10);
        std::vector<idx_t> truth(queries * 10);
        flat.search(queries, data().query.data.data(), 10, distance.data(), truth.data());

        const float chosen = index.model->rank_bias;
        EXPECT_GT(chosen, 0);
        EXPECT_LE(chosen, metric == faiss::METRIC_L2 ? 0.5f : 0.31f);
        const double by_anchor = scanned(index, 0, truth), by_both = scanned(index, chosen, truth);
        printf("vectors scanned for .9: %.0f by anchors alone, %.0f with a bias of %.3f\n",
               by_anchor, by_both, chosen);
        EXPECT_LT(by_both, by_anchor * 0.99);
        EXPECT_GT(scanned(index, 2, truth), by_both * 1.05);
    }
    VLCParameters p = parameters(32);
    p.rank_bias = 0.125f;
    p.iterations = 1;
    EXPECT_EQ(build(p)->model->rank_bias, 0.125f);
}

TEST(Tune, PrincipalAxesBeatTheOriginalOnes) {
    VLCParameters p = parameters(16);
    const double principal = recall(index16(), 64);
    p.frame = FrameKind::identity;
    const double identity = recall(*build(p), 64);
    printf("recall@10 principal %.3f, identity %.3f\n", principal, identity);
    EXPECT_GT(principal, identity + 0.02);
}

struct Trained {
    Sample sample;
    Anchors anchors;
};

const Trained& train(const VLCParameters& p) {
    static const Trained trained = [&] {
        Trained t;
        t.sample = draw_sample(6000, data().base.d, data().base.data.data(), p);
        ReferenceEngine engine;
        t.anchors = anneal(engine, t.sample, p, false);
        return t;
    }();
    return trained;
}

TEST(Tune, ModelIsConsistent) {
    VLCParameters p = parameters(24);
    const Trained& t = train(p);
    const Model model = tune_model(t.sample, t.anchors, p, faiss::METRIC_L2);
    EXPECT_EQ(model.d, 128);
    EXPECT_EQ(model.m, 64);
    EXPECT_EQ(model.layout.code_size(), 24);
    EXPECT_EQ(model.record.n, 6000);
    EXPECT_EQ(model.record.iterations, t.anchors.iterations);
    EXPECT_GT(model.record.energy_held, model.record.energy_train);
    EXPECT_LT(model.record.energy_held, 1.3f * model.record.energy_train);
    EXPECT_TRUE(std::is_sorted(model.sigma.rbegin(), model.sigma.rend()));
    // it falls to what the anchors leave in the end, in the data's units
    ASSERT_EQ(int(model.record.energies.size()), t.anchors.iterations);
    EXPECT_GT(model.record.energies.front(), 1.02f * model.record.energies.back());
    EXPECT_NEAR(model.record.energies.back(), model.record.energy_train,
                0.03 * model.record.energy_train);
    // the mean energy in lattice units is what the anchors leave
    const double energy =
            double(model.record.energy_held) * model.lattice.scale * model.lattice.scale;
    EXPECT_NEAR(model.estimator.energy, energy, 0.15 * energy);
    EXPECT_GT(model.estimator.gamma[0], 0);
    EXPECT_TRUE(std::is_sorted(std::begin(model.estimator.gamma), std::end(model.estimator.gamma)));
    EXPECT_LT(model.estimator.gamma[31], 1.2);
    // codes of the sample miss what gamma says: on average 1 - gamma of the energy
    Model::Coder coder(model);
    std::vector<uint8_t> code(24);
    std::vector<float> decoded(128);
    const double unit = double(model.lattice.scale) * model.lattice.scale;
    double gamma = 0, dot = 0, square = 0;
    for (int64_t i = 0; i < 500; i++) {
        const float* x = t.sample.vector(i);
        const int j = t.anchors.label[i];
        coder.encode(x, j, code.data());
        model.decode(j, code.data(), decoded.data());
        std::vector<float> anchor(128);
        model.anchor(j, anchor.data());
        double own = 0;
        for (int k = 0; k < 128; k++) {
            own += (double(x[k]) - anchor[k]) * (double(decoded[k]) - anchor[k]) * unit;
        }
        ASSERT_NEAR(own, coder.residual_dot, 0.01 * coder.residual_square);
        ASSERT_NEAR(true_distance(128, x, anchor.data()) * unit, coder.residual_square,
                    1e-3 * coder.residual_square);
        const int factors = code[22] | code[23] << 8;
        gamma += model.estimator.gamma[factors & 31] / 500;
        dot += own;
        square += coder.residual_square;
    }
    EXPECT_NEAR(gamma, dot / square, 0.05);
}

TEST(Tune, FixedChoicesAreKept) {
    VLCParameters p = parameters(24);
    const Trained& t = train(p);
    p.t1 = 0.3f;
    p.t2 = 0.4f;
    p.c = 0.05f;
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Model model = tune_model(t.sample, t.anchors, p, metric);
        EXPECT_EQ(model.estimator.t1, 0.3f);
        EXPECT_EQ(model.estimator.t2, 0.4f);
        EXPECT_EQ(model.estimator.c, 0.05f);
    }
}

TEST(Tune, SameForAnyThreadCount) {
    VLCParameters p = parameters(24);
    const Trained& t = train(p);
    const int threads = omp_get_max_threads();
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        omp_set_num_threads(1);
        const Model one = tune_model(t.sample, t.anchors, p, metric);
        omp_set_num_threads(5);
        const Model five = tune_model(t.sample, t.anchors, p, metric);
        omp_set_num_threads(threads);
        EXPECT_TRUE(one.same_as(five));
        EXPECT_EQ(one.estimator.t1, five.estimator.t1);
        EXPECT_EQ(one.estimator.t2, five.estimator.t2);
        EXPECT_EQ(one.estimator.c, five.estimator.c);
        EXPECT_EQ(one.default_nprobe, five.default_nprobe);
        EXPECT_EQ(one.rank_bias, five.rank_bias);
    }
}

TEST(TuneChild, DISABLED_Digest) {
    VLCParameters p = parameters(24);
    const Trained& t = train(p);
    const Model model = tune_model(t.sample, t.anchors, p, faiss::METRIC_L2);
    uint64_t hash = digest(model.sigma.data(), model.sigma.size() * 4);
    hash = digest(model.spread.data(), model.spread.size() * 4, hash);
    for (const Frame& frame : model.frames) {
        hash = digest(frame.rows.data(), frame.rows.size(), hash);
    }
    hash = digest(&model.estimator, sizeof(model.estimator), hash);
    hash = digest(&model.default_nprobe, sizeof(int), hash);
    hash = digest(&model.rank_bias, sizeof(float), hash);
    report(std::to_string(hash));
}

TEST(Tune, SameAtEverySimdLevel) {
    std::set<std::string> digests;
    for (const char* const* name = simd_levels(); *name; name++) {
        digests.insert(run_child("TuneChild.DISABLED_Digest", std::string("VLC_SIMD=") + *name));
    }
    EXPECT_EQ(digests.size(), 1u);
    EXPECT_EQ(digests.count("failed"), 0u);
}

} // namespace
} // namespace faiss_vlc
