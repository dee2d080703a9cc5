#include <faiss_vlc/model/rank_tables.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

RankTables::RankTables(int m, int pad, const int8_t* anchors) : groups(pad / 4) {
    norm.assign((m + 15) / 16 * 16, INT32_MAX); // what pads the last tile comes last
    component_sum.assign(norm.size(), 0);
    packed.assign(norm.size() * pad, 0);
    for (int j = 0; j < m; j++) {
        const int8_t* a = anchors + size_t(j) * pad;
        norm[j] = 0;
        for (int k = 0; k < pad; k++) {
            norm[j] += a[k] * a[k];
            component_sum[j] += a[k];
            packed[(size_t(j / 16) * groups + k / 4) * 64 + j % 16 * 4 + k % 4] = a[k];
        }
    }
}

RankTables::RankTables(const Model& model)
    : RankTables(model.m, model.dp(), model.anchors8.data()) {
    bias(model);
}

void RankTables::bias(const Model& model) {
    constexpr float kMost = 1e5f; // scores stay within int32 whatever a file says
    const float by = model.rank_bias, energy = model.estimator.energy;
    offset = norm;
    reach.clear();
    if (model.metric == faiss::METRIC_INNER_PRODUCT) {
        std::fill_n(offset.begin(), model.m, 0);
        if (by != 0) {
            reach.assign(offset.size(), 0);
            for (int j = 0; j < model.m; j++) {
                reach[j] = std::min(kMost,
                                    by * std::sqrt(energy) * model.spread[j] * model.rank_scale);
            }
        }
        return;
    }
    for (int j = 0; j < model.m; j++) {
        const float added = by * energy * (model.spread[j] * model.spread[j]);
        offset[j] += int32_t(std::min(kMost * kMost * 0.1f, added) + 0.5f);
    }
}

size_t RankTables::memory() const {
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    return bytes(packed) + bytes(component_sum) + bytes(norm) + bytes(offset) + bytes(reach);
}

} // namespace faiss_vlc
