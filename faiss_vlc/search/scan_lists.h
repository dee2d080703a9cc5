#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>

#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/search/place.h>
#include <faiss_vlc/search/top_k.h>

namespace faiss_vlc {

/// What a search looks at, common to all queries.
struct SearchScope {
    const Model& model;
    const VLCInvertedLists& lists;
    const faiss::IDSelector* sel = nullptr; ///< null: all
    size_t max_codes = 0;                   ///< vectors to scan, the last list is cut; 0: no limit
    size_t at_least = 0;   ///< whole lists, beyond max_codes, until so many are found; 0: not
    size_t max_probes = 0; ///< lists to go on to while fewer than k are found
    size_t width = 0;      ///< lists that are ranked for, see AnchorRanking::nearest
    size_t max_lists = 0;  ///< of the nearest ones, see lists_of(); 0: no limit
    size_t refined = 0;    ///< best ones to order anew by both tiers; 0: there is one tier
    size_t max_empty_lists =
            0; ///< a range search ends after so many in a row without results; 0: not

    /// How many to look for where k are wanted.
    size_t scanned_k(size_t k) const { return std::max(k, refined); }
    /// How many of so many lists to scan.
    size_t lists_of(size_t probes) const {
        return max_lists ? std::min(max_lists, probes) : probes;
    }
};

/// visit(v, place) of each vector first + v of a list whose bit v is set in `close` and that the
/// search selects.
template <class Visit>
inline void each_selected(const SearchScope& scope, uint32_t list, size_t first, uint64_t close,
                          Visit visit) {
    for (uint64_t left = close; left; left &= left - 1) {
        const size_t v = size_t(__builtin_ctzll(left));
        if (!scope.sel || scope.sel->is_member(scope.lists.id(list, first + v))) {
            visit(v, Place{list, uint32_t(first + v)});
        }
    }
}

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

/// Scans the given lists (-1 is skipped) for the query that is set. `following`, if not -1, is the
/// list that will be scanned next, for whichever query: it is fetched into the cache meanwhile.
Scanned scan_lists(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                   TopK& top, int64_t following = -1);

/// The same by all threads, each with a share of the lists and a query of its own (x float d); the
/// result is the same. max_codes has to be 0.
Scanned scan_lists_parallel(const SearchScope& scope, const float* x, size_t count,
                            const int64_t* lists, size_t k, TopK& top);

/// Scans the nearest lists, of which the first `probes` are given as rank() left them, then others,
/// up to scope.max_probes, as long as fewer than k vectors are found.
Scanned scan_nearest(const SearchScope& scope, Query& query, size_t probes, const int64_t* lists,
                     size_t k, TopK& top, int64_t following = -1);

/// The same as scan_lists, reporting each vector whose estimate is better than the radius (data's
/// units).
Scanned scan_lists_range(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                         float radius, faiss::RangeQueryResult& result, int64_t following = -1);

/// The same of two tiers, but only by the first: adds the vectors that have to be compared by both.
Scanned scan_lists_places(const SearchScope& scope, Query& query, size_t count,
                          const int64_t* lists, float radius, std::vector<Place>& places,
                          int64_t following = -1);

/// Whether a range search reports a vector at this distance (data's units).
inline bool is_within(const SearchScope& scope, float distance, float radius) {
    return scope.model.metric == faiss::METRIC_INNER_PRODUCT ? distance > radius
                                                             : distance < radius;
}

} // namespace faiss_vlc
