#include <faiss_vlc/anchor_quantizer.h>

#include <algorithm>
#include <limits>

#include <faiss/utils/distances.h>

#include <faiss_vlc/error.h>
#include <faiss_vlc/parallel.h>

namespace faiss_vlc {

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
    const bool inner_product = metric_type == faiss::METRIC_INNER_PRODUCT;
    const float worst =
            inner_product ? -std::numeric_limits<float>::max() : std::numeric_limits<float>::max();
    const float* anchors = get_xb();
    const idx_t count = std::min<idx_t>(k, model_->m);
    Rescue rescue;
#pragma omp parallel if (n > 1)
    {
        std::unique_ptr<Query> query;
        rescue.run([&] { query = std::make_unique<Query>(*model_); });
#pragma omp for schedule(dynamic, 8)
        for (idx_t i = 0; i < n; i++) {
            rescue.run([&] {
                std::fill_n(labels + i * k, k, idx_t(-1));
                std::fill_n(distances + i * k, k, worst);
                if (!query || !query->set(x + i * d)) {
                    return;
                }
                const auto& lists = query->rank(int(count));
                for (idx_t r = 0; r < count; r++) {
                    const float* anchor = anchors + lists[r] * d;
                    labels[i * k + r] = lists[r];
                    distances[i * k + r] = inner_product
                                                   ? faiss::fvec_inner_product(x + i * d, anchor, d)
                                                   : faiss::fvec_L2sqr(x + i * d, anchor, d);
                }
            });
        }
    }
    rescue.rethrow();
}

} // namespace faiss_vlc
