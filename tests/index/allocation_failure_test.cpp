// std::bad_alloc at each allocation of adding, loading and searching: it reaches the caller, and
// the index is as it was.

#include <unistd.h>

#include <filesystem>
#include <functional>

#include <faiss/index_io.h>

#include <faiss_vlc/search/lists.h>

#include <tests/support/allocation_hooks.h>
#include <tests/support/index_test.h>

using namespace faiss_vlc;

namespace {

constexpr int kDim = 16;
constexpr int kCount = 200;

const std::vector<float>& base() {
    static const std::vector<float> x = clustered(2 * kCount, kDim, 12, 1);
    return x;
}

IndexVLC filled(faiss::DirectMap::Type map = faiss::DirectMap::NoMap) {
    IndexVLC index(kDim, quick(9, 7));
    index.train(kCount, base().data());
    index.add(kCount, base().data());
    index.nprobe = 4;
    index.set_direct_map_type(map);
    return index;
}

/// Runs the action with its allocation `at` failing, and with `on` all after it. Returns whether it
/// threw; a failure that nobody hears of is an error.
bool throws_without_memory(const std::function<void()>& action, int at, bool on) {
    const int64_t before = allocations::failures;
    bool thrown = false;
    allocations::fail_on = on;
    allocations::fail_at = at;
    try {
        action();
    } catch (const std::bad_alloc&) {
        thrown = true;
    }
    allocations::fail_at = 0;
    allocations::fail_on = false;
    EXPECT_EQ(thrown, allocations::failures > before) << "allocation " << at;
    return thrown;
}

/// Fails the first, second, ... allocation of an action until it succeeds; `between` looks at what
/// is left each time. Returns how many failed.
int fail_each(const std::function<void()>& action, const std::function<void()>& between) {
    int failed = 0;
    for (const bool on : {false, true}) {
        for (int at = 1; throws_without_memory(action, at, on); at++, failed++) {
            between();
            if (testing::Test::HasFailure()) {
                return failed;
            }
        }
    }
    return failed;
}

class AllocationFailure : public testing::Test {
protected:
    void SetUp() override {
        if (allocations::hidden) {
            GTEST_SKIP() << "allocations are the sanitizer's";
        }
    }
};

struct MapCase {
    faiss::DirectMap::Type map;
    int64_t first_id; ///< -1: without ids
};

} // namespace

TEST_F(AllocationFailure, AddLeavesTheIndexUnchanged) {
    const std::vector<MapCase> cases = {{faiss::DirectMap::NoMap, -1},
                                        {faiss::DirectMap::NoMap, int64_t(1) << 40},
                                        {faiss::DirectMap::Array, -1},
                                        {faiss::DirectMap::Hashtable, 150},
                                        {faiss::DirectMap::Hashtable, int64_t(1) << 40}};
    for (const MapCase& c : cases) {
        SCOPED_TRACE(testing::Message() << "map " << int(c.map) << ", ids from " << c.first_id);
        IndexVLC index = filled(c.map);
        const Bytes before = written(index);
        const auto array = index.direct_map.array;
        const auto table = index.direct_map.hashtable;
        std::vector<int64_t> ids(kCount);
        for (int i = 0; i < kCount; i++) {
            ids[i] = c.first_id + i;
        }
        const auto add = [&] {
            index.add_with_ids(kCount, base().data() + kCount * kDim,
                               c.first_id < 0 ? nullptr : ids.data());
        };
        const auto look = [&] {
            ASSERT_EQ(index.ntotal, kCount);
            ASSERT_EQ(index.direct_map.array, array);
            ASSERT_EQ(index.direct_map.hashtable, table);
            if (!index.lists().wide_ids()) {
                ASSERT_EQ(written(index), before);
            }
        };
        // the index changes when it succeeds: once with single faults, once with all from there on
        IndexVLC again(index);
        int failed = 0;
        for (const bool on : {false, true}) {
            index.reset();
            index.add(kCount, base().data());
            ASSERT_EQ(written(index), before);
            for (int at = 1; throws_without_memory(add, at, on); at++) {
                failed++;
                look();
                if (HasFatalFailure()) {
                    return;
                }
                if (index.lists().wide_ids()) { // could not be narrowed: start anew
                    index.reset();
                    index.add(kCount, base().data());
                }
            }
            IndexVLC expected(again);
            expected.add_with_ids(kCount, base().data() + kCount * kDim,
                                  c.first_id < 0 ? nullptr : ids.data());
            EXPECT_EQ(written(index), written(expected));
            EXPECT_EQ(index.direct_map.array, expected.direct_map.array);
            EXPECT_EQ(index.direct_map.hashtable, expected.direct_map.hashtable);
        }
        EXPECT_GT(failed, 50);
        printf("adding: %d allocations failed\n", failed);
    }
}

TEST_F(AllocationFailure, SearchesThrowAndHurtNothing) {
    const IndexVLC index = filled();
    const std::vector<float> queries(base().begin(), base().begin() + 20 * kDim);
    const Results expected = search(index, queries);
    std::vector<float> distances(100);
    std::vector<int64_t> labels(100);
    int failed =
            fail_each([&] { index.search(20, queries.data(), 5, distances.data(), labels.data()); },
                      [&] { ASSERT_EQ(search(index, queries), expected); });
    EXPECT_GT(failed, 5);
    printf("searching: %d allocations failed\n", failed);
    std::vector<float> recons(100 * kDim);
    failed = fail_each(
            [&] {
                index.search_and_reconstruct(20, queries.data(), 5, distances.data(), labels.data(),
                                             recons.data());
            },
            [&] { ASSERT_EQ(search(index, queries), expected); });
    EXPECT_GT(failed, 5);
    failed = fail_each([&] { index.reconstruct_n(0, 50, recons.data()); },
                       [&] { ASSERT_EQ(search(index, queries), expected); });
    EXPECT_GT(failed, 0);
}

TEST_F(AllocationFailure, SavingLeavesTheOldFile) {
    namespace fs = std::filesystem;
    std::string name = (fs::temp_directory_path() / "vlc-alloc-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    const std::string path = name + "/x.vlc";
    IndexVLC index = filled();
    faiss_vlc::write_index(&index, path.c_str());
    const Bytes before = written(index);
    index.nprobe = 3;
    int failed = 0;
    failed = fail_each(
            [&] { faiss_vlc::write_index(&index, path.c_str()); },
            [&] {
                const IndexPtr old(faiss_vlc::read_index(path.c_str()));
                ASSERT_TRUE(written(*old) == before || written(*old) == written(index));
                ASSERT_EQ(std::distance(fs::directory_iterator(name), fs::directory_iterator()), 1);
            });
    EXPECT_GT(failed, 10);
    printf("saving: %d allocations failed\n", failed);
    fs::remove_all(name);
}

TEST_F(AllocationFailure, LoadingThrowsAndKeepsNothing) {
    LEAKS_OF_FAISS; // of what it had read when memory ran out
    namespace fs = std::filesystem;
    std::string name = (fs::temp_directory_path() / "vlc-alloc-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    const std::string path = name + "/x.vlc";
    const IndexVLC index = filled(faiss::DirectMap::Array);
    faiss_vlc::write_index(&index, path.c_str());
    for (const int flags : {0, int(faiss::IO_FLAG_MMAP)}) {
        const int failed =
                fail_each([&] { IndexPtr(faiss_vlc::read_index(path.c_str(), flags)); }, [] {});
        EXPECT_GT(failed, 50);
        printf("loading: %d allocations failed\n", failed);
    }
    for (const char* description : {"IDMap,VLC9x2", "PCA8,VLC9x2,RFlat"}) {
        const IndexPtr tree = filled_tree(kDim, description, base());
        faiss_vlc::write_index(tree.get(), path.c_str());
        const int failed = fail_each([&] { IndexPtr(faiss_vlc::read_index(path.c_str())); }, [] {});
        EXPECT_GT(failed, 50);
        printf("loading %s: %d allocations failed\n", description, failed);
    }
    fs::remove_all(name);
}

// Every part of training, threads included; far apart ones among its many allocations.
TEST_F(AllocationFailure, TrainingThrows) {
    VLCParameters params = quick(9, 7);
    params.device = "reference";
    const std::vector<float> x = clustered(2000, kDim, 12, 1);
    int failed = 0;
    const auto train = [&] {
        IndexVLC index(kDim, params);
        index.train(2000, x.data());
    };
    for (int at = 1; throws_without_memory(train, at, false); at += 1 + at / 8, failed++) {
    }
    EXPECT_GT(failed, 20);
}

TEST_F(AllocationFailure, MergingLeavesBothAsTheyWere) {
    IndexVLC index = filled(), other(index);
    const Bytes before = written(index);
    int failed = 0;
    const auto merge = [&] { index.merge_from(other, kCount); };
    for (int at = 1; throws_without_memory(merge, at, false); at++, failed++) {
        ASSERT_EQ(written(index), before);
        ASSERT_EQ(written(other), before);
    }
    EXPECT_GT(failed, 20);
    EXPECT_EQ(index.ntotal, 2 * kCount);
    EXPECT_EQ(other.ntotal, 0);
}
