#include <faiss_vlc/index/anchor_quantizer.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include <omp.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/query/query_group.h>

namespace faiss_vlc {

void assign_to_anchors(const Model& model, int64_t n, const float* x, int64_t* list_nos) {
    constexpr int64_t kChunk = 96; // rows that stay in the nearest cache
    const int dp = padded_dim(model.assign_dims());
    Rescue rescue;
#pragma omp parallel if (n > kChunk)
    rescue.run([&] {
        std::vector<int8_t> x8(size_t(std::min(n, kChunk)) * dp);
        int32_t labels[kChunk];
#pragma omp for schedule(static) nowait
        for (int64_t first = 0; first < n; first += kChunk) {
            rescue.run([&] { // nothing may leave a loop that threads share
                const int count = int(std::min(kChunk, n - first));
                for (int i = 0; i < count; i++) {
                    model.to_assign(x + (first + i) * model.d, &x8[size_t(i) * dp]);
                }
                AnchorRanking::assign(model, count, x8.data(), labels);
                AnchorRanking::assign_off_lattice(model, count, x + first * model.d, x8.data(),
                                                  labels);
                std::copy_n(labels, count, list_nos + first);
            });
        }
    });
    rescue.rethrow();
}

void correct_off_lattice(const Model& model, int64_t n, const float* x, const int8_t* x8,
                         int32_t* labels) {
    constexpr int64_t kChunk = 96;
    constexpr int64_t kFew = 1000; // that one thread sees to
    const int dp = padded_dim(model.assign_dims());
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        count += OffLattice::may_be(dp, x8 + i * dp);
    }
    if (count == 0) {
        return;
    }
    Rescue rescue;
#pragma omp parallel for schedule(dynamic) if (count > kFew)
    for (int64_t first = 0; first < n; first += kChunk) {
        rescue.run([&] {
            AnchorRanking::assign_off_lattice(model, int(std::min(kChunk, n - first)),
                                              x + first * model.d, x8 + first * dp, labels + first);
        });
    }
    rescue.rethrow();
}

namespace {

/// The distances, or products, of a query and the anchors of a row of results.
void fill_distances(const faiss::IndexFlat& anchors, const float* x, int64_t count,
                    const int64_t* list, float* distances) {
    constexpr int64_t kAhead = 4; // anchors lie anywhere in memory
    const int d = anchors.d;
    const bool inner_product = anchors.metric_type == faiss::METRIC_INNER_PRODUCT;
    const float* const all = anchors.get_xb();
    for (int64_t r = 0; r < count; r++) {
        const float* const later = all + list[std::min(r + kAhead, count - 1)] * d;
        for (int k = 0; k < d; k += 16) {
            __builtin_prefetch(later + k);
        }
        const float* const anchor = all + list[r] * d;
        distances[r] = inner_product ? canonical_dot(d, x, anchor) : canonical_l2(d, x, anchor);
    }
}

} // namespace

AnchorQuantizer::AnchorQuantizer(std::shared_ptr<const Model> model)
    : IndexFlat(model->d, model->metric), model_(std::move(model)) {
    std::vector<float> anchors(size_t(model_->m) * d);
    for (int j = 0; j < model_->m; j++) {
        model_->anchor(j, &anchors[size_t(j) * d]);
    }
    add(model_->m, anchors.data());
}

void AnchorQuantizer::search(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                             const faiss::SearchParameters* params) const {
    if (params || ntotal != model_->m) { // somebody changed it
        IndexFlat::search(n, x, k, distances, labels, params);
        return;
    }
    checked_count(n, d, sizeof(float), "queries");
    checked_count(n, std::max<idx_t>(k, 0), sizeof(idx_t), "results");
    if (k < 1) {
        return;
    }
    const float worst = metric_type == faiss::METRIC_INNER_PRODUCT
                                ? -std::numeric_limits<float>::max()
                                : std::numeric_limits<float>::max();
    const idx_t count = std::min<idx_t>(k, model_->m);
    if (k == 1) {
        assign_to_anchors(*model_, n, x, labels);
    }
    const int size = QueryGroup::size_for(*model_, n, omp_get_max_threads());
    Rescue rescue;
#pragma omp parallel if (n > 1)
    {
        std::unique_ptr<QueryGroup> group;
        rescue.run([&] { group = std::make_unique<QueryGroup>(*model_, size); });
#pragma omp for schedule(dynamic)
        for (idx_t first = 0; first < n; first += size) {
            rescue.run([&] {
                const int some = int(std::min<idx_t>(size, n - first));
                if (group) {
                    group->set(some, x + first * d);
                    if (k > 1) {
                        group->rank(int(count));
                    }
                }
                for (int q = 0; q < some; q++) {
                    const idx_t i = first + q;
                    idx_t* const list = labels + i * k;
                    std::fill_n(distances + i * k, k, worst);
                    if (!group || !group->is_set(q)) {
                        std::fill_n(list, k, idx_t(-1));
                        continue;
                    }
                    if (k > 1) {
                        std::fill(std::copy_n(group->lists(q), count, list), list + k, idx_t(-1));
                    }
                    fill_distances(*this, x + i * d, count, list, distances + i * k);
                }
            });
        }
    }
    rescue.rethrow();
}

} // namespace faiss_vlc
