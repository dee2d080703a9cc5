// Threads for things to be done at once.

#include <faiss_vlc/lib/parallel.h>

#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VLC_TEST_TSAN
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define VLC_TEST_TSAN
#endif

#ifndef VLC_TEST_TSAN // which has a version of its own
namespace {

/// Threads that may still be made, where that is limited.
std::atomic<int> threads_left{1 << 30};

} // namespace

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*start)(void*), void* argument) {
    static const auto next =
            reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
    return threads_left-- > 0 ? next(thread, attributes, start, argument) : EAGAIN;
}
#endif

namespace faiss_vlc {
namespace {

TEST(AtOnce, EachIsDoneOnceInAThreadOfItsOwn) {
    for (int count : {0, 1, 2, 7}) {
        std::vector<int> times(count, 0);
        std::vector<std::thread::id> threads(count);
        at_once(count, [&](int i) {
            times[i]++;
            threads[i] = std::this_thread::get_id();
        });
        EXPECT_EQ(times, std::vector<int>(count, 1));
        for (int i = 1; i < count; i++) {
            EXPECT_NE(threads[i], threads[0]);
            EXPECT_NE(threads[i], std::this_thread::get_id());
        }
    }
}

TEST(AtOnce, ThreadsShareOpenMPsAndLeaveTheCallersAlone) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(7);
    std::vector<int> most(3, 0);
    at_once(3, [&](int i) { most[i] = omp_get_max_threads(); });
    EXPECT_EQ(most, std::vector<int>(3, 2));
    EXPECT_EQ(omp_get_max_threads(), 7);
    omp_set_num_threads(1);
    at_once(3, [&](int i) { most[i] = omp_get_max_threads(); });
    EXPECT_EQ(most, std::vector<int>(3, 1));
    omp_set_num_threads(before);
}

TEST(AtOnce, TheFirstErrorIsThrownAfterAllHaveEnded) {
    std::atomic<int> ended{0};
    try {
        at_once(5, [&](int i) {
            if (i == 1 || i == 3) {
                throw std::runtime_error("error " + std::to_string(i));
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            ended++;
        });
        ADD_FAILURE() << "no exception";
    } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "error 1");
    }
    EXPECT_EQ(ended, 3);
}

#ifndef VLC_TEST_TSAN
TEST(AtOnce, WithoutThreadsTheCallerDoesItAll) {
    for (int left : {0, 1, 2, 3}) {
        std::vector<int> times(4, 0);
        threads_left = left;
        at_once(4, [&](int i) { times[i]++; });
        EXPECT_LT(threads_left, 0) << "a thread was missing";
        EXPECT_EQ(times, std::vector<int>(4, 1));
        threads_left = 0;
        EXPECT_THROW(at_once(2, [&](int) { throw std::runtime_error("no"); }), std::runtime_error);
    }
    threads_left = 1 << 30;
}
#endif

} // namespace
} // namespace faiss_vlc
