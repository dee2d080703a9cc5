// Indexes of which only the second tier of codes stays in the file.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <thread>

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>

#include <omp.h>

#include <faiss_vlc/container/format.h>
#include <faiss_vlc/search/list_major.h>
#include <faiss_vlc/search/lists.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

constexpr int kDim = 16;
constexpr int kCount = 500;
constexpr int kSecond = 15; ///< bytes

class MappedSecond : public testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "vlc-second-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { fs::remove_all(folder_); }
    std::string path() const { return (folder_ / "x.vlc").string(); }
    static const std::vector<float>& base() {
        static const std::vector<float> x = clustered(kCount, kDim, 12, 1);
        return x;
    }
    static IndexVLC filled(faiss::MetricType metric = faiss::METRIC_L2, int copies = 1) {
        VLCParameters parameters = quick(9, 7);
        parameters.second_bytes = kSecond;
        IndexVLC index(kDim, parameters, metric);
        index.train(kCount, base().data());
        for (int i = 0; i < copies; i++) {
            index.add(kCount, base().data());
        }
        index.nprobe = 4;
        return index;
    }
    static std::unique_ptr<IndexVLC> read(const std::string& path, int flags) {
        IndexPtr index(faiss_vlc::read_index(path.c_str(), flags));
        return std::unique_ptr<IndexVLC>(dynamic_cast<IndexVLC*>(index.release()));
    }
    std::unique_ptr<IndexVLC> map() const { return read(path(), IO_FLAG_MMAP_SECOND); }
    std::unique_ptr<IndexVLC> load() const { return read(path(), 0); }
    static int lent(const IndexVLC& index) {
        int count = 0;
        for (size_t j = 0; j < index.nlist; j++) {
            EXPECT_FALSE(index.lists().is_lent(j));
            count += index.lists().is_second_lent(j);
        }
        return count;
    }
    void flip(size_t at) const {
        std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(std::streamoff(at));
        const int byte = file.get();
        file.seekp(std::streamoff(at));
        file.put(char(byte ^ 0x10));
    }
    fs::path folder_;
};

} // namespace

TEST_F(MappedSecond, IsTheSameIndex) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const IndexVLC index = filled(metric);
        faiss_vlc::write_index(&index, path().c_str());
        const auto mapped = map();
        EXPECT_EQ(lent(*mapped), 9);
        EXPECT_EQ(load()->lists().memory() - mapped->lists().memory(),
                  size_t(kCount * kSecond + 9 * 64)); // what stayed in the file
        const auto whole = read(path(), IO_FLAG_MMAP_SECOND | faiss::IO_FLAG_MMAP);
        for (const size_t nprobe : {1, 4, 9}) {
            for (const IndexVLC* one : {mapped.get(), whole.get()}) {
                faiss::SearchParametersIVF params;
                params.nprobe = nprobe;
                EXPECT_EQ(search(*one, base(), 5, &params), search(index, base(), 5, &params));
                const std::vector<float> query(base().begin(), base().begin() + kDim);
                EXPECT_EQ(search(*one, query, 5, &params), search(index, query, 5, &params));
            }
        }
        EXPECT_EQ(written(*mapped), written(index));
        std::vector<float> a(kDim), b(kDim);
        index.reconstruct(77, a.data());
        mapped->reconstruct(77, b.data());
        EXPECT_EQ(a, b);
        const IndexVLC copy(*mapped);
        EXPECT_EQ(search(copy, base()), search(index, base()));
    }
}

TEST_F(MappedSecond, ListMajorSearchIsTheSame) {
    VLCParameters parameters = quick(20, 7);
    parameters.codec = Codec::lattice;
    parameters.second_bytes = kSecond;
    IndexVLC index(kDim, parameters);
    index.train(kCount, base().data());
    std::vector<float> queries;
    for (int i = 0; i < 40; i++) {
        index.add(kCount, base().data());
        queries.insert(queries.end(), base().begin(), base().end());
    }
    faiss_vlc::write_index(&index, path().c_str());
    faiss::SearchParametersIVF params;
    params.nprobe = 16;
    const SearchScope scope{*index.model, index.lists()};
    ASSERT_GT(ListMajor::size_for(scope, 40 * kCount, omp_get_max_threads(), 16, 200), 0);
    const Results expected = search(index, queries, 20, &params);
    EXPECT_EQ(search(*map(), queries, 20, &params), expected);
    EXPECT_EQ(search(*read(path(), faiss::IO_FLAG_MMAP), queries, 20, &params), expected);
}

/// The results of a range search, of each query in the order that it gives.
struct Ranged {
    std::vector<size_t> limit;
    std::vector<float> distance;
    std::vector<int64_t> label;
    bool operator==(const Ranged& other) const {
        return limit == other.limit && distance == other.distance && label == other.label;
    }
};

Ranged range_search(const IndexVLC& index, const std::vector<float>& x, float radius,
                    const faiss::SearchParameters* params = nullptr) {
    const int64_t n = int64_t(x.size()) / kDim;
    faiss::RangeSearchResult result(n);
    index.range_search(n, x.data(), radius, &result, params);
    const size_t found = result.lims[n];
    return {{result.lims, result.lims + n + 1},
            {result.distances, result.distances + found},
            {result.labels, result.labels + found}};
}

TEST_F(MappedSecond, RangeSearchIsTheSame) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index = filled(metric, 20); // of all rows a portion of requests is a few queries
        index.nprobe = 9;
        faiss_vlc::write_index(&index, path().c_str());
        const auto mapped = map();
        const auto whole = read(path(), IO_FLAG_MMAP_SECOND | faiss::IO_FLAG_MMAP);
        std::vector<float> x(base().begin(), base().begin() + 50 * kDim);
        x[3 * kDim] = NAN;
        const float usual = search(index, x, 100).distance[99];
        const float infinity = std::numeric_limits<float>::infinity();
        faiss::IDSelectorRange some(100, 3000);
        faiss::SearchParametersIVF selecting, cut;
        selecting.nprobe = cut.nprobe = 5;
        selecting.sel = &some;
        cut.max_codes = 700;
        for (const float radius : {usual, infinity, -infinity}) {
            for (const faiss::SearchParametersIVF* params :
                 {static_cast<faiss::SearchParametersIVF*>(nullptr), &selecting, &cut}) {
                const Ranged expected = range_search(index, x, radius, params);
                EXPECT_TRUE(range_search(*mapped, x, radius, params) == expected) << radius;
                EXPECT_TRUE(range_search(*whole, x, radius, params) == expected) << radius;
            }
        }
        EXPECT_EQ(range_search(*mapped, x, metric == faiss::METRIC_L2 ? infinity : -infinity)
                          .label.size(),
                  size_t(49 * 20 * kCount)); // more than wait together
    }
}

TEST_F(MappedSecond, WithoutASecondTierItIsLoaded) {
    IndexVLC index(kDim, quick(9, 7));
    faiss_vlc::write_index(&index, path().c_str());
    EXPECT_FALSE(map()->is_trained);
    index.train(kCount, base().data());
    index.add(kCount, base().data());
    faiss_vlc::write_index(&index, path().c_str());
    const auto mapped = map();
    EXPECT_EQ(lent(*mapped), 0);
    EXPECT_EQ(mapped->lists().memory(), load()->lists().memory());
    EXPECT_EQ(search(*mapped, base()), search(index, base()));
    const IndexPtr tree = filled_tree(kDim, "IDMap,VLC8x4", base()); // FAISS's container
    faiss_vlc::write_index(tree.get(), path().c_str());
    const IndexPtr again(faiss_vlc::read_index(path().c_str(), IO_FLAG_MMAP_SECOND));
    EXPECT_EQ(search(*again, base()), search(*tree, base()));
}

TEST_F(MappedSecond, ChangesCopyTheListsTheyTouch) {
    IndexVLC index = filled();
    faiss_vlc::write_index(&index, path().c_str());
    const Bytes before = written(*load());
    auto mapped = map();
    mapped->add(1, base().data());
    index.add(1, base().data());
    EXPECT_EQ(lent(*mapped), 8);
    EXPECT_EQ(written(*mapped), written(index));
    const std::vector<int64_t> wide(20, int64_t(1) << 40);
    mapped->add_with_ids(20, base().data(), wide.data());
    index.add_with_ids(20, base().data(), wide.data());
    EXPECT_EQ(written(*mapped), written(index));
    EXPECT_EQ(search(*mapped, base()), search(index, base()));

    mapped = map();
    const auto loaded = load();
    EXPECT_EQ(mapped->remove_ids(faiss::IDSelectorRange(10, 12)), 2u);
    EXPECT_EQ(loaded->remove_ids(faiss::IDSelectorRange(10, 12)), 2u);
    EXPECT_GE(lent(*mapped), 7);
    EXPECT_EQ(mapped->remove_ids(faiss::IDSelectorRange(0, 250)), 248u);
    EXPECT_EQ(loaded->remove_ids(faiss::IDSelectorRange(0, 250)), 248u);
    EXPECT_EQ(written(*mapped), written(*loaded));
    EXPECT_EQ(search(*mapped, base()), search(*loaded, base()));

    mapped = map();
    const auto other = map();
    other->merge_from(*mapped, kCount);
    EXPECT_EQ(other->ntotal, 2 * kCount);
    mapped = map();
    mapped->make_direct_map(true);
    const std::vector<int64_t> keys = {5, 17};
    mapped->update_vectors(2, keys.data(), base().data());
    std::vector<float> a(kDim), b(kDim);
    mapped->reconstruct(5, a.data());
    mapped->reconstruct(0, b.data());
    EXPECT_EQ(a, b);
    mapped->reset();
    EXPECT_EQ(mapped->ntotal, 0);
    mapped->add(kCount, base().data());
    EXPECT_EQ(search(*mapped, base()), search(*load(), base()));
    EXPECT_EQ(written(*load()), before); // the file knows nothing of it
}

TEST_F(MappedSecond, OutlivesItsFile) {
    const IndexVLC index = filled();
    faiss_vlc::write_index(&index, path().c_str());
    auto mapped = map();
    const IndexVLC copy(*mapped);
    faiss_vlc::write_index(mapped.get(), path().c_str()); // over the file that it lies in
    fs::remove(path());
    EXPECT_EQ(search(*mapped, base()), search(index, base()));
    mapped.reset();
    EXPECT_EQ(search(copy, base()), search(index, base()));
}

TEST_F(MappedSecond, ChecksAllButSecondCodes) {
    const IndexVLC index = filled();
    faiss_vlc::write_index(&index, path().c_str());
    const SectionReader sections(load_file(path()));
    int left = 0;
    for (const Section& section : sections.sections()) {
        if (section.bytes.size == 0) {
            continue;
        }
        const size_t at = section.offset + section.bytes.size / 2;
        flip(at);
        if (section.name == "seconds") {
            search(*map(), base()); // as damaged as it is, it hurts nobody
            left++;
        } else {
            EXPECT_TRUE(throws([&] { map(); }, section.name));
        }
        EXPECT_TRUE(throws([&] { load(); }, section.name));
        flip(at);
    }
    EXPECT_EQ(left, 1);
    const uint64_t size = fs::file_size(path());
    for (const uint64_t cut : {size - 1, size - 4000, size / 2, uint64_t(63), uint64_t(1)}) {
        fs::resize_file(path(), cut);
        EXPECT_THROW(map(), faiss::FaissException) << cut;
    }
}

/// Lets the pages of the file's second codes go, runs something and says for how many the process
/// waited. Skips where the system keeps them, or `run` reads few.
template <class Run>
void expect_few_waits(const std::string& path, Run run) {
    const int fd = open(path.c_str(), O_RDWR);
    ASSERT_GE(fd, 0);
    fsync(fd);
    const SectionReader sections(map_file(path));
    const ByteSpan seconds = sections.section("seconds");
    const size_t page = size_t(sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> there(seconds.size / page - 1);
    auto* begin = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(seconds.data) + page - 1) /
                                          page * page);
    const auto resident = [&] {
        EXPECT_EQ(mincore(begin, there.size() * page, there.data()), 0);
        return std::count_if(there.begin(), there.end(), [](auto v) { return v & 1; });
    };
    auto left = resident();
    for (int tries = 0; tries < 100 && left > 0; tries++) { // some may be on their way to the disk
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        left = resident();
        usleep(left > 0 ? 10000 : 0);
    }
    close(fd);
    if (left > ptrdiff_t(there.size() / 4)) {
        GTEST_SKIP() << left << " of " << there.size() << " pages stay in memory";
    }
    const auto faults = [] {
        struct rusage usage {};
        EXPECT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
        return usage.ru_majflt;
    };
    const long before = faults();
    run();
    const long waited = faults() - before;
    EXPECT_GE(resident() - left, 100); // pages that were read
    EXPECT_LE(waited, 40);             // the libraries' own among them
}

TEST_F(MappedSecond, ASearchWaitsForAllPagesTogether) {
    const IndexVLC index = filled(faiss::METRIC_L2, 400); // 3 MB of second codes
    faiss_vlc::write_index(&index, path().c_str());
    const auto mapped = map();
    Results found;
    expect_few_waits(path(), [&] { found = search(*mapped, base(), 20); });
    if (!found.label.empty()) {
        EXPECT_EQ(found, search(index, base(), 20));
    }
}

TEST_F(MappedSecond, SoDoesARangeSearch) {
    const IndexVLC index = filled(faiss::METRIC_L2, 400);
    faiss_vlc::write_index(&index, path().c_str());
    const auto mapped = map();
    const std::vector<float> some(base().begin(), base().begin() + 40 * kDim);
    const float radius = search(index, some, 800).distance[799];
    Ranged found;
    expect_few_waits(path(), [&] { found = range_search(*mapped, some, radius); });
    if (!found.limit.empty()) {
        EXPECT_TRUE(found == range_search(index, some, radius));
    }
}

TEST_F(MappedSecond, IsSearchedByManyThreadsAtOnce) {
    const IndexVLC index = filled(faiss::METRIC_L2, 4);
    faiss_vlc::write_index(&index, path().c_str());
    const auto mapped = map();
    const Results expected = search(index, base());
    std::vector<int> same(4);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < same.size(); t++) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 10; i++) {
                same[t] += search(*mapped, base()) == expected;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(same, std::vector<int>(4, 10));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

/// In a process of its own: reads the file named by VLC_TEST_FILE with VLC_TEST_FLAGS while it may
/// have VLC_TEST_BYTES more of data, searches, and reports what was found.
TEST(MappedSecondChild, DISABLED_ReadsAndSearches) {
    const std::string path = getenv("VLC_TEST_FILE");
    const int flags = atoi(getenv("VLC_TEST_FLAGS"));
    const long more = atol(getenv("VLC_TEST_BYTES"));
    const std::vector<float> queries = clustered(20, kDim, 12, 2);
    std::ifstream status("/proc/self/status");
    long held = 0; // bytes
    for (std::string word; status >> word;) {
        if (word == "VmData:") {
            status >> held;
            held *= 1024;
        }
    }
    ASSERT_GT(held, 0);
    const rlim_t bytes = rlim_t(held + more);
    const struct rlimit limit = {bytes, bytes};
    ASSERT_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
    try {
        const IndexPtr index(faiss_vlc::read_index(path.c_str(), flags));
        const Results found = search(*index, queries);
        report(std::to_string(
                digest(found.label.data(), found.label.size() * sizeof(int64_t),
                       digest(found.distance.data(), found.distance.size() * sizeof(float)))));
    } catch (const std::bad_alloc&) {
        report("out of memory");
    }
}

TEST_F(MappedSecond, TakesNoMemoryForSecondCodes) {
    const IndexVLC index = filled(faiss::METRIC_L2, 2000); // 1,000,000 x (4 + 7 + 15) bytes
    faiss_vlc::write_index(&index, path().c_str());
    const auto child = [&](int flags, long bytes) {
        return run_child("MappedSecondChild.DISABLED_ReadsAndSearches",
                         "OMP_NUM_THREADS=1 VLC_TEST_FILE=" + path() +
                                 " VLC_TEST_FLAGS=" + std::to_string(flags) +
                                 " VLC_TEST_BYTES=" + std::to_string(bytes));
    };
    const std::string expected = child(0, 1L << 30);
    ASSERT_NE(expected, "failed");
    ASSERT_NE(expected, "out of memory");
    const long limit = 18'000'000; // ids and first codes take 11 MB
    EXPECT_EQ(child(IO_FLAG_MMAP_SECOND, limit), expected);
    EXPECT_EQ(child(0, limit), "out of memory");
}

#endif
