#pragma once

#include <memory>

#include <faiss/IndexFlat.h>

#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

/// The nearest anchor of each vector (float n x d), on the lattice, by the CPU's own instructions.
void assign_to_anchors(const Model& model, int64_t n, const float* x, int64_t* labels);
/// What is left to do where a device assigned rows (x8: as Model::to_assign makes them of x): those
/// off the lattice.
void correct_off_lattice(const Model& model, int64_t n, const float* x, const int8_t* x8,
                         int32_t* labels);

/// The anchors as FAISS sees them: a flat index, which FAISS saves and copies as such, that ranks
/// them as IndexVLC does, on integers. So what FAISS does with an IndexVLC's lists by way of its
/// quantizer (ivflib, search_preassigned, IndexShardsIVF) looks into the lists that IndexVLC would,
/// but for nprobe 1: FAISS asks for one list to add vectors too, and then gets the one to add to.
struct AnchorQuantizer : faiss::IndexFlat {
    using idx_t = int64_t;

    explicit AnchorQuantizer(std::shared_ptr<const Model> model);

    /// The lists that IndexVLC probes first; with k = 1 the list that add() takes. Distances are
    /// exact; their order is not that of the labels, as ranks count how wide lists are. Selectors
    /// are FAISS's affair.
    void search(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                const faiss::SearchParameters* params = nullptr) const override;

private:
    std::shared_ptr<const Model> model_;
};

} // namespace faiss_vlc
