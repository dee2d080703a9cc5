#pragma once

#include <exception>
#include <functional>

namespace faiss_vlc {

/// Carries the first exception out of an OpenMP region, which none may leave by itself.
class Rescue {
public:
    template <class Body>
    void run(Body body) noexcept {
        try {
            body();
        } catch (...) {
#pragma omp critical(faiss_vlc_rescue)
            if (!first_) {
                first_ = std::current_exception();
            }
        }
    }

    /// After the region.
    void rethrow() const {
        if (first_) {
            std::rethrow_exception(first_);
        }
    }

private:
    std::exception_ptr first_;
};

/// body(0) to body(count - 1), each in a thread of its own with its part of OpenMP's threads.
/// Returns after all have ended, with the exception of the first that threw one. Where threads
/// can't be made the caller's does what is left.
void at_once(int count, const std::function<void(int)>& body);

/// From now on children of fork() run OpenMP regions on one thread if their parent had several:
/// GCC's runtime would wait for the parent's threads for ever. omp_set_num_threads() in a child
/// overrides that. Any number of calls.
void mind_forks();

} // namespace faiss_vlc
