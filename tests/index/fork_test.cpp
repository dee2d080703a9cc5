// A child of fork() has none of its parent's threads, neither OpenMP's nor OpenCL's: what it calls
// must work or throw, and never wait for them.

#include <omp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include <tests/support/index_test.h>

using namespace faiss_vlc;

namespace {

constexpr int kDim = 16;
constexpr int kCount = 600;

IndexVLC fresh(const char* device) {
    VLCParameters params = quick(12, 9);
    params.device = device;
    return IndexVLC(kDim, params);
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREADS_AND_FORK_DONT_MIX
#endif
#endif

class Fork : public testing::Test {
protected:
    void SetUp() override {
#ifdef THREADS_AND_FORK_DONT_MIX
        GTEST_SKIP() << "ThreadSanitizer does not support threads in forked children";
#endif
    }
};

/// Runs the action in a child. 0 if it returned true, 1 if it did not, else how the child ended.
template <class Action>
int in_child(Action action) {
    fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60); // to end a child that waits
        bool good = false;
        try {
            good = action();
        } catch (const std::exception& error) {
            fprintf(stderr, "in the child: %s\n", error.what());
        }
        _exit(good ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

} // namespace

TEST_F(Fork, AfterUseOfOpenCLAndThreads) {
    const std::vector<float> x = clustered(kCount, kDim, 15, 1);
    omp_set_num_threads(3);
    IndexVLC index = fresh("opencl:");
    index.train(kCount, x.data());
    index.add(kCount, x.data());
    index.nprobe = 12;
    const Results expected = search(index, x);

    EXPECT_EQ(in_child([&] { return search(index, x) == expected; }), 0);
    EXPECT_EQ(in_child([&] {
                  const Bytes bytes = written(index);
                  return written(*read(bytes)) == bytes;
              }),
              0);
    // the device was asked for by name: an error, and nothing changed
    EXPECT_EQ(in_child([&] {
                  return throws([&] { index.add(kCount, x.data()); }, "spawn") &&
                         index.ntotal == kCount && search(index, x) == expected;
              }),
              0);
    EXPECT_EQ(in_child([&] {
                  IndexVLC other = fresh("opencl:");
                  return throws([&] { other.train(kCount, x.data()); }, "spawn") &&
                         !other.is_trained;
              }),
              0);
    // nobody asked: the reference does it, with the same result
    EXPECT_EQ(in_child([&] {
                  IndexVLC other = fresh("auto");
                  other.train(kCount, x.data());
                  other.add(kCount, x.data());
                  other.nprobe = 12;
                  return other.trained_on == "reference" && search(other, x) == expected;
              }),
              0);
    // threads that the child starts itself
    EXPECT_EQ(in_child([&] {
                  bool same = false;
                  std::thread([&] { same = search(index, x) == expected; }).join();
                  return same;
              }),
              0);
    // a child's child
    EXPECT_EQ(in_child([&] { return in_child([&] { return search(index, x) == expected; }) == 0; }),
              0);
    EXPECT_EQ(search(index, x), expected) << "the parent goes on";
    index.add(kCount, x.data());
    EXPECT_EQ(index.ntotal, 2 * kCount);
    EXPECT_EQ(omp_get_max_threads(), 3);
}

// While other threads search: their locks are never released in the child.
TEST_F(Fork, WhileOtherThreadsSearch) {
    const std::vector<float> x = clustered(kCount, kDim, 15, 1);
    IndexVLC index = fresh("reference");
    index.train(kCount, x.data());
    index.add(kCount, x.data());
    const Results expected = search(index, x);
    std::atomic<bool> stop{false};
    std::vector<std::thread> searching;
    for (int t = 0; t < 3; t++) {
        searching.emplace_back([&] {
            while (!stop) {
                search(index, x);
            }
        });
    }
    for (int round = 0; round < 5; round++) {
        EXPECT_EQ(in_child([&] { return search(index, x) == expected; }), 0);
    }
    stop = true;
    for (std::thread& one : searching) {
        one.join();
    }
}
