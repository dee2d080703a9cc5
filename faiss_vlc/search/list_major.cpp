#include <faiss_vlc/search/list_major.h>

#include <algorithm>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/search/ahead.h>

namespace faiss_vlc {

namespace {

/// A list, and how it is scanned for several queries.
struct ListWork {
    const SearchScope& scope;
    size_t list_no;
    const uint8_t* blocks;
    size_t size;
    size_t code_size;
};

void take(const ListWork& work, size_t first, uint64_t close, const float* estimate, TopK& top) {
    if (close) {
        each_selected(work.scope, uint32_t(work.list_no), first, close,
                      [&](size_t v, Place place) { top.push(estimate[v], place); });
    }
}

/// Scans a list for one query.
void scan_for_one(const ListWork& work, Query& query, TopK& top, Ahead& ahead) {
    const ListScan& list = query.list(int(work.list_no));
    const ScanCodes scan_some = scan_codes_of(list);
    for (size_t first = 0; first < work.size; first += kScanBatch) {
        const int some = int(std::min<size_t>(kScanBatch, work.size - first));
        float estimate[kScanBatch];
        const bool fetches = some == kScanBatch && !list.fine;
        query.fetch_meanwhile(ahead.fetch(kScanBatch * work.code_size, fetches));
        take(work, first,
             scan_some(list, work.blocks + first * work.code_size, some, top.bound(), estimate),
             estimate, top);
    }
}

/// Scans a list for kScanTogether queries, unless one of them has a fine plane.
bool scan_together(const ListWork& work, Query* const* queries, TopK* const* tops, Ahead& ahead) {
    static_assert(kScanTogether == 2);
    const ListScan* const lists[] = {&queries[0]->list(int(work.list_no)),
                                     &queries[1]->list(int(work.list_no))};
    if (lists[0]->fine || lists[1]->fine) {
        return false;
    }
    const auto scan_some = simd().scan.blocks_together;
    float estimates[kScanTogether][kScanBatch];
    float* const estimate[] = {estimates[0], estimates[1]};
    for (size_t first = 0; first < work.size; first += kScanBatch) {
        const int some = int(std::min<size_t>(kScanBatch, work.size - first));
        const float bounds[] = {tops[0]->bound(), tops[1]->bound()};
        uint64_t close[kScanTogether];
        ahead.fetch(kScanBatch * work.code_size, false);
        scan_some(lists, work.blocks + first * work.code_size, some, bounds, estimate, close);
        take(work, first, close[0], estimates[0], *tops[0]);
        take(work, first, close[1], estimates[1], *tops[1]);
    }
    return true;
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
        const ListWork work{scope, j, scope.lists.blocks(j), size, scope.lists.first_size()};
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
            if (count == kScanTogether && scan_together(work, queries, own, ahead)) {
                continue;
            }
            for (int q = 0; q < count; q++) {
                scan_for_one(work, *queries[q], *own[q], ahead);
            }
        }
    }
    return scanned;
}

} // namespace faiss_vlc
