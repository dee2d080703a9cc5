// Codes of two tiers that the device refines itself: what the CPU returns, bit by bit.

#include <opencl/refine.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>

#include <faiss/impl/IDSelector.h>

#include <faiss_vlc/index_io.h>

#include <tests/opencl/search_fixture.h>
#include <tests/support/fine_index.h>
#include <tests/support/region_index.h>
#include <tests/support/tier_index.h>

namespace faiss_vlc {
namespace {

struct Case {
    int d, m;
    int first, second; ///< bytes
    int frames = 1;
    AnchorGrid grid = AnchorGrid::int8;
    int fine = 0; ///< a byte of factors more

    std::string name(faiss::MetricType metric) const {
        return "d " + std::to_string(d) + " m " + std::to_string(m) + " b" + std::to_string(first) +
               "+" + std::to_string(second) + (metric == faiss::METRIC_L2 ? " l2" : " ip");
    }
};

constexpr std::array kMetrics = {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT};

/// Trained, with sums whatever training would choose; empty.
std::unique_ptr<IndexVLC> tiers(const Case& c, faiss::MetricType metric, idx_t n = 1000,
                                Codec codec = Codec::lattice) {
    VLCParameters p = small(c.m);
    p.iterations = 4;
    p.codec = codec;
    p.bytes = c.first;
    p.second_bytes = c.second;
    p.frames = c.frames;
    p.grid = c.grid;
    IndexVLC index(c.d, p, metric);
    index.train(n, rows(n, c.d, 3).data());
    return with_factors(index, metric == faiss::METRIC_INNER_PRODUCT ? 2 : 3 + c.fine);
}

/// On the CPU and on the device, which has to refine itself.
void expect_refined(IndexVLC& index, idx_t k, size_t nprobe, const std::vector<float>& x,
                    const std::string& what) {
    LaunchCounter launches;
    expect_same(index, k, nprobe, x, what);
    EXPECT_GT(launches("refine_hits"), 0u) << what;
    EXPECT_EQ(index.refined_on(), device_spec()) << what;
}

/// The same where the CPU has to refine.
void expect_refined_by_cpu(IndexVLC& index, idx_t k, size_t nprobe, const std::vector<float>& x,
                           const std::string& what) {
    LaunchCounter launches;
    expect_same(index, k, nprobe, x, what);
    EXPECT_EQ(launches("refine_hits"), 0u) << what;
    EXPECT_EQ(index.refined_on(), "reference") << what;
}

} // namespace

TEST(OpenCLRefine, SmallSizes) {
    const Case cases[] = {{7, 5, 5, 6}, {24, 12, 6, 17, 2, AnchorGrid::float16, 1}};
    for (const Case& c : cases) {
        for (const auto metric : kMetrics) {
            const auto index = tiers(c, metric, 300);
            index->add(150, rows(150, c.d, 4).data());
            const std::vector<float> x = rows(9, c.d, 5);
            index->refine_k = 9;
            expect_refined(*index, 3, 2, x, c.name(metric));
            index->refine_k = 150;
            expect_refined(*index, 20, c.m, x, c.name(metric));
        }
    }
}

// Layouts of few bits and many, of ragged words, with the usual and the finer factors.
TEST(OpenCLRefine, EqualsTheCpu) {
    const Case cases[] = {
            {1, 3, 3, 4},         {3, 7, 4, 5, 1, AnchorGrid::float16},
            {24, 70, 5, 17, 4},   {37, 129, 8, 21, 2},
            {64, 33, 12, 40, 3},  {96, 40, 16, 92, 2, AnchorGrid::float16, 1},
            {128, 30, 16, 80, 2}, {128, 30, 16, 112, 4, AnchorGrid::int8, 1},
            {128, 20, 17, 67, 1}, {130, 20, 130, 133, 1},
    };
    for (const Case& c : cases) {
        for (const auto metric : kMetrics) {
            const auto index = tiers(c, metric);
            index->add(2500, rows(2500, c.d, 4).data());
            for (const idx_t n : {1, 69}) {
                const std::vector<float> x = rows(n, c.d, uint32_t(5 + n));
                for (const size_t nprobe : {size_t(2), size_t(c.m)}) {
                    for (const size_t refine_k : {0, 1024}) {
                        index->refine_k = refine_k;
                        expect_refined(*index, 10, nprobe, x,
                                       c.name(metric) + " refined " + std::to_string(refine_k));
                    }
                    index->refine_k = 0;
                    expect_refined(*index, n == 1 ? 1 : 100, nprobe, x, c.name(metric));
                    if (HasFatalFailure()) {
                        return;
                    }
                }
            }
        }
    }
}

// What training makes of keys that users write.
TEST(OpenCLRefine, TrainedLayouts) {
    const struct {
        int d, m, bytes, second_bytes;
        float bits, second_bits;
    } cases[] = {{128, 24, 16, 80, 4, 0}, {128, 24, 16, 112, 4, 0}, {128, 24, 0, 0, 1, 4},
                 {384, 16, 24, 72, 4, 0}, {384, 16, 24, 168, 4, 0}, {384, 16, 32, 160, 4, 0}};
    for (const auto& c : cases) {
        for (const auto metric : kMetrics) {
            VLCParameters p = small(c.m);
            p.iterations = 3;
            p.codec = Codec::lattice;
            p.bytes = c.bytes;
            p.second_bytes = c.second_bytes;
            p.bits_per_dim = c.bits;
            p.second_bits = c.second_bits;
            IndexVLC index(c.d, p, metric);
            index.train(1200, rows(1200, c.d, 3).data());
            ASSERT_TRUE(index.model->second);
            ASSERT_TRUE(RefineStage::suits(*index.model));
            index.add(2000, rows(2000, c.d, 4).data());
            for (const size_t nprobe : {size_t(2), size_t(c.m)}) {
                expect_refined(index, 10, nprobe, rows(33, c.d, 5),
                               std::to_string(c.second_bytes) + " of " + std::to_string(c.d));
            }
        }
    }
}

TEST(OpenCLRefine, FineQueriesFineRotationAndRegions) {
    const Case c{64, 33, 12, 40, 3, AnchorGrid::float16};
    for (const auto metric : kMetrics) {
        const auto plain = tiers(c, metric);
        const std::vector<float> y = rows(1500, c.d, 4);
        std::vector<float> x = rows(83, c.d, 5);
        std::fill_n(&x[size_t(3) * c.d], c.d, 3e3f); // off the lattice
        const auto turned = with_fine_rotation(*plain, true, y);
        const auto rounded = with_fine_queries(*turned, true, y);
        IndexVLC regions =
                with_regions(*rounded, ragged_regions(*plain->model, 5, {1, 2, 3}, 3), y);
        for (const size_t nprobe : {1, 4, 33}) {
            expect_refined(*turned, 10, nprobe, x, "fine rotation");
            expect_refined(*rounded, 10, nprobe, x, "fine queries");
            expect_refined(regions, 10, nprobe, x, "regions");
        }
    }
}

// Equal vectors: the smaller id wins, of equal ids the place.
TEST(OpenCLRefine, Ties) {
    const Case c{24, 8, 5, 17};
    const auto index = tiers(c, faiss::METRIC_L2);
    const std::vector<float> some = rows(6, c.d, 10);
    std::vector<float> x;
    std::vector<idx_t> ids;
    for (int i = 0; i < 900; i++) {
        const int which = i % 50 < 45 ? i % 5 : 5;
        x.insert(x.end(), &some[which * c.d], &some[which * c.d] + c.d);
        ids.push_back((i * 7919) % 301); // thrice
    }
    index->add_with_ids(900, x.data(), ids.data());
    const auto check = [&](const char* what) {
        for (const idx_t k : {1, 7, 50, 300}) {
            for (const size_t refine_k : {0, 60, 900}) {
                index->refine_k = refine_k;
                expect_refined(*index, k, 8, some, what);
            }
        }
    };
    check("ties");
    for (idx_t& id : ids) {
        id = id % 2 ? -id : id + (idx_t(1) << 40);
    }
    index->add_with_ids(900, x.data(), ids.data());
    check("ties of wide ids");

    // as places
    index->refine_k = 200;
    std::vector<float> distance[2], recons[2];
    std::vector<idx_t> label[2];
    for (const int on_device : {0, 1}) {
        index->search_device = on_device ? device_spec() : "";
        distance[on_device].resize(6 * 50);
        label[on_device].resize(6 * 50);
        recons[on_device].resize(6 * 50 * size_t(c.d));
        index->search_and_reconstruct(6, some.data(), 50, distance[on_device].data(),
                                      label[on_device].data(), recons[on_device].data());
    }
    EXPECT_EQ(distance[0], distance[1]);
    EXPECT_EQ(label[0], label[1]);
    EXPECT_EQ(recons[0], recons[1]);
}

TEST(OpenCLRefine, SeesEveryChange) {
    const Case c{24, 20, 5, 17, 2};
    const auto index = tiers(c, faiss::METRIC_L2, 2000);
    const std::vector<float> x = rows(40, c.d, 12);
    const std::vector<float> y = rows(700, c.d, 13);
    index->add(300, y.data());
    expect_refined(*index, 10, 5, x, "added");
    index->add(400, &y[300 * c.d]);
    expect_refined(*index, 10, 5, x, "added more");
    index->remove_ids(faiss::IDSelectorRange(100, 350));
    expect_refined(*index, 10, 5, x, "removed");
    const std::vector<idx_t> wide = {idx_t(1) << 40, -5, 77};
    index->add_with_ids(3, x.data(), wide.data());
    expect_refined(*index, 10, 5, x, "wide ids");
    IndexVLC copy(*index);
    copy.add(100, y.data());
    expect_refined(copy, 10, 5, x, "a copy");
    expect_refined(*index, 10, 5, x, "the original");
    index->merge_from(copy, 5000);
    expect_refined(*index, 10, 5, x, "merged");
    index->reset();
    for (const idx_t n : {1, 2, 17}) {
        index->add(n, y.data());
        expect_refined(*index, 10, 20, x, "few");
    }
    index->reset();
    index->add(300, y.data());
    index->set_direct_map_type(faiss::DirectMap::Array);
    expect_refined(*index, 10, 5, x, "filled again");
    const std::vector<idx_t> updated = {3, 200, 299};
    index->update_vectors(3, updated.data(), x.data());
    expect_refined(*index, 10, 5, x, "updated");
}

TEST(OpenCLRefine, StrangeQueriesAndLengths) {
    const Case c{24, 20, 5, 17, 2};
    for (const auto metric : kMetrics) {
        const auto index = tiers(c, metric, 2000);
        std::vector<float> y = rows(1500, c.d, 4), x = rows(30, c.d, 15);
        for (size_t i = 0; i < y.size(); i++) {
            y[i] *= std::array{1.0f, 1e-3f, 30.0f, 1000.0f, 1e6f}[i / c.d % 5];
        }
        index->add(1500, y.data());
        for (size_t i = 8 * size_t(c.d); i < x.size(); i++) {
            x[i] *= std::array{1.0f, 30.0f, 1000.0f, 1e-4f, 1e9f}[i / c.d % 5];
        }
        x[3] = NAN;
        x[1 * c.d] = INFINITY;
        for (int k = 0; k < c.d; k++) {
            x[2 * c.d + k] = 1e30f;
            x[3 * c.d + k] = 0;
            x[4 * c.d + k] = -1e-38f;
            x[5 * c.d + k] = k == 7 ? 3e6f : 0.0f; // one axis holds the whole norm
            x[6 * c.d + k] = 1e12f;
        }
        x[7 * c.d] = std::numeric_limits<float>::max();
        for (const size_t refine_k : {0, 100, 1000}) {
            index->refine_k = refine_k;
            expect_refined(*index, 10, 20, x, c.name(metric));
        }
    }
}

// More of them than one block of queries holds, and fewer than the last time.
TEST(OpenCLRefine, BatchesOfAnySize) {
    const Case c{24, 20, 5, 17, 2};
    const auto index = tiers(c, faiss::METRIC_L2);
    index->add(1500, rows(1500, c.d, 4).data());
    for (const idx_t n : {3, 16385, 1, 64, 65}) {
        expect_refined(*index, 5, 1, rows(n, c.d, 8), std::to_string(n));
        index->refine_k = index->refine_k ? 0 : 77;
    }
}

TEST(OpenCLRefine, WhatStaysOnTheCpu) {
    const Case c{24, 20, 5, 17, 2};
    const std::vector<float> x = rows(40, c.d, 12), y = rows(1500, c.d, 4);
    for (const auto metric : kMetrics) {
        const auto words = tiers(c, metric, 1000, Codec::block);
        words->add(1500, y.data());
        expect_refined_by_cpu(*words, 10, 5, x, "words");
        const auto decoded = with_factors(*words, 1);
        decoded->add(1500, y.data());
        expect_refined_by_cpu(*decoded, 10, 5, x, "words by decoding");

        const auto index = tiers(c, metric);
        const auto by_decoding = with_factors(*index, 1);
        by_decoding->add(1500, y.data());
        expect_refined_by_cpu(*by_decoding, 10, 5, x, "levels by decoding");

        EXPECT_EQ(index->refined_on(), "");
        index->add(1500, y.data());
        expect_refined(*index, 10, 5, x, "levels by sums");
        const std::string file = testing::TempDir() + "refine_" + std::to_string(getpid());
        faiss_vlc::write_index(index.get(), file.c_str());
        const std::unique_ptr<faiss::Index> mapped(
                faiss_vlc::read_index(file.c_str(), IO_FLAG_MMAP_SECOND));
        unlink(file.c_str());
        auto& vlc = dynamic_cast<IndexVLC&>(*mapped);
        expect_refined_by_cpu(vlc, 10, 5, x, "a mapped second tier");
    }
    IndexVLC one = filled();
    if (!one.model->second) {
        one.search_device = device_spec();
        search(one, 5);
        EXPECT_EQ(one.refined_on(), "");
    }
}

// Selectors, ranges and more than the device keeps are searched by the CPU alone.
TEST(OpenCLRefine, OtherSearches) {
    const Case c{24, 20, 5, 17, 2};
    const auto index = tiers(c, faiss::METRIC_L2);
    index->add(1500, rows(1500, c.d, 4).data());
    const std::vector<float> x = rows(40, c.d, 12);
    faiss::IDSelectorRange range(0, 500);
    faiss::SearchParametersIVF params = probing(5);
    params.sel = &range;
    const auto results = [&] {
        std::vector<Results> all = {search(*index, 10, &params, x)};
        index->refine_k = 1025;
        all.push_back(search(*index, 10, nullptr, x));
        index->refine_k = 0;
        return all;
    };
    const std::vector<Results> expected = results();
    index->search_device = device_spec();
    LaunchCounter launches;
    EXPECT_EQ(results(), expected);
    EXPECT_EQ(launches(scan_kernel(*index)), 0u);
    EXPECT_EQ(launches("refine_hits"), 0u);
    EXPECT_EQ(index->refined_on(), "");
}

} // namespace faiss_vlc
