#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>

#include <faiss_vlc/lists.h>
#include <faiss_vlc/model.h>

namespace faiss_vlc {

/// The k smallest (estimate, id) pairs: equal estimates go by the smaller id, so the result does
/// not depend on the order of scanning, nor on threads.
class TopK {
public:
    struct Entry {
        float estimate;
        int64_t id;
        int64_t place; ///< list << 32 | offset
        bool operator<(const Entry& other) const {
            return estimate != other.estimate ? estimate < other.estimate
                   : id != other.id           ? id < other.id
                                              : place < other.place;
        }
    };

    /// Ids are looked up in `lists` once they matter: most entries are displaced before.
    /// Without lists the places are the ids.
    explicit TopK(size_t k, const VLCInvertedLists* lists = nullptr);

    void clear();
    /// What is larger than this needs not be pushed.
    float bound() const { return bound_; }
    void push(float estimate, int64_t place) {
        if (estimate <= bound_) {
            entries_.push_back({estimate, place, place});
            if (entries_.size() == capacity_) {
                shrink();
            }
        }
    }
    /// Where nothing bounds it yet, bounds it by a batch of estimates of different vectors:
    /// so the first ones need not all be pushed.
    void tighten(const float* estimates, size_t n);
    /// How many it holds, at most k.
    size_t size() const { return entries_.size() < k_ ? entries_.size() : k_; }
    /// The best ones in order, at most k.
    const std::vector<Entry>& sorted();

private:
    const VLCInvertedLists* lists_;
    size_t k_, capacity_;
    size_t resolved_ = 0; ///< entries that have their ids
    float bound_;
    std::vector<Entry> entries_;
    void shrink();
};

/// What a search looks at, common to all queries.
struct SearchScope {
    const Model& model;
    const VLCInvertedLists& lists;
    const faiss::IDSelector* sel = nullptr; ///< null: all
    size_t max_codes = 0;                   ///< vectors to scan, the last list is cut; 0: no limit
    size_t at_least = 0;   ///< whole lists, beyond max_codes, until so many are found; 0: not
    size_t max_probes = 0; ///< lists to go on to while fewer than k are found
    size_t max_lists = 0;  ///< of the nearest ones, see lists_of(); 0: no limit
    size_t max_empty_lists =
            0; ///< a range search ends after so many in a row without results; 0: not

    /// How many of so many lists to scan.
    size_t lists_of(size_t probes) const {
        return max_lists ? std::min(max_lists, probes) : probes;
    }
};

/// What was scanned.
struct Scanned {
    size_t lists = 0; ///< that have vectors
    size_t vectors = 0;
    Scanned& operator+=(const Scanned& other) {
        lists += other.lists;
        vectors += other.vectors;
        return *this;
    }
};

/// Scans the given lists (-1 is skipped) for the query that is set.
Scanned scan_lists(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                   TopK& top);

/// The same by all threads, each with a share of the lists and a query of its own (x float d); the
/// result is the same. max_codes has to be 0.
Scanned scan_lists_parallel(const SearchScope& scope, const float* x, size_t count,
                            const int64_t* lists, size_t k, TopK& top);

/// Ranks lists and scans the first `probes` of them, then others, up to scope.max_probes, as long
/// as fewer than k vectors are found.
Scanned scan_nearest(const SearchScope& scope, Query& query, size_t probes, size_t k, TopK& top);

/// The same as scan_lists, reporting each vector whose estimate is better than the radius (data's
/// units).
Scanned scan_lists_range(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                         float radius, faiss::RangeQueryResult& result);

} // namespace faiss_vlc
