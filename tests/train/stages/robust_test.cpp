#include <faiss_vlc/train/stages/robust.h>

#include <algorithm>
#include <numeric>

#include <tests/train/train_test.h>

namespace faiss_vlc {
namespace {

constexpr int kD = 24;
constexpr int kM = 16;

/// 40 clusters; one row in `every` is far away from all (0: none).
std::vector<float> with_outliers(int64_t n, int every) {
    std::vector<float> x = clustered(n, kD, 40, 3);
    Random random(4);
    for (int64_t i = 0; every > 0 && i < n; i += every) {
        for (int k = 0; k < kD; k++) {
            x[i * kD + k] = float(400 * random.normal());
        }
    }
    return x;
}

bool outlier(const float* row) {
    return std::any_of(row, row + kD, [](float v) { return std::abs(v) > 200; });
}

TEST(TypicalDistances, ClipsOutliers) {
    std::vector<int32_t> dist = {3, 1000, 2, 4, 5};
    const Typical found = typical_distances(5, 3, dist);
    EXPECT_EQ(found.tau2, 9 * 4);
    EXPECT_EQ(found.inliers, (3 + 2 + 4 + 5 + 36) / 1014.0);
    dist = {3, 36, 2, 4, 5}; // on the edge
    EXPECT_EQ(typical_distances(5, 3, dist).inliers, 1);
    dist = {7, 1, 9, 1000000}; // the last is held out
    EXPECT_EQ(typical_distances(3, 3, dist).inliers, 1);
    dist = {0, 0, 0};
    EXPECT_EQ(typical_distances(3, 3, dist).tau2, 9);
    EXPECT_EQ(typical_distances(3, 3, dist).inliers, 1);
    dist = {INT32_MAX, INT32_MAX, INT32_MAX};
    EXPECT_EQ(typical_distances(3, 3, dist).tau2, INT32_MAX);
}

TEST(StartingRows, AreNoOutliers) {
    VLCParameters params;
    params.m = kM;
    const std::vector<float> x = with_outliers(2000, 8);
    const Sample sample = draw(x, kD, params);
    std::vector<int64_t> first(kM);
    std::iota(first.begin(), first.end(), 0);
    EXPECT_EQ(starting_rows(sample, Robust::none), first);
    const auto is_outlier = [&](int64_t row) { return outlier(&x[sample.rows[row] * kD]); };
    ASSERT_TRUE(std::any_of(first.begin(), first.end(), is_outlier));
    for (const Robust robust : {Robust::huber, Robust::trim}) {
        const std::vector<int64_t> rows = starting_rows(sample, robust);
        ASSERT_EQ(rows.size(), size_t(kM));
        EXPECT_TRUE(std::none_of(rows.begin(), rows.end(), is_outlier));
        EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
        EXPECT_TRUE(std::adjacent_find(rows.begin(), rows.end()) == rows.end());
    }
    const Sample clean = draw(with_outliers(2000, 0), kD, params);
    EXPECT_EQ(starting_rows(clean, Robust::huber), first);
}

TEST(StartingRows, TooFewInliers) {
    VLCParameters params;
    params.m = 10;
    params.held_out = 0;
    std::vector<float> x(10 * kD, 0); // as many rows as anchors: all of them
    x[3 * kD] = 1000;
    EXPECT_EQ(starting_rows(draw(x, kD, params), Robust::huber).size(), 10u);
}

/// Mean squared distance of the rows that are no outliers.
double inlier_energy(const std::vector<float>& x, Robust robust) {
    VLCParameters params;
    params.m = kM;
    params.robust = robust;
    params.grid = AnchorGrid::float16;
    const Sample sample = draw(x, kD, params);
    const Anchors result = run(sample, params);
    std::vector<float> anchors(kM * kD);
    for (int j = 0; j < kM; j++) {
        sample.lattice.decode_anchor(&result.anchor[j * sample.shape.dp], &anchors[j * kD]);
    }
    double sum = 0;
    int64_t n = 0;
    for (size_t i = 0; i < x.size(); i += kD) {
        if (!outlier(&x[i])) {
            double best = INFINITY;
            for (int j = 0; j < kM; j++) {
                best = std::min(best, true_distance(kD, &x[i], &anchors[j * kD]));
            }
            sum += best;
            n++;
        }
    }
    return sum / double(n);
}

TEST(Robust, OutliersTakeNoAnchorsFromTheRest) {
    const double clean = inlier_energy(with_outliers(4000, 0), Robust::huber);
    const std::vector<float> x = with_outliers(4000, 20);
    const double none = inlier_energy(x, Robust::none), huber = inlier_energy(x, Robust::huber),
                 trim = inlier_energy(x, Robust::trim);
    EXPECT_LT(huber, 1.05 * clean);
    EXPECT_LT(trim, 1.05 * clean);
    EXPECT_LT(huber, none);
}

} // namespace
} // namespace faiss_vlc
