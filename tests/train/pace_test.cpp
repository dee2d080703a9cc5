// How anchors go to their means is chosen by what searches would scan.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <faiss_vlc/train/pace/local_rows.h>
#include <faiss_vlc/train/pace/pace.h>

#include <tests/train/train_test.h>

namespace faiss_vlc {
namespace {

/// Clusters of 400 rows, wide and narrow ones in many dimensions, which lists of 40 cut.
struct Cut {
    static constexpr int kDim = 256, kRows = 6400, kQueries = 100;
    std::vector<float> x;
    VLCParameters params;

    Cut() {
        constexpr int kCentres = 16;
        Random random(5);
        const std::vector<float> centre = random.normals(size_t(kCentres) * kDim);
        const std::vector<float> width = random.normals(kCentres);
        x = random.normals(size_t(kRows + kQueries) * kDim);
        for (int64_t i = 0; i < kRows + kQueries; i++) {
            const int64_t c = i % kCentres;
            for (int k = 0; k < kDim; k++) {
                const double spread = 0.57 * std::exp(0.5 * double(width[c]) - 1.0 * k / kDim);
                float& component = x[i * kDim + k];
                component = 1.2f * centre[c * kDim + k] + float(spread) * component;
            }
        }
        params.m = kRows / 40;
        params.held_out = 0;
        params.iterations = 10;
    }
    Sample sample() const { return draw_sample(kRows, kDim, x.data(), params); }
};

Pace chosen(const Sample& sample, const VLCParameters& params) {
    ReferenceEngine engine;
    return choose_pace(engine, sample, params).pace;
}

float square(int d, const float* a, const float* b) {
    float sum = 0;
    for (int k = 0; k < d; k++) {
        sum += (a[k] - b[k]) * (a[k] - b[k]);
    }
    return sum;
}

/// The numbers of n vectors, the nearest to q first.
std::vector<int> nearest_first(int64_t n, int d, const float* x, const float* q) {
    std::vector<std::pair<float, int>> order(n);
    for (int i = 0; i < int(n); i++) {
        order[i] = {square(d, &x[size_t(i) * d], q), i};
    }
    std::sort(order.begin(), order.end());
    std::vector<int> numbers(n);
    std::transform(order.begin(), order.end(), numbers.begin(),
                   [](const auto& one) { return one.second; });
    return numbers;
}

/// Rows in the lists nearest to queries until .9, .95 and .99 of their 10 nearest rows are among
/// them.
std::vector<int64_t> scanned(const Cut& cut) {
    const Sample sample = cut.sample();
    const Anchors anchors = run(sample, cut.params);
    const int m = cut.params.m, d = Cut::kDim;
    std::vector<float> centre(size_t(m) * d);
    for (int j = 0; j < m; j++) {
        sample.lattice.decode_anchor(&anchors.anchor[size_t(j) * sample.shape.dp], &centre[j * d]);
    }
    std::vector<int> list(Cut::kRows), found(m), read(m), rank(m);
    for (int i = 0; i < Cut::kRows; i++) {
        list[sample.rows[i]] = anchors.label[i];
    }
    for (int q = 0; q < Cut::kQueries; q++) {
        const float* query = &cut.x[size_t(Cut::kRows + q) * d];
        const std::vector<int> lists = nearest_first(m, d, centre.data(), query);
        for (int r = 0; r < m; r++) {
            rank[lists[r]] = r;
            read[r] += anchors.count[lists[r]];
        }
        const std::vector<int> rows = nearest_first(Cut::kRows, d, cut.x.data(), query);
        std::for_each_n(rows.begin(), 10, [&](int row) { found[rank[list[row]]]++; });
    }
    std::vector<int64_t> result;
    for (const double share : {0.9, 0.95, 0.99}) {
        double wanted = share * 10 * Cut::kQueries;
        int64_t sum = 0;
        for (int r = 0; r < m && wanted > 0; r++) {
            wanted -= found[r];
            sum += read[r];
        }
        result.push_back(sum);
    }
    return result;
}

TEST(Pace, IsPlainWhereListsCutClustersOfManyDimensions) {
    const Cut cut;
    EXPECT_EQ(chosen(cut.sample(), cut.params), Pace::plain);
    Cut usual;
    usual.params.step = 1.5f;
    const std::vector<int64_t> now = scanned(cut), before = scanned(usual);
    for (size_t i = 0; i < now.size(); i++) {
        EXPECT_LT(now[i], before[i]) << i;
    }
}

TEST(Pace, IsUsualWhereListsHoldSeveralClusters) {
    const std::vector<float> x = clustered(8000, 32, 800, 3);
    VLCParameters params;
    params.m = 100;
    EXPECT_EQ(chosen(draw(x, 32, params), params), Pace::usual);
}

TEST(Pace, LeavesWhatWasSet) {
    Cut cut;
    VLCParameters params = cut.params;
    params.step = 1.5f;
    EXPECT_EQ(chosen(draw_sample(Cut::kRows, Cut::kDim, cut.x.data(), params), params),
              Pace::usual);
    for (const Pace pace : {Pace::usual, Pace::plain}) {
        EXPECT_EQ(with_pace(params, pace).step, 1.5f);
        EXPECT_EQ(with_pace(params, pace).size_bias, params.size_bias);
    }
    params = VLCParameters();
    EXPECT_EQ(with_pace(params, Pace::usual).step, 1.5f);
    EXPECT_EQ(with_pace(params, Pace::usual).size_bias, params.size_bias);
    EXPECT_EQ(with_pace(params, Pace::plain).step, 1.25f);
    EXPECT_EQ(with_pace(params, Pace::plain).size_bias, 0);
    EXPECT_LT(with_pace(params, Pace::plain).start_temperature, params.end_temperature);
    params.size_bias = 0.2f;
    params.start_temperature = 0.05f;
    EXPECT_EQ(with_pace(params, Pace::plain).size_bias, 0.2f);
    EXPECT_EQ(with_pace(params, Pace::plain).start_temperature, 0.05f);
}

TEST(Pace, IsUsualWhereFewRowsCannotTell) {
    const std::vector<float> x = clustered(1500, 16, 10, 3);
    VLCParameters params;
    params.m = 40;
    EXPECT_EQ(chosen(draw(x, 16, params), params), Pace::usual);
    params.m = 4;
    const std::vector<float> more = clustered(4000, 16, 10, 3);
    params.max_points_per_anchor = 1000;
    EXPECT_EQ(chosen(draw(more, 16, params), params), Pace::usual);
}

// What was chosen is in the checkpoint.
TEST(Pace, GoesOnFromACheckpoint) {
    Cut cut;
    Folder folder;
    const Sample sample = cut.sample();
    VLCParameters first = cut.params;
    first.checkpoint = folder.file("state");
    first.checkpoint_every = 4;
    const Anchors whole = run(sample, first);
    EXPECT_EQ(read_checkpoint(first.checkpoint, sample, cut.params).pace, Pace::plain);
    VLCParameters second = cut.params;
    second.resume = first.checkpoint;
    expect_same(run(sample, second), whole);
}

TEST(LocalRows, AreAllOfASmallSampleAndThoseNearTheFirstOfALargeOne) {
    constexpr int kDim = 4;
    VLCParameters params;
    params.m = 100;
    const std::vector<float> small = clustered(3000, kDim, 30, 3);
    const Sample all = draw(small, kDim, params);
    EXPECT_EQ(all.local8, std::vector<int8_t>(all.x8.begin(), all.x8.end()));
    const std::vector<float> large = clustered(25000, kDim, 300, 3);
    const Sample sample = draw(large, kDim, params);
    const size_t dp = sample.shape.dp;
    EXPECT_LE(sample.local8.size(), 16384 * dp);
    EXPECT_GE(sample.local8.size(), 2048 * dp);
    size_t next = 0; // they come in the sample's order
    std::vector<bool> taken(sample.shape.n, false);
    for (int64_t i = 0; i < sample.shape.n && next < sample.local8.size(); i++) {
        taken[i] = std::equal(&sample.x8[i * dp], &sample.x8[i * dp] + dp, &sample.local8[next]);
        next += taken[i] ? dp : 0;
    }
    EXPECT_EQ(next, sample.local8.size());
    std::vector<std::pair<int, int64_t>> order;
    for (int64_t i = 0; i < sample.shape.n; i++) {
        int off = 0;
        for (size_t k = 0; k < dp; k++) {
            off += (sample.x8[i * dp + k] - sample.x8[k]) * (sample.x8[i * dp + k] - sample.x8[k]);
        }
        order.push_back({off, i});
    }
    std::sort(order.begin(), order.end());
    for (int i = 0; i < 2000; i++) { // of 2048
        EXPECT_TRUE(taken[order[i].second]) << i;
    }
}

// They tell the better the more they are.
TEST(LocalRows, AreMoreOfAVeryLargeSample) {
    constexpr int kDim = 16;
    VLCParameters params;
    params.m = 2000;
    const std::vector<float> x = clustered(400000, kDim, 4000, 3);
    const Sample sample = draw(x, kDim, params);
    EXPECT_GT(sample.local8.size(), size_t(16384) * sample.shape.dp);
    EXPECT_LE(sample.local8.size(), size_t(25000) * sample.shape.dp);
}

} // namespace
} // namespace faiss_vlc
