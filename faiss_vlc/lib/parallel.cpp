#include <faiss_vlc/lib/parallel.h>

#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

namespace faiss_vlc {

namespace {

bool forked_with_threads = false;

/// LLVM's and Intel's runtimes start anew in a child by themselves, and until then must not be
/// called: their locks are as they were in the parent.
bool minds_forks_itself() {
    Dl_info library{};
    if (dladdr(reinterpret_cast<void*>(&omp_set_num_threads), &library) == 0 ||
        !library.dli_fname) {
        return false;
    }
    const char* slash = std::strrchr(library.dli_fname, '/');
    const char* name = slash ? slash + 1 : library.dli_fname;
    return std::strncmp(name, "libomp", 6) == 0 || std::strncmp(name, "libiomp", 7) == 0;
}

void before_fork() {
    struct stat tasks {};
    // a folder has two links more than it has folders, here one for each thread
    forked_with_threads = stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink > 3;
}

void in_child() {
    if (forked_with_threads) {
        omp_set_num_threads(1);
    }
}

} // namespace

void at_once(int count, const std::function<void(int)>& body) {
    if (count < 2) {
        for (int i = 0; i < count; i++) {
            body(i);
        }
        return;
    }
    const int openmp_threads = std::max(1, omp_get_max_threads() / count);
    std::vector<std::exception_ptr> errors(count);
    std::vector<std::thread> threads;
    threads.reserve(count);
    const auto run = [&](int i) noexcept {
        try {
            body(i);
        } catch (...) {
            errors[i] = std::current_exception();
        }
    };
    try {
        while (int(threads.size()) < count) {
            threads.emplace_back([&run, openmp_threads, i = int(threads.size())] {
                omp_set_num_threads(openmp_threads);
                run(i);
            });
        }
    } catch (const std::exception&) { // too many threads, or no memory for one
    }
    for (int i = int(threads.size()); i < count; i++) {
        run(i);
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const std::exception_ptr& error : errors) {
        if (error) {
            std::rethrow_exception(error);
        }
    }
}

void mind_forks() {
    static std::once_flag once;
    std::call_once(once, [] {
        if (!minds_forks_itself()) {
            pthread_atfork(before_fork, nullptr, in_child);
        }
    });
}

} // namespace faiss_vlc
