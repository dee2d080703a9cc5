#include <faiss_vlc/query/word_tables.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

WordTables::WordTables(const Model& model)
    : model_(model), residual_(model.slots()), rounded_(model.slots()),
      dots_(size_t(model.layout.blocks()) * kWords), tables_(dots_.size() * 4),
      limit_(float(Codebook::limit(model.layout))) {}

void WordTables::make(const float* y, const float* base, float distance) {
    const Model& model = model_;
    const Layout& layout = model.layout;
    const int n = model.slots();
    float largest = model.codebook.unit; // a query without residual in the list
    constexpr float kFar = 1e18f;        // a query may be too far away for floats
    for (int s = 0; s < n; s++) {
        residual_[s] = std::min(kFar, std::max(-kFar, y[s] - base[s]));
        largest = std::max(largest, std::fabs(residual_[s]));
    }
    simd().encode.round_scaled(n, residual_.data(), limit_ / largest, rounded_.data());
    simd().words.products({layout.blocks(), layout.block_slot.data(), model.codebook.words.data()},
                          rounded_.data(), dots_.data());
    const float product = model.codebook.unit * (largest / limit_); // that a unit of dots is worth
    float scale = 0, usual = 0;
    if (model.metric == faiss::METRIC_L2 && layout.factor_bytes < 2) {
        const float energy = model.estimator.energy;
        const float unit = model.codebook.unit;
        scale = layout.factor_bytes > 0 ? std::min(kFar, std::sqrt(distance / energy)) : 1.0f;
        usual = layout.factor_bytes > 0 ? model.estimator.kappa * energy / (unit * unit) : 0.0f;
    }
    const auto make_tables =
            layout.has_few_blocks() ? simd().words.few_tables : simd().words.tables;
    const float share = 0.5f * scale * model.codebook.unit * (limit_ / largest);
    const TableScale by = make_tables(layout.blocks(), dots_.data(),
                                      scale > 0 ? model.derived().penalty.data() : nullptr, share,
                                      tables_.data());
    // by.step is 0 where all words are alike: then the base counts by itself
    const float step = by.step > 0 ? by.step : 1.0f;
    constexpr float kMost = 1 << 30; // twice a sum fits beside it
    const float half = -2.0f * step * (by.base + share * usual);
    half_ = int32_t(std::lrint(std::min(kMost, std::max(-kMost, half))));
    dot_scale_ = 0.5f * product / step;
}

} // namespace faiss_vlc
