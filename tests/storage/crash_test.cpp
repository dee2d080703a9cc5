// Processes that are killed while they save: whoever opens the file finds the old index or the new
// one, whole. VLC_CRASH_SAVES sets how many are killed (`make crash`: 1000), VLC_CRASH_SEED when.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <faiss_vlc/container/format.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/storage/load.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

constexpr int kDim = 64;
constexpr int kLists = 16;
constexpr int kPerList = 20000; ///< 66 + 4 bytes each: 22 MB

/// Codes are as good as any others when they are random.
IndexVLC large(const IndexVLC& trained, uint64_t seed) {
    IndexVLC index(trained);
    Random random(seed);
    std::vector<uint8_t> codes(size_t(kPerList) * index.code_size);
    std::vector<int64_t> ids(kPerList);
    for (int j = 0; j < kLists; j++) {
        for (size_t i = 0; i + 8 <= codes.size(); i += 8) {
            const uint64_t bits = random.bits();
            std::memcpy(&codes[i], &bits, 8);
        }
        for (int i = 0; i < kPerList; i++) {
            ids[i] = int64_t(j) * kPerList + i;
        }
        index.lists().add_entries(j, kPerList, ids.data(), codes.data());
    }
    index.ntotal = int64_t(kLists) * kPerList;
    return index;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Waits until a saver has begun, which is when a file lies beside the one that it will replace.
void wait_for_begun(const std::string& path) {
    const fs::path folder = fs::path(path).parent_path();
    const auto start = std::chrono::steady_clock::now();
    while (std::distance(fs::directory_iterator(folder), fs::directory_iterator()) < 2 &&
           seconds_since(start) < 60) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
}

uint64_t fingerprint_of(const std::string& path) {
    const SectionReader sections(load_file(path));
    sections.verify_all();
    return sections.fingerprint();
}

} // namespace

TEST(Crash, KilledSaversLeaveAWholeFile) {
    const char* wanted = std::getenv("VLC_CRASH_SAVES");
    const int kills = wanted ? std::atoi(wanted) : 25;
    std::string folder = (fs::temp_directory_path() / "vlc-crash-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    const std::string path = folder + "/x.vlc";

    const std::vector<float> x = clustered(800, kDim, 20, 1);
    IndexVLC trained(kDim, quick(kLists, kDim + 2));
    trained.train(800, x.data());
    const IndexVLC indexes[2] = {large(trained, 1), large(trained, 2)};
    uint64_t fingerprints[2];
    double save_time = 1e9; // the quicker one: a busy machine must not stretch every round
    for (int i = 0; i < 2; i++) {
        const auto start = std::chrono::steady_clock::now();
        faiss_vlc::write_index(&indexes[i], path.c_str());
        save_time = std::min(save_time, seconds_since(start));
        fingerprints[i] = fingerprint_of(path);
    }
    ASSERT_NE(fingerprints[0], fingerprints[1]);
    EXPECT_GT(fs::file_size(path), 20'000'000u);

    const char* given = std::getenv("VLC_CRASH_SEED");
    const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    printf("VLC_CRASH_SEED=%llu\n", (unsigned long long)seed);
    Random random(seed);
    int found[2] = {0, 0}, in_the_middle = 0;
    int at = 1; // the index that is in the file
    double longest = 1.6 * save_time;
    for (int kill_no = 0; kill_no < kills; kill_no++) {
        // now and then two savers at once
        const int savers = kill_no % 8 == 7 ? 2 : 1;
        pid_t child[2];
        for (int s = 0; s < savers; s++) {
            child[s] = fork();
            ASSERT_GE(child[s], 0);
            if (child[s] == 0) {
                for (int i = at + 1 + s;; i++) {
                    faiss_vlc::write_index(&indexes[i % 2], path.c_str());
                }
            }
        }
        // Half of them are sure to be met at work, however busy the machine is.
        const bool begun = kill_no % 2 == 0;
        if (begun) {
            wait_for_begun(path);
        }
        const double wait = random.unit() * (begun ? save_time / 2 : longest * savers);
        const auto start = std::chrono::steady_clock::now();
        do { // readers meanwhile
            std::this_thread::sleep_for(std::chrono::duration<double>(wait / 4));
            const SectionReader open(map_file(path));
            ASSERT_TRUE(open.fingerprint() == fingerprints[0] ||
                        open.fingerprint() == fingerprints[1]);
        } while (seconds_since(start) < wait);
        for (int s = 0; s < savers; s++) {
            ASSERT_EQ(kill(child[s], SIGKILL), 0);
            int status = 0;
            ASSERT_EQ(waitpid(child[s], &status, 0), child[s]);
            ASSERT_TRUE(WIFSIGNALED(status)) << "a saver ended by itself: " << status;
        }
        const uint64_t met = fingerprint_of(path);
        ASSERT_TRUE(met == fingerprints[0] || met == fingerprints[1]) << "after kill " << kill_no;
        const bool is_old = at == (met == fingerprints[1]);
        at = met == fingerprints[1];
        found[at]++;
        if (kill_no % 50 == 0) { // by its contents, too
            const IndexPtr loaded(faiss_vlc::read_index(path.c_str()));
            ASSERT_EQ(written(*loaded), written(indexes[at]));
        }
        int left = 0; // nobody was there to remove what the dead had begun
        for (const auto& entry : fs::directory_iterator(folder)) {
            if (entry.path() != path) {
                left++;
                fs::remove(entry.path());
            }
        }
        ASSERT_LE(left, savers);
        in_the_middle += left > 0;
        if (!begun && left == 0 &&
            is_old) { // killed before it began: on a busy machine that takes longer
            longest *= 1.1;
        }
    }
    printf("%d savers killed, %d of them with a file half written; found %d and %d times, never "
           "another\n",
           kills, in_the_middle, found[0], found[1]);
    EXPECT_GT(in_the_middle, kills / 10);
    fs::remove_all(folder);
}
