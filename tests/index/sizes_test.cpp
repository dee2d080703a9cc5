// Counts that callers and files announce: multiplied by one helper that notices what does not fit.

#include <climits>
#include <cstdint>

#include <faiss/impl/AuxIndexStructures.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/train/sample.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;

TEST(Sizes, TheHelper) {
    EXPECT_EQ(checked_count(0, 4096, 4, "x"), 0u);
    EXPECT_EQ(checked_count(3, 5, 4, "x"), 15u);
    EXPECT_EQ(checked_count(INT64_MAX, 1, 1, "x"), uint64_t(INT64_MAX));
    EXPECT_EQ(checked_count(INT64_MAX / 8, 2, 4, "x"), uint64_t(INT64_MAX / 8 * 2));
    EXPECT_TRUE(throws([] { checked_count(-1, 1, 1, "rows"); }, "rows: expected a number"));
    EXPECT_TRUE(throws([] { checked_count(INT64_MIN, 0, 1, "rows"); }, "rows"));
    EXPECT_TRUE(throws([] { checked_count(INT64_MAX / 4 + 1, 1, 4, "rows"); }, "more than memory"));
    EXPECT_TRUE(throws([] { checked_count(INT64_MAX, 3, 1, "rows"); }, "does not fit"));
    EXPECT_TRUE(throws([] { checked_count(int64_t(1) << 33, uint64_t(1) << 31, 4, "rows"); },
                       "does not fit"));
    EXPECT_EQ(checked_mul(UINT64_MAX, 1, "x"), UINT64_MAX);
    EXPECT_TRUE(throws([] { checked_mul(uint64_t(1) << 32, uint64_t(1) << 32, "x"); }, "x: "));
    EXPECT_EQ(checked_add(UINT64_MAX, 0, "x"), UINT64_MAX);
    EXPECT_TRUE(throws([] { checked_add(UINT64_MAX, 1, "x"); }, "x: "));
}

// None of these may look at the data: there is far less of it than they say.
TEST(Sizes, OfCallers) {
    constexpr int kDim = 16;
    const std::vector<float> x = clustered(200, kDim, 6, 1);
    IndexVLC index(kDim, quick(4, 6));
    for (const int64_t n :
         {int64_t(-1), INT64_MIN, INT64_MAX, INT64_MAX / kDim + 1, (INT64_MAX >> 2) / kDim + 1}) {
        EXPECT_THROW(index.train(n, x.data()), faiss::FaissException) << n;
    }
    index.train(200, x.data());
    index.add(200, x.data());
    const Bytes before = written(index);
    std::vector<float> distances(8), recons(8 * kDim);
    std::vector<int64_t> labels(8, 0);
    std::vector<uint8_t> codes(4096);
    for (const int64_t n :
         {int64_t(-1), INT64_MIN, INT64_MAX, INT64_MAX / kDim + 1, (INT64_MAX >> 2) / kDim + 1}) {
        SCOPED_TRACE(n);
        const auto refused = [](auto action) { return throws(action, ""); };
        EXPECT_TRUE(refused([&] { index.add(n, x.data()); }));
        EXPECT_TRUE(refused([&] { index.add_with_ids(n, x.data(), labels.data()); }));
        EXPECT_TRUE(refused([&] { index.add_core(n, x.data(), nullptr, labels.data()); }));
        EXPECT_TRUE(refused([&] { index.assign_lists(n, x.data(), labels.data()); }));
        EXPECT_TRUE(
                refused([&] { index.search(n, x.data(), 1, distances.data(), labels.data()); }));
        EXPECT_TRUE(refused([&] {
            index.search_preassigned(n, x.data(), 1, labels.data(), nullptr, distances.data(),
                                     labels.data(), false);
        }));
        EXPECT_TRUE(refused([&] {
            index.search_and_reconstruct(n, x.data(), 1, distances.data(), labels.data(),
                                         recons.data());
        }));
        EXPECT_TRUE(refused([&] {
            faiss::RangeSearchResult result(1);
            index.range_search(n, x.data(), 1, &result);
        }));
        EXPECT_TRUE(
                refused([&] { index.encode_vectors(n, x.data(), labels.data(), codes.data()); }));
        EXPECT_TRUE(refused([&] { index.sa_encode(n, x.data(), codes.data()); }));
        EXPECT_TRUE(refused([&] { index.sa_decode(n, codes.data(), recons.data()); }));
        EXPECT_TRUE(refused(
                [&] { index.quantizer->search(n, x.data(), 1, distances.data(), labels.data()); }));
    }
    for (const int64_t k : {int64_t(-1), int64_t(0), INT64_MAX, INT64_MAX / 8 + 1, INT64_MAX / 2}) {
        EXPECT_THROW(index.search(2, x.data(), k, distances.data(), labels.data()),
                     faiss::FaissException)
                << k;
    }
    EXPECT_THROW(index.lists().resize(0, size_t(1) << 32), faiss::FaissException);
    EXPECT_THROW(index.lists().resize(0, SIZE_MAX), faiss::FaissException);
    EXPECT_EQ(written(index), before);
}

TEST(Sizes, OfDescriptions) {
    for (const char* text : {"VLC99999999999999999999", "VLC8x99999999999", "VLC8b99999999999",
                             "VLC1048577", "VLC0", "VLC8b99999999999999999999999999", "VLC-1"}) {
        EXPECT_THROW(IndexPtr(faiss_vlc::index_factory(16, text)), faiss::FaissException) << text;
    }
    // the largest one that may be asked for costs nothing before training
    const IndexPtr large(faiss_vlc::index_factory(4096, "VLC1048576x8"));
    EXPECT_LT(dynamic_cast<const IndexVLC&>(*large).memory(), 10000u);
    EXPECT_LT(written(*large).size(), 2000u);
}
