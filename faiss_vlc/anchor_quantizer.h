#pragma once

#include <memory>

#include <faiss/IndexFlat.h>

#include <faiss_vlc/model.h>

namespace faiss_vlc {

/// The anchors as FAISS sees them: a flat index, which FAISS saves and copies as such, that ranks
/// them as IndexVLC does, on integers. So what FAISS does with an IndexVLC's lists by way of its
/// quantizer (ivflib, search_preassigned, IndexShardsIVF) looks into the lists that IndexVLC would.
struct AnchorQuantizer : faiss::IndexFlat {
    using idx_t = int64_t;

    explicit AnchorQuantizer(std::shared_ptr<const Model> model);

    /// Distances are exact, and in the order of the labels but for rounding. Selectors are FAISS's
    /// affair.
    void search(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                const faiss::SearchParameters* params = nullptr) const override;

private:
    std::shared_ptr<const Model> model_;
};

} // namespace faiss_vlc
