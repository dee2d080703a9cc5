#include <faiss_vlc/train/anneal.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <set>
#include <vector>

#include <tests/support/allocation_hooks.h>
#include <tests/train/train_test.h>

namespace faiss_vlc {
namespace {

using Ints = std::vector<int64_t>;

Ints dumped(const std::string& stem, const std::string& name) {
    const Matrix<int64_t> matrix = read_labels(stem + name + ".npy");
    return matrix.data;
}

TEST(DrawSample, TakesEachRowOnceAndTheSameAgain) {
    const std::vector<float> x = clustered(1000, 5, 10, 1);
    VLCParameters params;
    params.m = 10;
    params.max_points_per_anchor = 30;
    params.held_out = 0.2f;
    const Sample sample = draw(x, 5, params);
    EXPECT_EQ(sample.shape.n, 300);
    EXPECT_EQ(sample.shape.n_train, 240);
    EXPECT_EQ(sample.shape.dp, 16);
    EXPECT_EQ(std::set<int64_t>(sample.rows.begin(), sample.rows.end()).size(), 300u);
    EXPECT_GT(*std::max_element(sample.rows.begin(), sample.rows.end()), 900); // from all over
    for (int64_t i = 0; i < 300; i++) {
        ASSERT_TRUE(std::equal(sample.vector(i), sample.vector(i) + 5, &x[sample.rows[i] * 5]));
    }
    EXPECT_EQ(draw(x, 5, params).rows, sample.rows);
    params.seed++;
    EXPECT_NE(draw(x, 5, params).rows, sample.rows);
    params.m = 1001;
    EXPECT_THROW(draw(x, 5, params), faiss::FaissException);
    params.m = 1000; // nothing is left to hold out
    EXPECT_EQ(draw(x, 5, params).shape.n_train, 1000);
}

// Few anchors don't leave codebooks few rows, unless somebody wants that.
TEST(DrawSample, HasEnoughRowsForFewAnchors) {
    VLCParameters params;
    params.m = 4;
    const int64_t n = 20000;
    const std::vector<float> x = clustered(n, 2, 10, 1);
    EXPECT_EQ(draw(x, 2, params).shape.n, 16384);
    EXPECT_EQ(draw({x.begin(), x.begin() + 2000 * 2}, 2, params).shape.n, 2000); // all there are
    params.max_points_per_anchor = 100;
    EXPECT_EQ(draw(x, 2, params).shape.n, 400);
    params.max_points_per_anchor = 300;
    EXPECT_EQ(draw(x, 2, params).shape.n, 1200);
    params = VLCParameters();
    EXPECT_EQ(most_rows(100, 2, params), 25600);
    EXPECT_EQ(most_rows(4, 1024, params), 16384);
    EXPECT_EQ(most_rows(4, 16384, params), 1024);
    EXPECT_EQ(most_rows(10, 16384, params), 2560);
}

TEST(ChooseAnchors, GrowsWithTheRoot) {
    EXPECT_EQ(choose_anchors(1000000, 1000000), 4000);
    EXPECT_EQ(choose_anchors(10000, 10000), 256); // 39 vectors each
    EXPECT_EQ(choose_anchors(10, 10), 1);
}

// Far groups make the lattice coarse: only there are anchors stored more finely than vectors are
// assigned by, unless told otherwise.
TEST(Anneal, StoresAnchorsAsFinelyAsTheDataNeeds) {
    const int d = 24;
    const int64_t n = 2000;
    for (const float apart : {1.0f, 300.0f}) {
        Random random(7);
        const std::vector<float> centre = random.normals(4 * d, apart);
        std::vector<float> x(n * d);
        for (int64_t i = 0; i < n * d; i++) {
            x[i] = centre[i / d % 4 * d + i % d] + float(random.normal());
        }
        VLCParameters params;
        params.m = 40;
        double off[3] = {}; // of the anchors from the means of their vectors, squared
        for (const AnchorGrid grid :
             {AnchorGrid::int8, AnchorGrid::float16, AnchorGrid::automatic}) {
            params.grid = grid;
            const Sample sample = draw(x, d, params);
            const Anchors result = run(sample, params);
            EXPECT_EQ(result.grid, grid != AnchorGrid::automatic ? grid
                                   : apart > 1                   ? AnchorGrid::float16
                                                                 : AnchorGrid::int8);
            std::vector<float> anchor(d);
            for (int64_t i = sample.first_kept; i < sample.shape.n; i++) {
                const int64_t j = result.label[i];
                sample.lattice.decode_anchor(&result.anchor[j * sample.shape.dp], anchor.data());
                for (int k = 0; k < d; k++) {
                    off[int(grid)] += std::pow(double(sample.vector(i)[k]) - anchor[k], 2);
                }
            }
            const Anchors taken = [&] {
                std::vector<float> given;
                for (int j = 0; j < params.m; j++) {
                    sample.lattice.decode_anchor(&result.anchor[size_t(j) * sample.shape.dp],
                                                 anchor.data());
                    given.insert(given.end(), anchor.begin(), anchor.end());
                }
                ReferenceEngine engine;
                return take_anchors(engine, sample, params, given.data());
            }();
            EXPECT_EQ(taken.grid, result.grid);
        }
        EXPECT_EQ(off[int(AnchorGrid::automatic)],
                  off[int(apart > 1 ? AnchorGrid::float16 : AnchorGrid::int8)]);
        if (apart > 1) {
            EXPECT_LT(off[int(AnchorGrid::float16)], 0.8 * off[int(AnchorGrid::int8)]);
        }
    }
}

TEST(Anneal, FindsThreeBlobs) {
    const int d = 128;
    const int64_t n = 1000;
    Random random(5);
    const std::vector<float> centre = random.normals(3 * d, 4);
    std::vector<float> x(n * d);
    for (int64_t i = 0; i < n * d; i++) {
        x[i] = centre[i / d % 3 * d + i % d] + float(random.normal());
    }
    Folder folder;
    VLCParameters params;
    params.m = 3;
    params.max_points_per_anchor = 1000;
    params.grid = AnchorGrid::float16;
    params.stop_changes = 0;
    params.first_share = 1; // energies over all rows in each iteration
    for (uint32_t seed : {1, 2, 3, 4, 5}) {
        params.seed = seed;
        params.dump = folder.file(std::to_string(seed));
        const Sample sample = draw(x, d, params);
        ASSERT_EQ(sample.shape.n, n);
        const Anchors result = run(sample, params);
        std::vector<double> energy;
        std::vector<int64_t> changes;
        Ints before;
        for (int t = 0; t < result.iterations; t++) {
            const std::string stem = params.dump + "/iteration_" + std::to_string(t) + "_";
            const Ints label = dumped(stem, "label"), dist = dumped(stem, "dist");
            energy.push_back(double(std::accumulate(dist.begin(), dist.end(), int64_t(0))));
            changes.push_back(0);
            for (int64_t i = 0; i < n; i++) {
                changes.back() += before.empty() || before[i] != label[i];
            }
            before = label;
        }
        EXPECT_LT(energy.back(), 0.75 * energy.front()) << seed;
        EXPECT_GT(changes.front(), 0);
        EXPECT_EQ(changes.back(), 0) << seed;
        EXPECT_LT(result.iterations, params.iterations); // it noticed

        // each anchor is one blob's mean and its rows are that blob's
        std::set<int64_t> blobs;
        for (int j = 0; j < 3; j++) {
            const int64_t first =
                    std::find(result.label.begin(), result.label.end(), j) - result.label.begin();
            ASSERT_LT(first, n) << "anchor " << j << " is empty, seed " << seed;
            const int64_t blob = sample.rows[first] % 3;
            blobs.insert(blob);
            std::vector<float> a(d);
            sample.lattice.decode_anchor(&result.anchor[j * sample.shape.dp], a.data());
            EXPECT_LT(true_distance(d, a.data(), &centre[blob * d]), 0.05 * d) << seed;
        }
        EXPECT_EQ(blobs.size(), 3u);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t o : {i / 2, n - 1 - i}) {
                ASSERT_EQ(sample.rows[i] % 3 == sample.rows[o] % 3,
                          result.label[i] == result.label[o]);
            }
        }
    }
}

/// How far off three blobs' anchors are, in the data's units, when 5 % of the rows lie far out.
double drag(Robust robust) {
    const int d = 12;
    const int64_t n = 1200;
    Random random(9);
    const std::vector<float> centre = random.normals(3 * d, 5);
    std::vector<float> x(n * d);
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < d; k++) {
            x[i * d + k] = centre[i % 3 * d + k] + float(0.5 * random.normal());
            if (i % 20 == 7) { // about 60 away, more to one side than to the others
                x[i * d + k] += float(7 + 16 * random.normal());
            }
        }
    }
    VLCParameters params;
    params.m = 3;
    params.max_points_per_anchor = 1000;
    params.held_out = 0;
    params.grid = AnchorGrid::float16;
    params.maintain_until = 0; // a far anchor would be a legitimate place for the outliers
    params.robust = robust;
    Sample sample;
    for (params.seed = 1;; params.seed++) { // start in the blobs
        sample = draw(x, d, params);
        std::set<int64_t> blobs;
        for (int j = 0; j < 3; j++) {
            blobs.insert(sample.rows[j] % 20 == 7 ? -1 : sample.rows[j] % 3);
        }
        if (blobs.size() == 3 && !blobs.count(-1)) {
            break;
        }
    }
    const Anchors result = run(sample, params);
    double worst = 0;
    for (int j = 0; j < 3; j++) {
        std::vector<float> a(d);
        sample.lattice.decode_anchor(&result.anchor[j * sample.shape.dp], a.data());
        double nearest = INFINITY;
        for (int b = 0; b < 3; b++) {
            nearest = std::min(nearest, std::sqrt(true_distance(d, a.data(), &centre[b * d])));
        }
        worst = std::max(worst, nearest);
    }
    return worst;
}

TEST(Anneal, OutliersDoNotDragAnchors) {
    const double none = drag(Robust::none), huber = drag(Robust::huber), trim = drag(Robust::trim);
    EXPECT_GT(none, 1.2); // 5 % of 7 sqrt(12)
    EXPECT_LT(trim, 0.4);
    EXPECT_LT(huber, 0.8 * none);
    EXPECT_GT(huber, trim);
}

// Ten points on a line and two anchors. One neighbour each (weight 256), no robustness, no merging;
// T stays the first mean energy and step is 1; size_bias is 1 / ln 2, so that bias_scale is the
// mean energy.
//
// Points 0 2 4 6 8 10 12 (A) and 40 42 50 (B); the anchors start on rows 0 and 1: 0 and 40.
// t = 0: A: squared distances 0 4 16 36 64 100 144 = 364, B: 0 4 100 = 104; mean 468 / 10 = 46, T
// = 46.
//        step = 256 * 46 / (46 + 46) = 128, half way. Means 6 and 44: anchors 3 and 42.
//        spread = isqrt(364 * 256 / 7 = 13312) = 115 and isqrt(104 * 256 / 3 = 8874) = 94.
//        log2 of counts + 1 = 8 and 4 against 5 + 1 = 6: 3 and 2 against 2.5 (linear in between),
//        so 46 * 128 / 256 = 23 and -23; a quarter of the way, rounded down: 5 and -6.
// t = 1: A - 3: 9 1 1 9 25 49 81 = 175, B - 42: 4 0 64 = 68; mean 24.
//        step = 256 * 24 / (24 + 46) = 87.8, so 88. (6 - 3) * 65536 * 88 / 256 = 67584 and
//        (44 - 42) * 65536 * 88 / 256 = 45056: anchors 264192 (4.03) and 2797568 (42.69).
//        spread = isqrt(175 * 256 / 7 = 6400) = 80 and isqrt(68 * 256 / 3 = 5802) = 76.
//        24 * 128 / 256 = 12 and -12: 5 + (12 - 5) / 4 = 6 and -6 + (-12 + 6) / 4 = -8 (down).
// Result on the int8 grid: 4 and 43. A: 16 4 0 4 16 36 64 = 140, B: 9 1 49 = 59, covariance 199.
TEST(Anneal, TenPointsByHand) {
    Sample sample;
    Shape& shape = sample.shape;
    shape.n = shape.n_train = 10;
    shape.d = 1;
    shape.dp = 16;
    shape.m = 2;
    shape.neighbours = 1;
    const int8_t point[10] = {0, 40, 2, 4, 6, 42, 8, 10, 50, 12};
    sample.x8.assign(10 * 16, 0);
    for (int i = 0; i < 10; i++) {
        sample.x8[i * 16] = point[i];
    }
    Folder folder;
    VLCParameters params;
    params.m = 2;
    params.neighbours = 1;
    params.iterations = 2;
    params.start_temperature = params.end_temperature = 1;
    params.size_bias = 1.442695f;
    params.step = 1;
    params.robust = Robust::none;
    params.maintain_until = 0;
    params.dump = folder.file("dump");
    const Anchors result = run(sample, params);

    const Ints label = {0, 1, 0, 0, 0, 1, 0, 0, 1, 0};
    std::string stem = params.dump + "/iteration_0_";
    EXPECT_EQ(dumped(stem, "label"), label);
    EXPECT_EQ(dumped(stem, "dist"), (Ints{0, 0, 4, 16, 36, 4, 64, 100, 100, 144}));
    EXPECT_EQ(dumped(stem, "count"), (Ints{7, 3}));
    EXPECT_EQ(dumped(stem, "energy"), (Ints{364, 104}));
    EXPECT_EQ(dumped(stem, "weight"), (Ints{7 * 256, 3 * 256}));
    EXPECT_EQ(dumped(stem, "spread"), (Ints{115, 94}));
    EXPECT_EQ(dumped(stem, "bias"), (Ints{5, -6}));
    Ints anchor(32, 0);
    anchor[0] = 3 * 65536;
    anchor[16] = 42 * 65536;
    EXPECT_EQ(dumped(stem, "anchor"), anchor);

    stem = params.dump + "/iteration_1_";
    EXPECT_EQ(dumped(stem, "label"), label);
    EXPECT_EQ(dumped(stem, "dist"), (Ints{9, 4, 1, 1, 9, 0, 25, 49, 64, 81}));
    EXPECT_EQ(dumped(stem, "energy"), (Ints{175, 68}));
    EXPECT_EQ(dumped(stem, "spread"), (Ints{80, 76}));
    EXPECT_EQ(dumped(stem, "bias"), (Ints{6, -8}));
    anchor[0] = 264192;
    anchor[16] = 2797568;
    EXPECT_EQ(dumped(stem, "anchor"), anchor);

    EXPECT_EQ(result.iterations, 2);
    EXPECT_EQ(result.anchor[0], 4 * 65536);
    EXPECT_EQ(result.anchor[16], 43 * 65536);
    EXPECT_EQ(Ints(result.label.begin(), result.label.end()), label);
    EXPECT_EQ(result.dist, (std::vector<int32_t>{16, 9, 4, 0, 4, 1, 16, 36, 49, 64}));
    EXPECT_EQ(result.count, (std::vector<int32_t>{7, 3}));
    EXPECT_EQ(result.energy, (Ints{140, 59}));
    EXPECT_EQ(result.covariance, (Ints{199}));
    stem = params.dump + "/result_";
    EXPECT_EQ(dumped(stem, "label"), label);
    EXPECT_EQ(dumped(stem, "count"), (Ints{7, 3}));
    EXPECT_EQ(dumped(stem, "energy"), result.energy);
    EXPECT_EQ(dumped(stem, "covariance"), result.covariance);
    EXPECT_EQ(dumped(stem, "anchor"), Ints(result.anchor.begin(), result.anchor.end()));
    EXPECT_FALSE(std::filesystem::exists(params.dump + "/iteration_2_label.npy"));
}

TEST(Anneal, AllocatesNothingInTheLoop) {
    if (allocations::hidden) {
        GTEST_SKIP() << "allocations are the sanitizer's";
    }
    const std::vector<float> x = clustered(800, 20, 40, 3);
    VLCParameters params;
    params.m = 30;
    params.held_out = 0;     // nothing stalls
    params.random_bias = 10; // and nothing settles
    params.end_temperature = params.start_temperature;
    params.stop_changes = 0;
    params.maintain_until = 1;
    int64_t count[2];
    for (int pass = 0; pass < 2; pass++) {
        params.iterations = pass ? 25 : 5;
        const Sample sample = draw(x, 20, params);
        ReferenceEngine engine;
        const int64_t before = allocations::count;
        const Anchors result = anneal(engine, sample, params, false);
        count[pass] = allocations::count - before;
        ASSERT_EQ(result.iterations, params.iterations);
        EXPECT_GT(result.splits, 0); // maintenance was among it
    }
    EXPECT_GT(count[0], 0);
    EXPECT_EQ(count[0], count[1]);
}

TEST(Anneal, SameForAnyThreadCount) {
    const std::vector<float> x = clustered(3000, 33, 90, 6);
    VLCParameters params;
    params.m = 120;
    params.iterations = 5;
    const Sample sample = draw(x, 33, params);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const Anchors one = run(sample, params);
    for (int t : {2, 7}) {
        omp_set_num_threads(t);
        expect_same(run(draw(x, 33, params), params), one);
    }
    omp_set_num_threads(threads);
    EXPECT_EQ(std::accumulate(one.count.begin(), one.count.end(), 0), sample.shape.n_train);
}

} // namespace
} // namespace faiss_vlc
