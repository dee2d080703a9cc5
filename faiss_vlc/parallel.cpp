#include <faiss_vlc/parallel.h>

#include <omp.h>
#include <pthread.h>
#include <sys/stat.h>

#include <mutex>

namespace faiss_vlc {

namespace {

bool forked_with_threads = false;

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

void mind_forks() {
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(before_fork, nullptr, in_child); });
}

} // namespace faiss_vlc
