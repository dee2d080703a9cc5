// A search on the device returns what the CPU returns, bit by bit.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <thread>

#include <faiss/impl/IDSelector.h>

#include <opencl/search.h>

#include <tests/opencl/search_fixture.h>
#include <tests/support/fine_index.h>
#include <tests/support/region_index.h>

namespace faiss_vlc {
namespace {

struct Case {
    int d, m;
    float bits;
    int frames;
    AnchorGrid grid;
};

IndexVLC made(const Case& c, faiss::MetricType metric, idx_t n) {
    VLCParameters p = small(c.m, c.bits);
    p.iterations = 4;
    if (p.codec == Codec::automatic) { // words_test.cpp has the others
        p.codec = Codec::lattice;
    }
    p.frames = c.frames;
    p.grid = c.grid;
    IndexVLC index(c.d, p, metric);
    index.train(n, rows(n, c.d, 3).data());
    return index;
}

/// As it is after training: filled() refines more than a device looks for.
IndexVLC filled_for_device() {
    IndexVLC index = filled();
    index.refine_k = 0;
    return index;
}

std::string name(const Case& c, faiss::MetricType metric, idx_t k, size_t nprobe, idx_t n) {
    return "d " + std::to_string(c.d) + " m " + std::to_string(c.m) + " bits " +
           std::to_string(c.bits) + (metric == faiss::METRIC_L2 ? " l2" : " ip") + " k " +
           std::to_string(k) + " nprobe " + std::to_string(nprobe) + " queries " +
           std::to_string(n);
}

} // namespace

TEST(OpenCLSearch, SmallSizes) {
    const Case cases[] = {{7, 5, 3, 1, AnchorGrid::int8}, {16, 12, 2, 2, AnchorGrid::float16}};
    for (const Case& c : cases) {
        for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            IndexVLC index = made(c, metric, 300);
            index.add(150, rows(150, c.d, 4).data());
            const std::vector<float> x = rows(9, c.d, 5);
            expect_same(index, 3, 2, x, name(c, metric, 3, 2, 9));
            expect_same(index, 20, c.m, x, name(c, metric, 20, c.m, 9));
        }
    }
}

// Two planes of a query.
TEST(OpenCLSearch, FineQueries) {
    const Case cases[] = {{7, 5, 8, 1, AnchorGrid::int8},
                          {64, 33, 6, 3, AnchorGrid::float16},
                          {130, 20, 8, 1, AnchorGrid::int8}};
    for (const Case& c : cases) {
        for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            const std::vector<float> y = rows(1500, c.d, 4), x = rows(53, c.d, 5);
            const auto index = with_fine_queries(made(c, metric, 1000), true, y);
            for (const size_t nprobe : {size_t(1), size_t(c.m)}) {
                expect_same(*index, 10, nprobe, x, name(c, metric, 10, nprobe, 53));
            }
            const auto usual = with_fine_queries(*index, false, y);
            usual->nprobe = index->nprobe = size_t(c.m);
            index->search_device = "";
            EXPECT_FALSE(search(*usual, 10, nullptr, x).distance ==
                         search(*index, 10, nullptr, x).distance);
        }
    }
}

// Where lists are looked for in regions.
TEST(OpenCLSearch, Regions) {
    const Case cases[] = {{7, 5, 3, 1, AnchorGrid::int8}, {37, 129, 2, 2, AnchorGrid::float16}};
    for (const Case& c : cases) {
        for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            const IndexVLC plain = made(c, metric, 1000);
            const std::vector<float> y = rows(1500, c.d, 4);
            std::vector<float> x = rows(70, c.d, 5);
            std::fill_n(&x[size_t(3) * c.d], c.d, 3e3f); // far off the lattice
            for (const size_t q : {5, 6, 11}) {
                put_off_lattice(plain.model->lattice, c.d, false, &x[q * c.d]);
            }
            for (const int count : {2, 5, 66}) {
                if (count > c.m) {
                    continue;
                }
                IndexVLC index = with_regions(
                        plain, ragged_regions(*plain.model, count, {1, 1, 2, 3, 5}, 3), y);
                for (const size_t nprobe : {size_t(1), size_t(3), size_t(c.m)}) {
                    LaunchCounter launches;
                    expect_same(index, 10, nprobe, x, name(c, metric, 10, nprobe, 70));
                    const bool some = index.model->regions.visited(int(nprobe)) < count;
                    EXPECT_EQ(launches("keep_regions") > 0, some) << nprobe;
                    EXPECT_TRUE(some || nprobe > 1);
                    index.exact_ranking = true;
                    expect_same(index, 10, nprobe, x, name(c, metric, 10, nprobe, 70));
                    index.exact_ranking = false;
                }
            }
        }
    }
}

// Queries that are turned in three parts.
TEST(OpenCLSearch, FineRotation) {
    const Case cases[] = {{1, 3, 8, 1, AnchorGrid::int8},
                          {64, 33, 6, 3, AnchorGrid::float16},
                          {130, 20, 8, 1, AnchorGrid::int8}};
    for (const Case& c : cases) {
        for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            const std::vector<float> y = rows(1500, c.d, 4), x = rows(83, c.d, 5);
            const auto index = with_fine_rotation(made(c, metric, 1000), true, y);
            for (const size_t nprobe : {size_t(1), size_t(c.m)}) {
                expect_same(*index, 10, nprobe, x, name(c, metric, 10, nprobe, 83));
            }
        }
    }
}

TEST(OpenCLSearch, EqualsTheCpu) {
    const Case cases[] = {
            {1, 3, 8, 1, AnchorGrid::int8},    {3, 7, 4, 1, AnchorGrid::float16},
            {24, 70, 1, 4, AnchorGrid::int8},  {37, 129, 0.5f, 2, AnchorGrid::int8},
            {64, 33, 4, 3, AnchorGrid::int8},  {100, 40, 2, 16, AnchorGrid::float16},
            {130, 20, 8, 1, AnchorGrid::int8}, {33, 64, 2.7f, 5, AnchorGrid::int8},
    };
    for (const Case& c : cases) {
        for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            IndexVLC index = made(c, metric, 1000);
            index.add(2500, rows(2500, c.d, 4).data());
            for (const idx_t n : {1, 69}) {
                const std::vector<float> x = rows(n, c.d, uint32_t(5 + n));
                for (const idx_t k : {1, 10, 100}) {
                    for (const size_t nprobe : {size_t(1), size_t(3), size_t(c.m)}) {
                        expect_same(index, k, nprobe, x, name(c, metric, k, nprobe, n));
                        if (HasFatalFailure()) {
                            return;
                        }
                    }
                }
            }
        }
    }
}

// The device looks for those that the CPU orders anew by the second tier.
TEST(OpenCLSearch, TwoTiers) {
    const int d = 37;
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const Codec codec : {Codec::lattice, Codec::block}) {
            VLCParameters p = small(30);
            p.codec = codec;
            p.bytes = 8;
            p.second_bytes = 21;
            IndexVLC index(d, p, metric);
            index.train(1000, rows(1000, d, 3).data());
            index.add(1500, rows(1500, d, 4).data());
            std::vector<float> x = rows(69, d, 5);
            x[7 * d] = std::numeric_limits<float>::quiet_NaN();
            std::fill_n(&x[8 * d], d, 1e25f);
            for (const size_t nprobe : {size_t(1), size_t(4), size_t(30)}) {
                for (const size_t refine_k : {0, 1, 100, 1024}) {
                    index.refine_k = refine_k;
                    expect_same(index, 10, nprobe, x, "refine_k " + std::to_string(refine_k));
                }
                expect_same(index, 1000, nprobe, x, "k 1000");
            }
            index.refine_k = 1025; // more than the device keeps
            const auto params = probing(4);
            const Results met = search(index, 10, &params, x);
            index.search_device = "";
            EXPECT_EQ(search(index, 10, &params, x), met);
        }
    }
}

// Queries that the int8 lattice would clamp, beside ordinary ones and alone.
TEST(OpenCLSearch, QueriesOffTheLattice) {
    const Case cases[] = {{1, 3, 8, 1, AnchorGrid::int8},
                          {37, 129, 0.5f, 2, AnchorGrid::int8},
                          {100, 40, 2, 16, AnchorGrid::float16}};
    for (const Case& c : cases) {
        IndexVLC index = made(c, faiss::METRIC_L2, 1000);
        std::vector<float> x = rows(1500, c.d, 4);
        for (idx_t i = 0; i < 1500; i += 3) {
            std::for_each(&x[i * c.d], &x[i * c.d] + c.d, [](float& v) { v *= 40; });
        }
        index.add(1500, x.data());
        x.resize(size_t(70) * c.d);
        for (const size_t nprobe : {size_t(1), size_t(3), size_t(c.m)}) {
            expect_same(index, 10, nprobe, x, name(c, faiss::METRIC_L2, 10, nprobe, 70));
        }
        for (const float times : {50.0f, 1e4f, 1e7f}) {
            std::vector<float> far = x;
            std::for_each(far.begin(), far.end(), [times](float& v) { v *= times; });
            expect_same(index, 10, 3, far, "times " + std::to_string(times));
        }
    }
}

TEST(OpenCLSearch, LongListsAndManyResults) {
    const Case c{12, 3, 4, 1, AnchorGrid::int8};
    IndexVLC index = made(c, faiss::METRIC_L2, 3000);
    index.add(20000, rows(20000, c.d, 6).data());
    const std::vector<float> x = rows(20, c.d, 7);
    for (const idx_t k : {500, 1024}) {
        expect_same(index, k, 3, x, name(c, faiss::METRIC_L2, k, 3, 20));
    }
}

TEST(OpenCLSearch, EmptyListsAndFewVectors) {
    const Case c{24, 70, 2, 2, AnchorGrid::int8};
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index = made(c, metric, 2000);
        const std::vector<float> x = rows(30, c.d, 8);
        for (const idx_t n : {1, 2, 17}) {
            index.reset();
            index.add(n, rows(n, c.d, 9).data());
            for (const size_t nprobe : {1, 20, 70}) {
                expect_same(index, 10, nprobe, x, "few");
            }
        }
        index.reset();
        index.search_device = device_spec();
        EXPECT_EQ(search(index, 5, nullptr, x).label, std::vector<idx_t>(30 * 5, -1));
    }
}

// Equal vectors: the smaller id wins, also where more are equal than the device compares.
TEST(OpenCLSearch, Ties) {
    const Case c{16, 8, 2, 1, AnchorGrid::int8};
    IndexVLC index = made(c, faiss::METRIC_L2, 1000);
    const std::vector<float> some = rows(6, c.d, 10);
    std::vector<float> x;
    std::vector<idx_t> ids;
    for (int i = 0; i < 3000; i++) {
        const int which = i % 50 < 5 ? i % 5 : 5; // most are the sixth
        x.insert(x.end(), &some[which * c.d], &some[which * c.d] + c.d);
        ids.push_back((i * 7919) % 3001);
    }
    index.add_with_ids(3000, x.data(), ids.data());
    for (const idx_t k : {1, 7, 50, 100, 300}) {
        expect_same(index, k, 8, some, "ties");
    }
}

TEST(OpenCLSearch, SeesEveryChange) {
    const Case c{24, 20, 2, 2, AnchorGrid::int8};
    IndexVLC index = made(c, faiss::METRIC_L2, 2000);
    const std::vector<float> x = rows(40, c.d, 12);
    const std::vector<float> y = rows(700, c.d, 13);
    index.add(300, y.data());
    expect_same(index, 10, 5, x, "added");
    index.add(400, &y[300 * c.d]);
    expect_same(index, 10, 5, x, "added more");
    index.remove_ids(faiss::IDSelectorRange(100, 350));
    expect_same(index, 10, 5, x, "removed");
    const std::vector<idx_t> wide = {idx_t(1) << 40, -5, 77};
    index.add_with_ids(3, x.data(), wide.data());
    expect_same(index, 10, 5, x, "wide ids");
    IndexVLC copy(index);
    copy.add(100, y.data());
    expect_same(copy, 10, 5, x, "a copy");
    expect_same(index, 10, 5, x, "the original");
    index.merge_from(copy, 5000);
    expect_same(index, 10, 5, x, "merged");
    index.reset();
    index.add(50, y.data());
    expect_same(index, 10, 5, x, "reset");
    index.reset();
    index.train(2000, rows(2000, c.d, 14).data());
    index.add(500, y.data());
    expect_same(index, 10, 5, x, "trained again");
}

TEST(OpenCLSearch, StrangeQueries) {
    const Case c{24, 20, 2, 2, AnchorGrid::int8};
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index = made(c, metric, 2000);
        index.add(2000, rows(2000, c.d, 4).data());
        std::vector<float> x = rows(8, c.d, 15);
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
        expect_same(index, 10, 5, x, "strange");
    }
}

// Vectors and queries of lengths that training never saw.
TEST(OpenCLSearch, LengthsUnlikeTheTrainings) {
    const Case c{24, 20, 2, 2, AnchorGrid::int8};
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index = made(c, metric, 2000);
        std::vector<float> y = rows(1500, c.d, 4), x = rows(24, c.d, 15);
        for (size_t i = 0; i < y.size(); i++) {
            y[i] *= std::array{1.0f, 1e-3f, 30.0f, 1000.0f, 1e6f}[i / c.d % 5];
        }
        for (size_t i = 0; i < x.size(); i++) {
            x[i] *= std::array{1.0f, 30.0f, 1000.0f, 1e-4f}[i / c.d % 4];
        }
        index.add(1500, y.data());
        for (const idx_t k : {10, 1000}) {
            expect_same(index, k, 20, x, name(c, metric, k, 20, 24));
        }
    }
}

TEST(OpenCLSearch, SpecsAndWhatStaysOnTheCpu) {
    IndexVLC index = filled_for_device();
    index.nprobe = 4;
    const Results expected = search(index, 5);
    index.search_device = "gpu";
    EXPECT_MESSAGE(search(index, 5), "'gpu'");
    index.search_device = "opencl:no such device";
    EXPECT_MESSAGE(search(index, 5), "no such device");
    index.search_device = "reference";
    EXPECT_EQ(search(index, 5), expected);
    index.search_device = device_spec();
    EXPECT_EQ(search(index, 5), expected);

    LaunchCounter launches;
    faiss::IDSelectorRange range(0, 500);
    SearchParametersVLC params;
    params.nprobe = 4;
    params.sel = &range;
    for (const idx_t label : search(index, 5, &params).label) {
        EXPECT_LT(label, 500);
    }
    params.sel = nullptr;
    params.max_codes = 10;
    search(index, 5, &params);
    params.max_codes = 0;
    params.max_probes = 8;
    search(index, 5, &params);
    search(index, 1025);
    EXPECT_EQ(launches(scan_kernel(index)), 0u);
    std::vector<float> distance(kQueries * 5), recons(kQueries * 5 * kDim);
    std::vector<idx_t> label(kQueries * 5);
    index.search_and_reconstruct(kQueries, queries().data(), 5, distance.data(), label.data(),
                                 recons.data());
    EXPECT_EQ(launches(scan_kernel(index)), 1u);
    EXPECT_EQ(label, expected.label);
    const IndexVLC copy(index);
    EXPECT_EQ(copy.search_device, index.search_device);
}

TEST(OpenCLSearch, AForkedChildGetsAnError) {
    IndexVLC index = filled_for_device();
    index.search_device = device_spec();
    const Results expected = search(index, 3);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        alarm(20);
        const std::string message = message_of([&] { search(index, 3); });
        _exit(message.find("fork") == std::string::npos);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "the child was killed";
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_EQ(search(index, 3), expected) << "the parent goes on";
}

// Long lists, few results: the bound comes from the work-items' least keys.
TEST(OpenCLSearch, VeryManyVectors) {
    const Case c{8, 2, 4, 1, AnchorGrid::int8};
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index = made(c, metric, 2000);
        index.add(40000, rows(40000, c.d, 6).data());
        const std::vector<float> x = rows(6, c.d, 7);
        for (const idx_t k : {1, 10, 128, 129}) {
            expect_same(index, k, 2, x, name(c, metric, k, 2, 6));
        }
    }
}

TEST(OpenCLSearch, ManyThreads) {
    IndexVLC index = filled_for_device();
    index.nprobe = 6;
    const Results expected = search(index, 10);
    index.search_device = device_spec();
    std::vector<std::thread> threads;
    std::vector<int> wrong(4);
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&, t] {
            for (int round = 0; round < 5; round++) {
                wrong[t] += !(search(index, 10) == expected);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(wrong, std::vector<int>(4));
}

} // namespace faiss_vlc
