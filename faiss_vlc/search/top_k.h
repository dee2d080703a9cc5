#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/search/place.h>

namespace faiss_vlc {

/// The k smallest (estimate, id) pairs: equal estimates go by the smaller id, so the result does
/// not depend on the order of scanning, nor on threads.
class TopK {
public:
    struct Entry {
        float estimate;
        int64_t id;
        Place place;
        bool operator<(const Entry& other) const {
            return estimate != other.estimate ? estimate < other.estimate
                   : id != other.id           ? id < other.id
                                              : place < other.place;
        }
    };

    /// Ids are looked up in `lists` where they matter: for results, and for ties at the end.
    /// Without lists the places' labels are the ids.
    explicit TopK(size_t k, const VLCInvertedLists* lists = nullptr);

    void clear();
    /// What is larger than this needs not be pushed.
    float bound() const { return bound_; }
    void push(float estimate, Place place) {
        if (estimate <= bound_) {
            estimates_[held_] = estimate;
            places_[held_] = place;
            if (++held_ == estimates_.size()) {
                make_room();
            }
        }
    }
    /// Whether tighten() may be worth its while.
    bool is_open() const {
        return bound_ == std::numeric_limits<float>::max() && k_ <= kMinima / 2;
    }
    /// Bounds it by the estimates of n different vectors, of which those within the bound have to
    /// be pushed then: so the first vectors of a search need not all be.
    void tighten(const float* estimates, size_t n);
    /// How many it holds, at most k.
    size_t size() const { return held_ < k_ ? held_ : k_; }
    /// visit(estimate, place) of the best ones, at most k, in the order in which they were pushed.
    template <class Visit>
    void each(Visit visit) {
        keep_best();
        for (size_t i = 0; i < held_; i++) {
            visit(estimates_[i], places_[i]);
        }
    }
    /// The best ones in order, at most k.
    const std::vector<Entry>& sorted();

private:
    static constexpr size_t kMinima = 32; ///< of how many groups tighten() takes the minimum
    const VLCInvertedLists* lists_;
    size_t k_, capacity_;
    float bound_ = 0; ///< set by clear()
    /// The candidates, all within the bound, are the first held_ of both; always with room for one
    /// more.
    std::vector<float> estimates_;
    std::vector<Place> places_;
    size_t held_ = 0;
    std::vector<Entry> sorted_;

    int64_t id_of(Place place) const {
        return lists_ ? lists_->id(place.list, place.offset) : place.label();
    }
    /// Two estimates, of which the upper one has at least k candidates within it, the lower one
    /// fewer than k.
    struct Around {
        float lower, upper;
        size_t within_lower, within_upper;
    };
    Around around_bound(size_t between) const;
    Entry last_of(const Around& around);
    bool sort_by_counting();
    void make_room();
    void keep_best();
    template <class Keep>
    void keep_if(Keep keep);
};

} // namespace faiss_vlc
