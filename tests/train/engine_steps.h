#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/train/stages/maintain.h>
#include <faiss_vlc/train/stages/update.h>

/// What the tests of engines share.
namespace faiss_vlc {

/// A sample around some centres, with duplicate rows, extreme rows and zero padding, and anchors:
/// some of them equal to each other or to rows, so that ties occur.
struct TestData {
    TestData(int64_t n, int64_t n_train, int d, int m, int neighbours, uint32_t seed = 1) {
        shape.n = n;
        shape.n_train = n_train;
        shape.d = d;
        shape.dp = padded_dim(d);
        shape.m = m;
        shape.neighbours = neighbours;
        const int dp = shape.dp;
        std::mt19937 random(seed);
        auto between = [&](int low, int high) {
            return low + int(random() % uint32_t(high - low + 1));
        };
        std::vector<int> centre(size_t(8) * d);
        for (int& c : centre) {
            c = between(-90, 90);
        }
        rows.assign(size_t(n) * dp, 0);
        for (int64_t i = 0; i < n; i++) {
            const int c = between(0, 7);
            const int kind = between(0, 19);
            for (int k = 0; k < d; k++) {
                const int value = kind == 0   ? (between(0, 1) ? 127 : -127)
                                  : kind == 1 ? rows[k] // the first row again
                                              : centre[c * d + k] + between(-37, 37);
                rows[i * dp + k] = int8_t(value);
            }
        }
        anchor.assign(size_t(m) * dp, 0);
        for (int j = 0; j < m; j++) {
            const int kind = between(0, 4);
            const int c = between(0, 7);
            for (int k = 0; k < d; k++) {
                anchor[j * dp + k] =
                        kind == 0   ? (n ? rows[(j % n) * dp + k] : 0) * 65536
                        : kind == 1 ? anchor[k]
                        : kind == 2 ? (between(0, 1) ? 127 : -127) * 65536
                                    : centre[c * d + k] * 65536 + between(-2400000, 2400000);
            }
        }
        anchor8.resize(anchor.size());
        norm.resize(m);
        refresh_anchors(0, m, dp, anchor.data(), anchor8.data(), norm.data());
        bias.resize(m);
        for (int32_t& b : bias) {
            b = between(-3000, 3000);
        }
    }

    Shape shape;
    std::vector<int8_t> rows, anchor8;
    std::vector<int32_t> anchor, norm, bias;
};

/// All that an engine knows of a training.
struct State {
    std::vector<int32_t> counts, anchors, spreads, bias, labels, distances;
    std::vector<int64_t> energies, weights, sums;

    State(Engine& engine, const Shape& s)
        : counts(s.m), anchors(size_t(s.m) * s.dp), spreads(s.m), bias(s.m), labels(s.n),
          distances(s.n), energies(s.m), weights(s.m), sums(sums_size(s)) {
        engine.get_counts(counts.data());
        engine.get_anchors(anchors.data());
        engine.get_spreads(spreads.data());
        engine.get_bias(bias.data());
        engine.get_labels(labels.data());
        engine.get_distances(distances.data());
        engine.get_energies(energies.data());
        engine.get_weights(weights.data());
        engine.get_sums(sums.data());
    }
};

inline void expect_same_state(Engine& a, Engine& b, const Shape& shape, const char* when) {
    const State x(a, shape);
    const State y(b, shape);
    EXPECT_EQ(x.counts, y.counts) << when;
    EXPECT_EQ(x.anchors, y.anchors) << when;
    EXPECT_EQ(x.spreads, y.spreads) << when;
    EXPECT_EQ(x.bias, y.bias) << when;
    EXPECT_EQ(x.labels, y.labels) << when;
    EXPECT_EQ(x.distances, y.distances) << when;
    EXPECT_EQ(x.energies, y.energies) << when;
    EXPECT_EQ(x.weights, y.weights) << when;
    EXPECT_EQ(x.sums, y.sums) << when;
    for (Engine* engine : {&a, &b}) {
        std::vector<int32_t> some(shape.n / 2);
        engine->get_distances(some.data(), int64_t(some.size()));
        EXPECT_TRUE(std::equal(some.begin(), some.end(), x.distances.begin())) << when;
    }
}

/// A few iterations with everything that training does, step by step beside the reference. Of the
/// buffers that devices have made (`buffers` counts them) none is made after the first iteration.
inline void expect_same_training(
        Engine& device, const TestData& data, uint32_t seed,
        const std::function<uint64_t()>& buffers = [] { return 0; }) {
    const Shape& s = data.shape;
    SCOPED_TRACE("n " + std::to_string(s.n) + " of which train " + std::to_string(s.n_train) +
                 " d " + std::to_string(s.d) + " m " + std::to_string(s.m) + " neighbours " +
                 std::to_string(s.neighbours));
    ReferenceEngine reference;
    Engine* engines[] = {&reference, &device};
    for (Engine* engine : engines) {
        engine->begin(s, data.rows.data());
        engine->set_anchors(data.anchor.data());
        engine->set_bias(data.bias.data());
    }
    expect_same_state(reference, device, s, "begin");
    std::vector<int32_t> near_label(s.m), near_dist(s.m), device_label(s.m), device_dist(s.m);
    std::vector<int32_t> counts(s.m);
    std::vector<int64_t> energies(s.m);
    MovePlan plan;
    uint64_t allocations = 0;
    for (uint32_t iteration = 0; iteration < 4; iteration++) {
        // all rows; then some by lists; then the rest too; then all by lists
        const int64_t part =
                std::min<int64_t>(s.n, (s.n / 3 + kRowBlock - 1) / kRowBlock * kRowBlock);
        const int64_t rows = iteration == 1 ? part : s.n;
        const int64_t known = iteration == 0 ? 0 : iteration == 3 ? s.n : part;
        // the longest first: shorter ones need no other buffers
        const int length = iteration == 0 ? s.m : 1 + int(seed * 13 + iteration) % s.m;
        for (Engine* engine : engines) {
            engine->list_near(length);
        }
        const AssignSummary expected = reference.assign(rows, known);
        const AssignSummary met = device.assign(rows, known);
        EXPECT_EQ(met.changes, expected.changes);
        EXPECT_EQ(met.energy_train, expected.energy_train);
        EXPECT_EQ(met.energy_held, expected.energy_held);
        ReduceParams reduce;
        reduce.rows = rows;
        const int64_t mean = s.n_train ? expected.energy_train / s.n_train : 1;
        reduce.inv_t = int32_t(32 * 65536 / std::max<int64_t>(1, mean / 8));
        reduce.robust = Robust(iteration % 3);
        reduce.tau2 = int32_t(mean);
        UpdateParams update;
        update.step = 256 - int32_t(40 * iteration);
        update.max_step = iteration % 2 ? kMaxAnchor : 5 * 65536;
        update.mean_count = int32_t(s.n_train / s.m);
        update.bias_scale = int32_t(mean / 8);
        update.noise_scale = int32_t(mean / 4);
        update.seed = seed;
        update.iteration = iteration;
        for (Engine* engine : engines) {
            engine->reduce(reduce);
        }
        if (iteration == 2) { // sums from elsewhere
            std::vector<int64_t> sums(sums_size(s));
            reference.get_sums(sums.data());
            for (int64_t& sum : sums) {
                sum *= 2;
            }
            for (Engine* engine : engines) {
                engine->set_sums(sums.data());
            }
        }
        for (Engine* engine : engines) {
            engine->update(update);
        }
        expect_same_state(reference, device, s, "update");
        reference.nearest(near_label.data(), near_dist.data());
        device.nearest(device_label.data(), device_dist.data());
        EXPECT_EQ(device_label, near_label);
        EXPECT_EQ(device_dist, near_dist);
        reference.get_counts(counts.data());
        reference.get_energies(energies.data());
        plan_moves(s, {0.9f, 1.2f}, seed,
                   {counts.data(), energies.data(), near_label.data(), near_dist.data()}, plan);
        for (Engine* engine : engines) {
            engine->apply(plan.merges.data(), int(plan.merges.size()));
            engine->apply(plan.splits.data(), int(plan.splits.size()));
        }
        expect_same_state(reference, device, s, "moves");
        if (iteration == 0) {
            allocations = buffers();
        }
    }
    EXPECT_EQ(buffers(), allocations) << "buffers made in the loop";
    for (AnchorGrid grid : {AnchorGrid::float16, AnchorGrid::int8}) {
        for (Engine* engine : engines) {
            engine->quantize(grid);
        }
        expect_same_state(reference, device, s, "quantize");
    }
    // labels from elsewhere, which say whose list a row is compared with
    std::vector<int32_t> labels(s.n);
    for (int64_t i = 0; i < s.n; i++) {
        labels[i] = int32_t((i * 7 + i / 100) % s.m);
    }
    for (Engine* engine : engines) {
        engine->set_labels(labels.data());
        engine->list_near(1 + s.m / 4);
    }
    EXPECT_EQ(device.assign(s.n, s.n).changes, reference.assign(s.n, s.n).changes);
    expect_same_state(reference, device, s, "labels");
    reference.assign();
    device.assign();
    std::vector<int64_t> covariance(size_t(s.d) * s.d), device_covariance(covariance.size());
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < s.n_train; i += 1 + i % 3) {
        rows.push_back(int32_t(i));
    }
    reference.covariance(rows.data(), int64_t(rows.size()), covariance.data());
    device.covariance(rows.data(), int64_t(rows.size()), device_covariance.data());
    EXPECT_EQ(device_covariance, covariance);
}

} // namespace faiss_vlc
