#include <faiss_vlc/search/top_k.h>

#include <algorithm>
#include <limits>

namespace faiss_vlc {

TopK::TopK(size_t k, const VLCInvertedLists* lists)
    : lists_(lists), k_(k), capacity_(std::max<size_t>(2 * k, k + 32)) {
    candidates_.reserve(std::min<size_t>(capacity_, 4096));
    clear();
}

void TopK::clear() {
    candidates_.clear();
    bound_ = std::numeric_limits<float>::max();
}

void TopK::shrink() {
    if (candidates_.size() <= k_) {
        return;
    }
    const auto nearer = [](const Candidate& a, const Candidate& b) {
        return a.estimate < b.estimate;
    };
    const auto last = candidates_.begin() + (k_ - 1);
    std::nth_element(candidates_.begin(), last, candidates_.end(), nearer);
    bound_ = last->estimate;
    const auto at_bound = [&](const Candidate& c) { return c.estimate == bound_; };
    if (std::any_of(last + 1, candidates_.end(), at_bound)) {
        const auto tied = std::partition(candidates_.begin(), candidates_.end(),
                                         [&](const Candidate& c) { return c.estimate < bound_; });
        const auto beyond = std::partition(tied, candidates_.end(), at_bound);
        std::nth_element(tied, last, beyond, [&](const Candidate& a, const Candidate& b) {
            const int64_t id_a = id_of(a.place), id_b = id_of(b.place);
            return id_a != id_b ? id_a < id_b : a.place < b.place;
        });
    }
    candidates_.resize(k_);
}

void TopK::tighten(const float* estimates, size_t n) {
    // the k-th least of 32 minima bounds the k-th least of all, and is cheaper to have
    if (!is_open() || n < kMinima) {
        return;
    }
    float least[kMinima];
    std::copy_n(estimates, kMinima, least);
    size_t first = kMinima;
    for (; first + kMinima <= n; first += kMinima) {
        for (size_t i = 0; i < kMinima; i++) { // by value: std::min would become a branch
            const float met = estimates[first + i];
            least[i] = met < least[i] ? met : least[i];
        }
    }
    for (size_t i = 0; first + i < n; i++) {
        least[i] = std::min(least[i], estimates[first + i]);
    }
    for (const float minimum : least) {
        if (!(minimum <= std::numeric_limits<float>::max())) {
            return; // overflowed
        }
    }
    // without a branch that depends on the values: the least that has k within it
    float bound = std::numeric_limits<float>::max();
    for (size_t i = 0; i < kMinima; i++) {
        int32_t within = 0;
        for (size_t j = 0; j < kMinima; j++) {
            within += int32_t(least[j] <= least[i]);
        }
        bound = within >= int32_t(k_) ? std::min(bound, least[i]) : bound;
    }
    bound_ = bound;
}

const std::vector<TopK::Entry>& TopK::sorted() {
    shrink();
    sorted_.clear();
    for (const Candidate& c : candidates_) {
        sorted_.push_back({c.estimate, id_of(c.place), c.place});
    }
    std::sort(sorted_.begin(), sorted_.end());
    return sorted_;
}

} // namespace faiss_vlc
