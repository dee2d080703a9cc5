#include <faiss_vlc/train.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include <faiss/IndexIVF.h>
#if __has_include(<faiss/IndexIVFIndependentQuantizer.h>)
#include <faiss/IndexIVFIndependentQuantizer.h>
#endif
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRowwiseMinMax.h>
#include <faiss/MetaIndexes.h>
#include <faiss/VectorTransform.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/interop/tree.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/finite.h>

namespace faiss_vlc {

namespace {

struct Rows {
    int64_t n = 0;
    std::vector<float> x; ///< n x d of the index they are for
};

/// Makes an index's queries, once what lies above it is trained.
using MakeRows = std::function<Rows()>;

Rows columns(const Rows& from, int d, int first, int count) {
    Rows part{from.n, std::vector<float>(size_t(from.n) * count)};
    for (int64_t i = 0; i < from.n; i++) {
        std::copy_n(&from.x[size_t(i) * d + first], count, &part.x[size_t(i) * count]);
    }
    return part;
}

/// Each row to [0, 1], as IndexRowwiseMinMax trains its part.
Rows scaled_rows(Rows rows, int d) {
    for (int64_t i = 0; i < rows.n; i++) {
        float* x = &rows.x[size_t(i) * d];
        const auto [low, high] = std::minmax_element(x, x + d);
        const float least = *low, range = *high - *low;
        for (int k = 0; k < d; k++) {
            x[k] = range > 0 ? (x[k] - least) / range : 0.0f;
        }
    }
    return rows;
}

/// For the parts of `parent` in the order of each_child(): how their queries come from its own.
/// Null: none that it could be told of.
class Ways {
public:
    explicit Ways(const faiss::Index& parent) : parent_(parent) {}

    MakeRows next(const faiss::Index& child, const MakeRows& above) {
        const int d = parent_.d;
        if (const auto* transform = dynamic_cast<const faiss::IndexPreTransform*>(&parent_)) {
            return [transform, above, to = child.d] {
                const Rows rows = above();
                const float* x = transform->apply_chain(rows.n, rows.x.data());
                const std::unique_ptr<const float[]> made(x == rows.x.data() ? nullptr : x);
                return Rows{rows.n, std::vector<float>(x, x + rows.n * to)};
            };
        }
        if (dynamic_cast<const faiss::IndexSplitVectors*>(&parent_) ||
            dynamic_cast<const faiss::MultiIndexQuantizer2*>(&parent_)) {
            const int first = std::exchange(column_, column_ + child.d);
            return [above, d, first, count = child.d] { return columns(above(), d, first, count); };
        }
        if (dynamic_cast<const faiss::IndexRowwiseMinMaxBase*>(&parent_)) {
            return [above, d] { return scaled_rows(above(), d); };
        }
#if __has_include(<faiss/IndexIVFIndependentQuantizer.h>)
        const auto* apart = dynamic_cast<const faiss::IndexIVFIndependentQuantizer*>(&parent_);
        if (apart && apart->vt && &child == apart->index_ivf) {
            return [vt = apart->vt, above, to = child.d] {
                const Rows rows = above();
                Rows made{rows.n, std::vector<float>(size_t(rows.n) * to)};
                vt->apply_noalloc(rows.n, rows.x.data(), made.x.data());
                return made;
            };
        }
#endif
        return child.d == d ? above : MakeRows();
    }

private:
    const faiss::Index& parent_;
    int column_ = 0; ///< of the next part
};

} // namespace

/// Has the IndexVLCs of a tree wait for queries while it lives.
class AwaitedQueries {
public:
    AwaitedQueries(faiss::Index& index, const MakeRows& make) { offer(index, make); }
    ~AwaitedQueries() {
        for (auto& [vlc, taken] : offered_) {
            vlc->awaited_queries_ = nullptr;
        }
    }
    AwaitedQueries(const AwaitedQueries&) = delete;
    AwaitedQueries& operator=(const AwaitedQueries&) = delete;

    bool any() const { return !offered_.empty(); }
    bool any_taken() const {
        return std::any_of(offered_.begin(), offered_.end(),
                           [](const auto& offered) { return *offered.second; });
    }

private:
    std::vector<std::pair<IndexVLC*, std::shared_ptr<bool>>>
            offered_; ///< and whether they took any

    void offer(faiss::Index& node, const MakeRows& make) {
        if (auto* vlc = dynamic_cast<IndexVLC*>(&node)) {
            const auto taken = std::make_shared<bool>(false);
            offered_.push_back({vlc, taken});
            vlc->awaited_queries_ = [make, taken] {
                *taken = true;
                return make().x;
            };
        }
        Ways ways(node);
        each_child(node, [&](faiss::Index*& child, bool) {
            if (const MakeRows below = ways.next(*child, make)) {
                offer(*child, below);
            }
        });
    }
};

void train(faiss::Index& index, int64_t n, const float* x, int64_t n_queries,
           const float* queries) {
    if (n_queries < 1) {
        fail("train: expected at least 1 query, got %lld", (long long)n_queries);
    }
    checked_count(n_queries, index.d, sizeof(float), "training queries");
    require_finite(queries, n_queries, index.d, "training queries");
    const AwaitedQueries awaited(index, [&] {
        return Rows{n_queries, std::vector<float>(queries, queries + n_queries * index.d)};
    });
    if (!awaited.any()) {
        fail("train: queries are for a VLC, but none is in the index");
    }
    index.train(n, x);
    if (!awaited.any_taken()) {
        fail("train: queries were given, but no VLC in the index was trained: it is trained "
             "already");
    }
}

} // namespace faiss_vlc
