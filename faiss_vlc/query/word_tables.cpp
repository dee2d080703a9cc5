#include <faiss_vlc/query/word_tables.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

namespace {

constexpr float kFar = 1e18f; // a query may be too far away for floats

} // namespace

WordTables::WordTables(const Model& model)
    : model_(model), residual_(model.slots()), rounded_(model.slots()),
      values_(aligned_scratch<float>(size_t(model.layout.blocks()) * kWords)),
      ranges_(model.layout.blocks()),
      tables_(aligned_scratch<uint8_t>(size_t(model.layout.blocks()) * kWords * 4)),
      limit_(float(Codebook::limit(model.layout))) {}

WordTables::Scale WordTables::scale() const {
    const Layout& layout = model_.layout;
    float range = 0, base = 0;
    for (const ValueRange& block : ranges_) {
        range += block.most - block.least;
        base += block.least;
    }
    return {range > 0 ? table_room(layout.blocks(), layout.has_few_blocks()) / range : 0.0f, base};
}

void WordTables::make(const float* y, const float* base, float distance) {
    made_++;
    const Model& model = model_;
    const Layout& layout = model.layout;
    const int n = model.slots();
    // a query may have no residual in the list
    const float largest =
            std::max(model.codebook.unit, simd().words.residual(n, y, base, residual_.data()));
    simd().encode.round_scaled(n, residual_.data(), limit_ / largest, rounded_.data());
    const float product = model.codebook.unit * (largest / limit_); // that a unit of dots is worth
    float scale = 0, usual = 0;
    if (model.metric == faiss::METRIC_L2 && layout.factor_bytes < 2) {
        const float energy = model.estimator.energy;
        const float unit = model.codebook.unit;
        scale = layout.factor_bytes > 0 ? std::min(kFar, std::sqrt(distance / energy)) : 1.0f;
        usual = layout.factor_bytes > 0 ? model.estimator.kappa * energy / (unit * unit) : 0.0f;
    }
    const float share = 0.5f * scale * model.codebook.unit * (limit_ / largest);
    const int blocks = layout.blocks();
    simd().words.values({blocks, layout.block_slot.data(), model.codebook.words.data()},
                        rounded_.data(), scale > 0 ? model.derived().penalty.data() : nullptr,
                        share, values_.get(), ranges_.data());
    const Scale by = this->scale();
    (layout.has_few_blocks() ? simd().words.few_entries : simd().words.entries)(
            blocks, values_.get(), ranges_.data(), by.step, tables_.get());
    // by.step is 0 where all words are alike: then the base counts by itself
    const float step = by.step > 0 ? by.step : 1.0f;
    constexpr float kMost = 1 << 30; // twice a sum fits beside it
    const float half = -2.0f * step * (by.base + share * usual);
    half_ = int32_t(std::lrint(std::min(kMost, std::max(-kMost, half))));
    dot_scale_ = 0.5f * product / step;
}

} // namespace faiss_vlc
