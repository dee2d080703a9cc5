#include <faiss_vlc/search.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <faiss_vlc/simd.h>

namespace faiss_vlc {

TopK::TopK(size_t k) : k_(k), capacity_(std::max<size_t>(2 * k, k + 32)) {
    entries_.reserve(std::min<size_t>(capacity_, 4096));
    clear();
}

void TopK::clear() {
    entries_.clear();
    bound_ = std::numeric_limits<float>::max();
}

void TopK::shrink() {
    if (entries_.size() > k_) {
        std::nth_element(entries_.begin(), entries_.begin() + (k_ - 1), entries_.end());
        entries_.resize(k_);
        bound_ = entries_[k_ - 1].estimate;
    }
}

const std::vector<TopK::Entry>& TopK::sorted() {
    shrink();
    std::sort(entries_.begin(), entries_.end());
    return entries_;
}

namespace {

/// Calls hit(estimate, id, place) for each selected vector with an estimate <= bound().
template <class Bound, class Hit>
size_t scan(const SearchScope& scope, Query& query, size_t count, const int64_t* lists, Bound bound,
            Hit hit) {
    const auto scan_block = simd().scan_block;
    const size_t code_size = scope.lists.code_size;
    size_t scanned = 0;
    for (size_t l = 0; l < count; l++) {
        const int64_t j = lists[l];
        if (j < 0) {
            continue;
        }
        const size_t size = scope.lists.list_size(j);
        if (size == 0) {
            continue;
        }
        const ListScan& list = query.list(int(j));
        const uint8_t* blocks = scope.lists.blocks(j);
        for (size_t first = 0; first < size; first += kBlock) {
            float estimate[kBlock];
            const int in_block = int(std::min<size_t>(kBlock, size - first));
            uint32_t close =
                    scan_block(list, blocks + first * code_size, in_block, bound(), estimate);
            for (; close; close &= close - 1) {
                const int v = __builtin_ctz(close);
                const int64_t id = scope.lists.id(j, first + v);
                if (!scope.sel || scope.sel->is_member(id)) {
                    hit(estimate[v], id, j << 32 | int64_t(first + v));
                }
            }
        }
        scanned += size;
        if (scope.max_codes && scanned >= scope.max_codes) {
            break;
        }
    }
    return scanned;
}

} // namespace

size_t scan_lists(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                  TopK& top) {
    return scan(scope, query, count, lists, [&] { return top.bound(); },
                [&](float estimate, int64_t id, int64_t place) {
                    top.push(estimate, id, place);
                });
}

size_t scan_lists_range(const SearchScope& scope, Query& query, size_t count, const int64_t* lists,
                        float radius, faiss::RangeQueryResult& result) {
    const bool inner_product = scope.model.metric == faiss::METRIC_INNER_PRODUCT;
    // a little wider, then exactly in the data's units
    const float bound = query.estimate(radius);
    const float wide = bound + std::fabs(bound) * 1e-5f;
    return scan(scope, query, count, lists, [&] { return wide; },
                [&](float estimate, int64_t id, int64_t) {
                    const float distance = query.distance(estimate);
                    if (inner_product ? distance > radius : distance < radius) {
                        result.add(distance, id);
                    }
                });
}

} // namespace faiss_vlc
