#pragma once

#include <cstddef>
#include <vector>

#include <faiss/impl/AuxIndexStructures.h>

#include <faiss_vlc/query/query_group.h>
#include <faiss_vlc/search/refine.h>

namespace faiss_vlc {

/// A range search whose second codes lie in a file: what scanning finds is compared by both tiers
/// later, so that the pages of many vectors are waited for together. Gives what scan_lists_range()
/// gives. Holds scratch; one per thread.
class LateRange {
public:
    LateRange(const SearchScope& scope, float radius);

    /// Whether a search should be done so. One that ends after lists without results has to know
    /// them at once.
    static bool suits(const SearchScope& scope) {
        return scope.model.second && scope.lists.second_pages() && scope.max_empty_lists == 0;
    }

    /// Scans the lists of a group's next query. Its hits wait.
    Scanned scan(QueryGroup& group, int q, size_t probes);
    /// Whether so many wait that the searches should be ended.
    bool is_full() const { return hits_.size() > kMostWaiting; }
    /// Ends the searches of the group's queries from `first` on that were scanned since the last
    /// call: result(q) is called for each in turn.
    template <class GetResult>
    void end(QueryGroup& group, int first, GetResult result) {
        PageRequests requests(lists_.second_pages());
        requested_ = 0;
        request(requests);
        for (size_t i = 0; i < ends_.size(); i++) {
            const int q = first + int(i);
            compare(group[q], i > 0 ? ends_[i - 1] : 0, ends_[i], requests, result(q));
        }
        hits_.clear();
        ends_.clear();
    }

private:
    static constexpr size_t kMostWaiting = 1 << 16; ///< vectors, beyond those of one query
    const SearchScope& scope_;
    const VLCInvertedLists& lists_;
    float radius_;
    Refine refine_;
    std::vector<Place> hits_;  ///< of one query after the other
    std::vector<size_t> ends_; ///< of each query's hits
    size_t requested_ = 0;     ///< hits

    void request(PageRequests& requests);
    void compare(Query& query, size_t begin, size_t end, PageRequests& requests,
                 faiss::RangeQueryResult& result);
};

} // namespace faiss_vlc
