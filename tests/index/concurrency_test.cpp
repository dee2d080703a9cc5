// Many threads on one index, one device for many indexes. `make tsan` runs this under
// ThreadSanitizer.

#include <omp.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>

#include <faiss_vlc/search/lists.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

constexpr int kDim = 16;
constexpr int kCount = 600;

const std::vector<float>& base() {
    static const std::vector<float> x = clustered(kCount, kDim, 15, 1);
    return x;
}

IndexVLC filled(faiss::MetricType metric = faiss::METRIC_L2) {
    IndexVLC index(kDim, quick(12, 9), metric);
    index.train(kCount, base().data());
    index.add(kCount, base().data());
    index.nprobe = 5;
    return index;
}

/// Runs body(thread, round) in several threads at once; what one throws fails the test.
template <class Body>
void in_threads(int threads, int rounds, Body body) {
    std::vector<std::thread> running;
    std::atomic<int> failed{0};
    for (int t = 0; t < threads; t++) {
        running.emplace_back([&, t] {
            omp_set_num_threads(2);
            try {
                for (int r = 0; r < rounds; r++) {
                    body(t, r);
                }
            } catch (const std::exception& error) {
                fprintf(stderr, "thread %d: %s\n", t, error.what());
                failed++;
            }
        });
    }
    for (std::thread& one : running) {
        one.join();
    }
    EXPECT_EQ(failed, 0);
}

} // namespace

TEST(Concurrency, SearchesOfMixedSizesWhileOthersSave) {
    std::string folder = (fs::temp_directory_path() / "vlc-threads-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const IndexVLC own = filled(metric);
        faiss_vlc::write_index(&own, (folder + "/x.vlc").c_str());
        const Bytes bytes = written(own);
        const Results expected = search(own, base());
        const IndexPtr mapped(
                faiss_vlc::read_index((folder + "/x.vlc").c_str(), faiss::IO_FLAG_MMAP));
        for (const faiss::Index* index :
             std::initializer_list<const faiss::Index*>{&own, mapped.get()}) {
            std::atomic<int> wrong{0};
            in_threads(6, 12, [&](int t, int r) {
                if (t == 0) {
                    const std::string path = folder + "/saved.vlc";
                    faiss_vlc::write_index(index, path.c_str());
                    wrong += written(*index) != bytes;
                    return;
                }
                static const int sizes[] = {1, 2, 3, 7, 16, 33, 100};
                const int n = sizes[(t * 5 + r) % 7];
                const int first = (t * 97 + r * 31) % (kCount - n);
                const std::vector<float> part(base().begin() + first * kDim,
                                              base().begin() + (first + n) * kDim);
                const Results met = search(*index, part);
                for (int i = 0; i < n * 5; i++) {
                    wrong += met.distance[i] != expected.distance[first * 5 + i] ||
                             met.label[i] != expected.label[first * 5 + i];
                }
                const auto& vlc = dynamic_cast<const IndexVLC&>(*index);
                std::vector<float> vector(kDim);
                vlc.reconstruct(first, vector.data());
                faiss::RangeSearchResult range(n);
                vlc.range_search(n, part.data(), metric == faiss::METRIC_L2 ? 1.0f : 10.0f, &range);
            });
            EXPECT_EQ(wrong, 0);
        }
    }
    fs::remove_all(folder);
}

TEST(Concurrency, IndexesOfTheirOwnInEachThread) {
    const Bytes expected = written(filled());
    std::atomic<int> wrong{0};
    in_threads(4, 3, [&](int, int) {
        const IndexVLC mine = filled();
        const Bytes bytes = written(mine);
        const IndexPtr again = read(bytes);
        wrong += bytes != expected || written(*again) != expected;
        const IndexPtr tree = read(written(*filled_tree(kDim, "IDMap,VLC8x4", base())));
        wrong += tree->ntotal != kCount;
    });
    EXPECT_EQ(wrong, 0);
}

TEST(Concurrency, OneDeviceForManyThreads) {
    IndexVLC expected = filled();
    const Bytes bytes = written(expected);
    std::atomic<int> wrong{0};
    in_threads(3, 2, [&](int, int) {
        VLCParameters params = quick(12, 9);
        params.device = "opencl:";
        IndexVLC index(kDim, params);
        index.train(kCount, base().data());
        index.add(kCount, base().data());
        index.nprobe = 5;
        wrong += index.trained_on == "reference";
        wrong += written(index) != bytes;
    });
    EXPECT_EQ(wrong, 0);
}

TEST(Concurrency, ExceptionsInParallelRegionsReachTheCaller) {
    struct Bad : faiss::IDSelector {
        bool is_member(int64_t id) const override {
            if (id % 7 == 3) {
                throw std::runtime_error("selector");
            }
            return true;
        }
    };
    IndexVLC index = filled();
    const Bytes before = written(index);
    const Results expected = search(index, base());
    const Bad bad;
    faiss::SearchParametersIVF params;
    params.nprobe = 12;
    params.sel = const_cast<Bad*>(&bad);
    std::vector<float> distances(kCount * 5);
    std::vector<int64_t> labels(kCount * 5);
    EXPECT_THROW(index.search(kCount, base().data(), 5, distances.data(), labels.data(), &params),
                 std::runtime_error);
    faiss::RangeSearchResult range(kCount);
    EXPECT_THROW(index.range_search(kCount, base().data(), 5, &range, &params), std::runtime_error);
    EXPECT_THROW(index.remove_ids(bad), std::runtime_error);
    EXPECT_EQ(written(index), before);
    EXPECT_EQ(search(index, base()), expected);
}
