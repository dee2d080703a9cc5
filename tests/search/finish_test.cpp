#include <faiss_vlc/search/finish.h>

#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/search/place.h>

namespace faiss_vlc {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

TEST(Place, GoesThroughFaissesLabels) {
    for (const Place place : {Place{0, 0}, Place{7, 3}, Place{(1 << 20) - 1, UINT32_MAX}}) {
        EXPECT_TRUE(Place::of_label(place.label()) == place);
        EXPECT_EQ(place.label(), int64_t(place.list) << 32 | int64_t(place.offset));
    }
    EXPECT_TRUE((Place{1, 9} < Place{2, 0}));
    EXPECT_TRUE((Place{2, 0} < Place{2, 1}));
    EXPECT_FALSE((Place{2, 1} < Place{2, 1}));
}

/// Three queries with 0, 2 and 5 hits for 3 results.
void expect_padded(faiss::MetricType metric, float worst) {
    Model model;
    model.metric = metric;
    std::vector<float> distances(9, 1234.0f);
    std::vector<int64_t> labels(9, 1234);
    const SearchBatch batch = {3, 1, nullptr, 3, distances.data(), labels.data(), false};
    const Finish finish(model, batch);
    const int64_t found[] = {0, 2, 5};
    for (int64_t q = 0; q < 3; q++) {
        finish.write(q, found[q], [&](int64_t r) {
            return Finish::Result{float(10 * q + r), 100 * q + r};
        });
    }
    EXPECT_EQ(distances, (std::vector<float>{worst, worst, worst, 10, 11, worst, 20, 21, 22}));
    EXPECT_EQ(labels, (std::vector<int64_t>{-1, -1, -1, 100, 101, -1, 200, 201, 202}));
}

TEST(Finish, PadsWithTheMetricsWorst) {
    expect_padded(faiss::METRIC_L2, kLargest);
    expect_padded(faiss::METRIC_INNER_PRODUCT, -kLargest);
}

TEST(SearchBatch, PartsAreTheCallersArrays) {
    float x[12], distances[8];
    int64_t labels[8];
    const SearchBatch batch = {4, 3, x, 2, distances, labels, true};
    const SearchBatch part = batch.part(1, 2);
    EXPECT_EQ(part.n, 2);
    EXPECT_EQ(part.x, x + 3);
    EXPECT_EQ(part.distances, distances + 2);
    EXPECT_EQ(part.labels, labels + 2);
    EXPECT_TRUE(part.as_places);
}

} // namespace
} // namespace faiss_vlc
