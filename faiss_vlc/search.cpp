#include <faiss_vlc/search.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <faiss_vlc/parallel.h>
#include <faiss_vlc/simd.h>

namespace faiss_vlc {

TopK::TopK(size_t k, const VLCInvertedLists* lists)
    : lists_(lists), k_(k), capacity_(std::max<size_t>(2 * k, k + 32)) {
    entries_.reserve(std::min<size_t>(capacity_, 4096));
    clear();
}

void TopK::clear() {
    entries_.clear();
    resolved_ = 0;
    bound_ = std::numeric_limits<float>::max();
}

void TopK::shrink() {
    for (; lists_ && resolved_ < entries_.size(); resolved_++) {
        Entry& entry = entries_[resolved_];
        entry.id = lists_->id(size_t(entry.place >> 32), size_t(entry.place & 0xffffffff));
    }
    if (entries_.size() > k_) {
        std::nth_element(entries_.begin(), entries_.begin() + (k_ - 1), entries_.end());
        entries_.resize(k_);
        bound_ = entries_[k_ - 1].estimate;
        resolved_ = k_;
    }
}

void TopK::tighten(const float* estimates, size_t n) {
    // the k-th least of 32 minima bounds the k-th least of all, and is cheaper to have
    constexpr size_t kMinima = 32;
    if (bound_ < std::numeric_limits<float>::max() || n != kScanBatch || k_ > kMinima / 2) {
        return;
    }
    float least[kMinima];
    for (size_t i = 0; i < kMinima; i++) {
        least[i] = std::min(estimates[i], estimates[i + kMinima]);
        if (!(least[i] <= std::numeric_limits<float>::max())) {
            return; // overflowed
        }
    }
    std::nth_element(least, least + (k_ - 1), least + kMinima);
    bound_ = least[k_ - 1];
}

const std::vector<TopK::Entry>& TopK::sorted() {
    shrink();
    std::sort(entries_.begin(), entries_.end());
    return entries_;
}

namespace {

constexpr size_t kPrefetch = 2048; ///< bytes of a list

/// Collects the k best.
struct BestHits {
    const SearchScope& scope;
    TopK& top;

    float bound() const { return top.bound(); }
    /// Every vector's estimate of a batch, whether within the bound or not.
    void see(const float* estimates, int n) {
        if (!scope.sel) {
            top.tighten(estimates, size_t(n));
        }
    }
    void hit(float estimate, int64_t place) {
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
    const Query& query;
    float radius;
    float wide; ///< a little wider, as an estimate; then exactly in the data's units
    faiss::RangeQueryResult& result;
    size_t found = 0; ///< up to the last list
    size_t empty = 0; ///< lists in a row that had none

    float bound() const { return wide; }
    void see(const float*, int) {}
    void hit(float estimate, int64_t place) {
        const float distance = query.distance(estimate);
        const bool within = scope.model.metric == faiss::METRIC_INNER_PRODUCT ? distance > radius
                                                                              : distance < radius;
        if (within) {
            result.add(distance, scope.lists.id(size_t(place >> 32), size_t(place & 0xffffffff)));
        }
    }
    bool is_done(size_t scanned) {
        empty = result.nres == found ? empty + 1 : 0;
        found = result.nres;
        return (scope.max_codes && scanned >= scope.max_codes) ||
               (scope.max_empty_lists && empty >= scope.max_empty_lists);
    }
};

/// Scans lists for the query that is set; `hits` gets each selected vector within its bound.
template <class Hits>
Scanned scan(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
             Hits& hits) {
    const auto scan_blocks = simd().scan_blocks;
    const size_t code_size = scope.lists.code_size;
    Scanned scanned;
    for (size_t l = 0; l < count && (l == 0 || !hits.is_done(scanned.vectors)); l++) {
        const int64_t j = lists[l];
        const size_t in_list = j < 0 ? 0 : scope.lists.list_size(j);
        size_t size = in_list;
        if (scope.max_codes && !scope.at_least) {
            size = std::min(size, scope.max_codes - scanned.vectors);
        }
        if (size == 0) {
            continue;
        }
        scanned += {1, size};
        const uint8_t* blocks = scope.lists.blocks(j);
        for (size_t at = 0; at < std::min(size * code_size, kPrefetch); at += 64) {
            __builtin_prefetch(blocks + at); // they arrive while the query is prepared
        }
        const ListScan& list = query.list(int(j));
        for (size_t first = 0; first < size; first += kScanBatch) {
            float estimate[kScanBatch];
            // a block is scanned whole: how its codes lie depends on how many they are
            const int in_batch = int(std::min<size_t>(kScanBatch, in_list - first));
            const int wanted = int(std::min<size_t>(in_batch, size - first));
            uint64_t close =
                    scan_blocks(list, blocks + first * code_size, in_batch, hits.bound(), estimate);
            if (wanted < in_batch) {
                close &= (uint64_t(1) << wanted) - 1;
            }
            hits.see(estimate, wanted);
            for (; close; close &= close - 1) {
                const int v = __builtin_ctzll(close);
                if (!scope.sel || scope.sel->is_member(scope.lists.id(j, first + v))) {
                    hits.hit(estimate[v], j << 32 | int64_t(first + v));
                }
            }
        }
    }
    return scanned;
}

} // namespace

Scanned scan_lists(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                   TopK& top) {
    BestHits hits{scope, top};
    return scan(scope, query, count, lists, hits);
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
                for (const TopK::Entry& entry : part->sorted()) {
                    top.push(entry.estimate, entry.place);
                }
            });
        }
    }
    rescue.rethrow();
    return scanned;
}

Scanned scan_nearest(const SearchScope& scope, Query& query, size_t probes, size_t k, TopK& top) {
    SearchScope rest = scope;
    Scanned scanned;
    size_t done = 0;
    for (size_t next = probes;; next = std::min(2 * next, scope.max_probes)) {
        const int64_t* order = query.rank(int(next)).data();
        scanned += scan_lists(rest, query, next - done, order + done, top);
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
                         float radius, faiss::RangeQueryResult& result) {
    const float bound = query.estimate(radius);
    RangeHits hits{scope, query, radius, bound + std::fabs(bound) * 1e-5f, result};
    return scan(scope, query, count, lists, hits);
}

} // namespace faiss_vlc
