#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <faiss_vlc/query/query_group.h>
#include <faiss_vlc/search/scan_lists.h>

namespace faiss_vlc {

/// Scans list by list for a group of queries, each list once for all that look into it: its vectors
/// come from memory once, and two queries share what is done with their codes. The results are
/// those of scan_lists() one by one, since TopK does not depend on the order. Holds scratch; one
/// per thread.
class ListMajor {
public:
    /// How many of n queries a thread should take together; 0 if scanning one by one is faster, as
    /// it is for codes of words, a few lists a query or where hardly two look into the same one
    /// (docs/decisions).
    static int size_for(const SearchScope& scope, int64_t n, int threads, size_t probes, size_t k);

    /// Scans the lists of a group that is ranked and rotated, for as many queries as size_for()
    /// gave; tops[q] is the q-th one's.
    Scanned scan(const SearchScope& scope, QueryGroup& group, std::vector<TopK>& tops);

private:
    std::vector<uint32_t> starts_; ///< nlist + 1: where in queries_ a list's begin
    std::vector<uint32_t> queries_;
    std::vector<int64_t> used_; ///< the lists that have any

    void sort_by_list(const SearchScope& scope, const QueryGroup& group);
};

} // namespace faiss_vlc
