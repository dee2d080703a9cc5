#include <faiss_vlc/search/top_k.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

TopK::TopK(size_t k, const VLCInvertedLists* lists)
    : lists_(lists), k_(k), capacity_(std::max<size_t>(2 * k, k + 32)),
      estimates_(std::min<size_t>(capacity_, 4096)), places_(estimates_.size()) {
    clear();
}

void TopK::clear() {
    held_ = 0;
    bound_ = std::numeric_limits<float>::max();
}

/// Halves what lies between the two until at most so many candidates do, or no estimate. Sorting
/// mispredicts a branch for each second candidate; counting has none.
TopK::Around TopK::around_bound(size_t between) const {
    constexpr int kMostRounds = 40;
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float* const all = estimates_.data();
    const auto n = int(held_);
    float least[kLanes], most[kLanes]; // compilers make vectors of fixed numbers
    std::fill_n(least, kLanes, all[0]);
    std::fill_n(most, kLanes, all[0]);
    const auto see = [&](int first, int count) {
        for (int i = 0; i < count; i++) {
            const float met = all[first + i];
            least[i] = met < least[i] ? met : least[i];
            most[i] = met > most[i] ? met : most[i];
        }
    };
    int first = 0;
    for (; first + kLanes <= n; first += kLanes) {
        see(first, kLanes);
    }
    see(first, n - first);
    Around around{std::nextafter(*std::min_element(least, least + kLanes), -kInfinity),
                  *std::max_element(most, most + kLanes), 0, held_};
    for (int r = 0; r < kMostRounds && around.within_upper - around.within_lower > between; r++) {
        const float middle = 0.5f * around.lower + 0.5f * around.upper;
        if (!(middle > around.lower && middle < around.upper)) {
            break;
        }
        int within = 0;
        for (int i = 0; i < n; i++) {
            within += int(all[i] <= middle);
        }
        const bool enough = size_t(within) >= k_;
        (enough ? around.upper : around.lower) = middle;
        (enough ? around.within_upper : around.within_lower) = size_t(within);
    }
    return around;
}

/// The k-th best.
TopK::Entry TopK::last_of(const Around& around) {
    std::vector<Entry>& between = sorted_; // scratch
    between.clear();
    for (size_t i = 0; i < held_; i++) {
        const float estimate = estimates_[i];
        if (estimate <= around.upper && (estimate > around.lower || around.within_lower == 0)) {
            between.push_back({estimate, 0, places_[i]});
        }
    }
    const auto last = between.begin() + ptrdiff_t(k_ - around.within_lower - 1);
    std::nth_element(between.begin(), last, between.end());
    const float estimate = last->estimate;
    const auto tied = std::partition(between.begin(), between.end(),
                                     [&](const Entry& e) { return e.estimate < estimate; });
    const auto beyond = std::partition(tied, between.end(),
                                       [&](const Entry& e) { return e.estimate == estimate; });
    if (beyond - tied > 1) { // ids are looked up only where they matter
        std::for_each(tied, beyond, [&](Entry& e) { e.id = id_of(e.place); });
        std::nth_element(tied, last, beyond);
    }
    return *last;
}

/// Without a branch.
template <class Keep>
void TopK::keep_if(Keep keep) {
    size_t kept = 0;
    for (size_t i = 0; i < held_; i++) {
        const float estimate = estimates_[i];
        const Place place = places_[i];
        estimates_[kept] = estimate;
        places_[kept] = place;
        kept += size_t(keep(estimate, place));
    }
    held_ = kept;
}

void TopK::make_room() {
    if (estimates_.size() < capacity_) {
        estimates_.resize(std::min(capacity_, 2 * estimates_.size()));
        places_.resize(estimates_.size());
        return;
    }
    const Around around = around_bound(std::max<size_t>(8, k_ / 4));
    if (around.within_upper > k_ + (capacity_ - k_) / 2) { // they are equal
        keep_best();
        return;
    }
    bound_ = around.upper;
    keep_if([&](float estimate, Place) { return estimate <= around.upper; });
}

void TopK::keep_best() {
    constexpr size_t kFew = 16; // to sort
    if (held_ <= k_) {
        return;
    }
    const Entry last = last_of(around_bound(kFew));
    bound_ = last.estimate;
    keep_if([&](float estimate, Place) { return estimate <= last.estimate; });
    if (held_ > k_) {
        keep_if([&](float estimate, Place place) {
            return estimate < last.estimate || !(last < Entry{estimate, id_of(place), place});
        });
    }
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
    // halves what lies between the least and the largest: that is near enough
    constexpr int kRounds = 8;
    float lower = *std::min_element(least, least + kMinima);
    float upper = *std::max_element(least, least + kMinima);
    for (int r = 0; r < kRounds; r++) {
        const float middle = 0.5f * lower + 0.5f * upper;
        int32_t within = 0;
        for (size_t i = 0; i < kMinima; i++) {
            within += int32_t(least[i] <= middle);
        }
        const bool enough = within >= int32_t(k_);
        upper = enough ? middle : upper;
        lower = enough ? lower : middle;
    }
    bound_ = upper;
}

/// Counts for each how many are less, which has no branch to mispredict. Whether that tells the
/// order: of equal ones it doesn't.
bool TopK::sort_by_counting() {
    constexpr size_t kMost = 64;
    if (held_ > kMost) {
        return false;
    }
    constexpr uint8_t kNone = kMost;
    uint8_t of_rank[kMost];
    std::fill_n(of_rank, kMost, kNone);
    const float* const all = estimates_.data();
    const auto n = int(held_);
    for (int i = 0; i < n; i++) {
        const float own = all[i];
        int less = 0;
        for (int j = 0; j < n; j++) {
            less += int(all[j] < own);
        }
        if (of_rank[less] != kNone && size_t(less) < k_) {
            return false;
        }
        of_rank[less] = uint8_t(i);
    }
    sorted_.clear();
    for (size_t r = 0; r < size(); r++) {
        const size_t i = of_rank[r];
        sorted_.push_back({all[i], id_of(places_[i]), places_[i]});
    }
    return true;
}

const std::vector<TopK::Entry>& TopK::sorted() {
    if (sort_by_counting()) {
        return sorted_;
    }
    keep_best();
    sorted_.clear();
    each([&](float estimate, Place place) { sorted_.push_back({estimate, id_of(place), place}); });
    std::sort(sorted_.begin(), sorted_.end());
    return sorted_;
}

} // namespace faiss_vlc
