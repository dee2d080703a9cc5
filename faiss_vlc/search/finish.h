#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/batch.h>
#include <faiss_vlc/search/top_k.h>

namespace faiss_vlc {

/// Ends queries: the one place where hits become results, in the metric's distances and padded with
/// -1 and the metric's worst, wherever they were found. Thread-safe.
class Finish {
public:
    Finish(const Model& model, const SearchBatch& batch)
        : batch_(batch), worst_((model.metric == faiss::METRIC_INNER_PRODUCT ? -1.0f : 1.0f) *
                                std::numeric_limits<float>::max()) {}

    /// The results of the batch's q-th query, which `query` was set to.
    void finish_query(int64_t q, const Query& query, TopK& top) const {
        const std::vector<TopK::Entry>& best = top.sorted();
        write(q, int64_t(best.size()), [&](int64_t r) {
            return Result{query.distance(best[r].estimate),
                          batch_.as_places ? best[r].place.label() : best[r].id};
        });
    }

    struct Result {
        float distance;
        int64_t label;
    };
    /// The same where the hits are elsewhere: result(r) is the r-th of `found`, best first.
    template <class GetResult>
    void write(int64_t q, int64_t found, GetResult result) const {
        float* const distances = batch_.distances + q * batch_.k;
        int64_t* const labels = batch_.labels + q * batch_.k;
        found = std::min(found, batch_.k);
        for (int64_t r = 0; r < found; r++) {
            const Result one = result(r);
            distances[r] = one.distance;
            labels[r] = one.label;
        }
        std::fill(distances + found, distances + batch_.k, worst_);
        std::fill(labels + found, labels + batch_.k, int64_t(-1));
    }

private:
    const SearchBatch& batch_;
    float worst_;
};

} // namespace faiss_vlc
