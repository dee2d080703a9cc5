#pragma once

#include <cstdint>

namespace faiss_vlc {

/// Queries, and where their results go: the caller's arrays.
struct SearchBatch {
    int64_t n = 0;
    int d = 0;
    const float* x = nullptr; ///< n x d
    int64_t k = 0;
    float* distances = nullptr; ///< n x k
    int64_t* labels = nullptr;  ///< n x k
    bool as_places = false;     ///< labels are Place::label() instead of ids

    /// `count` queries from the first-th on.
    SearchBatch part(int64_t first, int64_t count) const {
        return {count, d, x + first * d, k, distances + first * k, labels + first * k, as_places};
    }
};

} // namespace faiss_vlc
