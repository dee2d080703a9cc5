#include <faiss_vlc/model/derived.h>

#include <cmath>

#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

Derived::Derived(const Model& model) : ranks(model) {
    if (model.routing.used()) {
        routes = RankTables(model.m, model.routing.dp(), model.routing.anchors.data());
    }
    if (model.grid == AnchorGrid::float16 || model.whole_words) {
        const int d = model.d, pad = model.dp();
        anchor_lattice.assign(size_t(model.m) * pad, 0);
        for (int j = 0; j < model.m && !model.whole_words; j++) {
            for (int k = 0; k < d; k++) {
                anchor_lattice[size_t(j) * pad + k] =
                        half_to_float(model.anchors16[size_t(j) * d + k]);
            }
        }
    }
    set_regions(model);
    set_steps(model);
    rotate_anchors(model);
    if (model.second) {
        set_start_norms(model);
    }
}

void Derived::set_regions(const Model& model) {
    regions = model.regions.used() ? RegionTables(model.regions, ranks, model.metric)
                                   : RegionTables();
}

void Derived::bias(const Model& model) {
    ranks.bias(model);
    if (model.regions.used()) {
        regions.bias(ranks);
    }
}

void Derived::set_steps(const Model& model) {
    const Layout& layout = model.layout;
    const std::vector<int> axis = layout.slot_axis();
    const int n = model.slots();
    const int kept = model.frames[0].kept;
    step.assign(model.frames.size() * n, 0);
    inverse_step.assign(model.frames.size() * n, 0);
    levels_less_one.assign(n, 0);
    if (layout.has_words()) {
        penalty.assign(model.codebook.norms.begin(), model.codebook.norms.end());
        return;
    }
    packed = PackedLevels(layout);
    for (int s = 0; s < layout.slots(); s++) {
        const int width = layout.fields[s / 4].width;
        if (axis[s] < 0 || axis[s] >= kept) {
            continue;
        }
        levels_less_one[s] = int16_t((1 << width) - 1);
        for (size_t g = 0; g < model.frames.size(); g++) {
            const float width_step = model.sigma[g * kept + axis[s]] * float(kUniformStep[width]);
            step[g * n + s] = width_step;
            inverse_step[g * n + s] = width_step > 0 ? 1.0f / width_step : 0.0f;
        }
    }
}

void Derived::rotate_anchors(const Model& model) {
    const int d = model.d, pad = model.dp(), n = model.slots();
    anchor_rotated.resize(size_t(model.m) * n);
    Rescue rescue;
#pragma omp parallel for if (model.m > 100)
    for (int j = 0; j < model.m; j++) {
        rescue.run([&] {
            std::vector<float> a(d);
            for (int k = 0; k < d; k++) {
                a[k] = anchor_lattice.empty() ? float(model.anchors8[size_t(j) * pad + k])
                                              : anchor_lattice[size_t(j) * pad + k];
            }
            model.frame_of(j).rotate(a.data(), &anchor_rotated[size_t(j) * n]);
        });
    }
    rescue.rethrow();
}

void Derived::set_start_norms(const Model& model) {
    const int d = model.d, pad = model.dp();
    start_norm.clear();
    for (int j = 0; j < model.m; j++) {
        double square = 0;
        for (size_t at = size_t(j) * pad; at < size_t(j) * pad + d; at++) {
            const double a =
                    anchor_lattice.empty() ? double(model.anchors8[at]) : anchor_lattice[at];
            square += a * a;
        }
        start_norm.push_back(float(std::sqrt(square)));
    }
}

size_t Derived::memory() const {
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    return ranks.memory() + regions.memory() + routes.memory() + bytes(anchor_lattice) +
           bytes(anchor_rotated) + bytes(step) + bytes(inverse_step) + bytes(levels_less_one) +
           bytes(penalty) + bytes(start_norm) + bytes(packed.chunks) + bytes(packed.slot) +
           bytes(packed.up);
}

} // namespace faiss_vlc
