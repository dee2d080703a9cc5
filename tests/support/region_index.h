#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/model/model.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {

/// Regions of any anchors, some large, some of one anchor: nearness is not what matters to what is
/// ranked in them.
inline Regions ragged_regions(const Model& model, int count, std::vector<int32_t> visits,
                              uint64_t seed) {
    Random random(seed);
    Regions regions;
    for (int j = 0; j < model.m; j++) {
        const int64_t any = std::min(random.between(0, count - 1), random.between(0, count - 1));
        regions.of.push_back(int32_t(j < count ? j : any));
    }
    const size_t end = size_t(count) * model.dp();
    regions.centres.assign(model.anchors8.begin(), model.anchors8.begin() + ptrdiff_t(end));
    regions.visits = std::move(visits);
    regions.finish(count);
    return regions;
}

/// Makes d floats a vector that is a little off the lattice, or far.
inline void put_off_lattice(const Lattice& lattice, int d, bool far, float* x) {
    x[0] = lattice.mean[0] + (far ? 300.0f : 200.0f) / lattice.scale;
    for (int k = 1; k < d; k++) { // too long, and the one component would not count
        x[k] = lattice.mean[k] + (x[k] - lattice.mean[k]) / 2;
    }
}

/// An index of the same training that holds x and has these regions.
inline IndexVLC with_regions(const IndexVLC& index, Regions regions, const std::vector<float>& x) {
    auto model = std::make_shared<Model>(*index.model);
    model->set_regions(std::move(regions));
    IndexVLC other(model, index.parameters);
    other.refine_k = index.refine_k;
    other.add(int64_t(x.size()) / index.d, x.data());
    return other;
}

} // namespace faiss_vlc
