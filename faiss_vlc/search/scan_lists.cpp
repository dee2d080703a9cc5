#include <faiss_vlc/search/scan_lists.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/search/ahead.h>
#include <faiss_vlc/search/refine.h>

namespace faiss_vlc {

namespace {

/// Collects the k best.
struct BestHits {
    const SearchScope& scope;
    TopK& top;

    float bound() const { return top.bound(); }
    /// Whether it wants to see() many estimates before hits of theirs.
    bool is_open() const { return !scope.sel && top.is_open(); }
    void see(const float* estimates, size_t n) { top.tighten(estimates, n); }
    void hit(float estimate, Place place) {
        if (estimate <= top.bound()) {
            top.push(estimate, place);
        }
    }
    bool is_done(size_t scanned) const {
        return scope.max_codes && scanned >= scope.max_codes && top.size() >= scope.at_least;
    }
};

/// Reports all within a radius.
struct RangeHits {
    const SearchScope& scope;
    Query& query;
    float radius = 0;
    float wide = 0; ///< a little wider, as an estimate; then exactly in the data's units
    faiss::RangeQueryResult& result;
    Refine* refine = nullptr;
    size_t found = 0; ///< up to the last list
    size_t empty = 0; ///< lists in a row that had none

    float bound() const { return wide; }
    bool is_open() const { return false; }
    void see(const float*, size_t) {}
    void hit(float estimate, Place place) {
        const float distance = query.distance(refine ? refine->estimate(query, place) : estimate);
        if (is_within(scope, distance, radius)) {
            result.add(distance, scope.lists.id(place.list, place.offset));
        }
    }
    bool is_done(size_t scanned) {
        empty = result.nres == found ? empty + 1 : 0;
        found = result.nres;
        return (scope.max_codes && scanned >= scope.max_codes) ||
               (scope.max_empty_lists && empty >= scope.max_empty_lists);
    }
};

/// Collects the places of all within a radius.
struct PlaceHits {
    const SearchScope& scope;
    float wide = 0; ///< as RangeHits has it
    std::vector<Place>& places;

    float bound() const { return wide; }
    bool is_open() const { return false; }
    void see(const float*, size_t) {}
    void hit(float, Place place) { places.push_back(place); }
    bool is_done(size_t scanned) const { return scope.max_codes && scanned >= scope.max_codes; }
};

constexpr size_t kAtOnce = 512; ///< vectors that are scanned before any becomes a hit

/// Sets a bit in `close`, per kScanBatch, for each of n estimates within the bound.
void compare(size_t n, const float* estimate, float bound, uint64_t* close) {
    for (size_t at = 0; at < n; at += kScanBatch) {
        const size_t some = std::min<size_t>(kScanBatch, n - at);
        uint8_t is_within[kScanBatch] = {}; // compilers make vectors of bytes, not bits
        if (some == kScanBatch) {
            for (size_t v = 0; v < kScanBatch; v++) {
                is_within[v] = uint8_t(estimate[at + v] <= bound);
            }
        } else {
            for (size_t v = 0; v < some; v++) {
                is_within[v] = uint8_t(estimate[at + v] <= bound);
            }
        }
        uint64_t within = 0;
        for (size_t v = 0; v < kScanBatch; v += 8) {
            uint64_t eight;
            std::memcpy(&eight, is_within + v, 8);
            within |= (eight * 0x0102040810204080u) >> 56 << v; // gathers their lowest bits
        }
        close[at / kScanBatch] = within;
    }
}

/// Scans lists for the query that is set; `hits` gets each selected vector within its bound.
template <class Hits>
Scanned scan(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
             int64_t following, Hits& hits) {
    const size_t batch_bytes = kScanBatch * scope.lists.first_size();
    ScanCodes scan_some = nullptr;
    Scanned scanned;
    Ahead ahead(scope.model, scope.lists, count, lists, following);
    ahead.next(0);
    if (!scope.max_codes) { // or some might not be looked into
        query.look_ahead(count, lists);
    }
    for (size_t l = 0; l < count && (l == 0 || !hits.is_done(scanned.vectors)); l++) {
        const int64_t j = lists[l];
        const size_t in_list = j < 0 ? 0 : scope.lists.VLCInvertedLists::list_size(size_t(j));
        size_t size = in_list;
        if (scope.max_codes && !scope.at_least) {
            size = std::min(size, scope.max_codes - scanned.vectors);
        }
        ahead.fetch_all(); // what is left of this list
        ahead.next(l + 1);
        if (size == 0) {
            continue;
        }
        scanned += {1, size};
        const uint8_t* codes = scope.lists.blocks(size_t(j)); // of the next ones
        const ListScan& list = query.list(int(j));
        if (scope.model.fine_queries || !scan_some) { // else it is the same for all lists
            scan_some = scan_codes_of(list);
        }
        for (size_t first = 0; first < size;) {
            // a block is scanned whole: how its codes lie depends on how many they are
            const bool is_open = hits.is_open();
            const size_t many = std::min(kAtOnce, in_list - first);
            const size_t wanted = std::min(many, size - first);
            float estimate[kAtOnce];
            uint64_t close[kAtOnce / kScanBatch];
            const float bound = hits.bound();
            uint64_t any = 0;
            for (size_t at = 0; at < many; at += kScanBatch) {
                const int some = int(std::min<size_t>(kScanBatch, many - at));
                const bool fetches = some == kScanBatch && !list.fine;
                query.fetch_meanwhile(ahead.fetch(batch_bytes, fetches));
                const uint64_t within = scan_some(list, codes, some, bound, estimate + at);
                close[at / kScanBatch] = within;
                any |= within;
                codes += batch_bytes;
            }
            if (is_open) {
                hits.see(estimate, wanted);
                compare(wanted, estimate, hits.bound(), close);
            } else if (wanted < many && wanted % kScanBatch != 0) {
                close[wanted / kScanBatch] &= (uint64_t(1) << wanted % kScanBatch) - 1;
            }
            for (size_t at = 0; any && at < wanted; at += kScanBatch) {
                if (close[at / kScanBatch]) {
                    each_selected(
                            scope, uint32_t(j), first + at, close[at / kScanBatch],
                            [&](size_t v, Place place) { hits.hit(estimate[at + v], place); });
                }
            }
            first += many;
        }
    }
    query.look_ahead(0, nullptr);
    return scanned;
}

/// The bound of scanning that leaves nothing out, or with two tiers nearly nothing.
float wide_bound(const Model& model, const Query& query, float radius) {
    const float bound = query.estimate(radius);
    const float wide = model.second ? query.widened(bound) : bound;
    return wide + std::fabs(wide) * 1e-5f;
}

} // namespace

Scanned scan_lists(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                   TopK& top, int64_t following) {
    BestHits hits{scope, top};
    return scan(scope, query, count, lists, following, hits);
}

Scanned scan_lists_parallel(const SearchScope& scope, const float* x, size_t count,
                            const int64_t* lists, size_t k, TopK& top) {
    constexpr int64_t kChunk = 4; // lists
    const int64_t chunks = (int64_t(count) + kChunk - 1) / kChunk;
    Scanned scanned;
    Rescue rescue;
#pragma omp parallel
    {
        Scanned mine;
        std::unique_ptr<Query> query;
        std::unique_ptr<TopK> part;
        rescue.run([&] {
            query = std::make_unique<Query>(scope.model);
            part = std::make_unique<TopK>(k, &scope.lists);
            query->set(x);
        });
#pragma omp for schedule(dynamic)
        for (int64_t c = 0; c < chunks; c++) {
            if (!part) {
                continue; // rethrown below
            }
            rescue.run([&] {
                const size_t first = size_t(c * kChunk);
                const size_t some = std::min<size_t>(kChunk, count - first);
                mine += scan_lists(scope, *query, some, lists + first, *part);
            });
        }
#pragma omp critical(faiss_vlc_merge_results)
        if (part) {
            scanned += mine;
            rescue.run([&] {
                part->each([&](float estimate, Place place) { top.push(estimate, place); });
            });
        }
    }
    rescue.rethrow();
    return scanned;
}

Scanned scan_nearest(const SearchScope& scope, Query& query, size_t probes, const int64_t* lists,
                     size_t k, TopK& top, int64_t following) {
    SearchScope rest = scope;
    Scanned scanned;
    size_t done = 0;
    for (size_t next = probes;; next = std::min(2 * next, scope.max_probes)) {
        if (next > probes) {
            lists = query.rank(int(next), int(scope.width)).data();
        }
        scanned += scan_lists(rest, query, next - done, lists + done, top, following);
        done = next;
        const bool is_spent = scope.max_codes && scanned.vectors >= scope.max_codes;
        if (top.size() >= k || done >= scope.max_probes || (is_spent && !scope.at_least)) {
            return scanned;
        }
        if (scope.max_codes) {
            rest.max_codes = is_spent ? 1 : scope.max_codes - scanned.vectors;
        }
    }
}

Scanned scan_lists_range(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                         float radius, faiss::RangeQueryResult& result, int64_t following) {
    std::unique_ptr<Refine> refine;
    if (scope.model.second) {
        refine = std::make_unique<Refine>(scope);
    }
    RangeHits hits{scope,  query,       radius, wide_bound(scope.model, query, radius),
                   result, refine.get()};
    return scan(scope, query, count, lists, following, hits);
}

Scanned scan_lists_places(const SearchScope& scope, Query& query, size_t count,
                          const int64_t* lists, float radius, std::vector<Place>& places,
                          int64_t following) {
    PlaceHits hits{scope, wide_bound(scope.model, query, radius), places};
    return scan(scope, query, count, lists, following, hits);
}

} // namespace faiss_vlc
