#include <faiss_vlc/search/list_major.h>

#include <algorithm>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/search/ahead.h>

namespace faiss_vlc {

namespace {

/// Scans one list for `count` <= kScanTogether queries.
void scan_list(const SearchScope& scope, size_t list_no, int count, Query* const* queries,
               TopK* const* tops, Ahead& ahead) {
    const size_t code_size = scope.lists.first_size();
    const size_t size = scope.lists.VLCInvertedLists::list_size(list_no);
    const uint8_t* blocks = scope.lists.blocks(list_no);
    const ListScan* lists[kScanTogether];
    float estimates[kScanTogether][kScanBatch];
    float* estimate[kScanTogether];
    for (int q = 0; q < count; q++) {
        lists[q] = &queries[q]->list(int(list_no));
        estimate[q] = estimates[q];
    }
    bool together = count == kScanTogether;
    for (int q = 0; q < count; q++) {
        together = together && !lists[q]->fine;
    }
    for (size_t first = 0; first < size; first += kScanBatch) {
        const int some = int(std::min<size_t>(kScanBatch, size - first));
        const uint8_t* codes = blocks + first * code_size;
        float bounds[kScanTogether];
        uint64_t close[kScanTogether];
        for (int q = 0; q < count; q++) {
            bounds[q] = tops[q]->bound();
        }
        ahead.fetch(kScanBatch * code_size);
        if (together) {
            simd().scan.blocks_together(lists, codes, some, bounds, estimate, close);
        } else {
            for (int q = 0; q < count; q++) {
                close[q] = scan_codes(*lists[q], codes, some, bounds[q], estimate[q]);
            }
        }
        for (int q = 0; q < count; q++) {
            each_selected(scope, uint32_t(list_no), first, close[q],
                          [&](size_t v, Place place) { tops[q]->push(estimate[q][v], place); });
        }
    }
}

} // namespace

int ListMajor::size_for(const SearchScope& scope, int64_t n, int threads, size_t probes, size_t k) {
    constexpr size_t kLeastProbes = 16;
    constexpr int64_t kEnough = 8; // queries a list: more gain nothing
    constexpr int64_t kMostQueries = 1024;
    constexpr int64_t kMostPairs = 1 << 20;   // of a query and a list
    constexpr int64_t kMostResults = 1 << 17; // bounds what the queries' TopK hold
    constexpr int64_t kMostFloats = 1 << 24;  // of rotated queries
    constexpr int64_t kGroupsPerThread = 2;   // the first one pays for the scratch
    if (scope.model.layout.has_words()) {
        return 0; // tables are a query's own, and cost more than to load the codes
    }
    if (scope.max_codes || scope.max_probes > probes || probes < kLeastProbes) {
        return 0; // with the limits, where a query ends depends on what it has seen
    }
    const auto lists = int64_t(scope.lists.nlist);
    const Model& model = scope.model;
    const int64_t rotated = int64_t(model.frames.size()) * model.slots() +
                            (model.turns_to_refine() ? model.second->slots() : 0);
    const auto size = std::min<int64_t>({n / (int64_t(threads) * kGroupsPerThread),
                                         kEnough * lists / int64_t(probes), kMostQueries,
                                         kMostPairs / int64_t(probes), kMostResults / int64_t(k),
                                         kMostFloats / std::max<int64_t>(1, rotated)});
    return size > 1 && size * int64_t(probes) >= lists ? int(size) : 0;
}

void ListMajor::sort_by_list(const SearchScope& scope, const QueryGroup& group) {
    const int n = group.n(), probes = group.probes();
    starts_.assign(scope.lists.nlist + 2, 0);
    const auto each = [&](auto visit) {
        for (int q = 0; q < n; q++) {
            for (int p = 1; group.is_set(q) && p < probes; p++) {
                visit(uint32_t(q), size_t(group.lists(q)[p]));
            }
        }
    };
    each([&](uint32_t, size_t j) { starts_[j + 2]++; });
    for (size_t j = 2; j < starts_.size(); j++) {
        starts_[j] += starts_[j - 1];
    }
    queries_.resize(starts_.back());
    each([&](uint32_t q, size_t j) { queries_[starts_[j + 1]++] = q; });
    used_.clear();
    for (size_t j = 0; j < scope.lists.nlist; j++) {
        if (starts_[j] < starts_[j + 1]) {
            used_.push_back(int64_t(j));
        }
    }
}

Scanned ListMajor::scan(const SearchScope& scope, QueryGroup& group, std::vector<TopK>& tops) {
    Scanned scanned;
    // A query's nearest list first: it bounds what the others have to give.
    for (int q = 0; q < group.n(); q++) {
        if (group.is_set(q)) {
            scanned += scan_lists(scope, group[q], 1, group.lists(q), tops[q], group.following(q));
        }
    }
    sort_by_list(scope, group);
    const uint32_t together = scope.model.layout.has_words() ? 1 : kScanTogether; // see QueryGroup
    Ahead ahead(scope.model, scope.lists, used_.size(), used_.data(), -1);
    ahead.next(0);
    for (size_t l = 0; l < used_.size(); l++) {
        const size_t j = size_t(used_[l]);
        const uint32_t begin = starts_[j], end = starts_[j + 1];
        const size_t size = scope.lists.VLCInvertedLists::list_size(j);
        ahead.fetch_all();
        ahead.next(l + 1);
        if (size == 0) {
            continue;
        }
        scanned += {end - begin, size * (end - begin)};
        for (uint32_t at = begin; at < end; at += together) {
            const int count = int(std::min<uint32_t>(together, end - at));
            Query* queries[kScanTogether];
            TopK* own[kScanTogether];
            for (int q = 0; q < count; q++) {
                queries[q] = &group[int(queries_[at + q])];
                own[q] = &tops[queries_[at + q]];
            }
            for (uint32_t next = at + together; next < std::min<uint32_t>(at + 2 * together, end);
                 next++) {
                group[int(queries_[next])].prefetch(int(j));
            }
            scan_list(scope, j, count, queries, own, ahead);
        }
    }
    return scanned;
}

} // namespace faiss_vlc
