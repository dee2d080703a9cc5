#pragma once

#include <exception>

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

} // namespace faiss_vlc
