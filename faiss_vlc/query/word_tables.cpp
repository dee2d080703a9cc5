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
    : model_(model), blocks_(size_t(model.layout.blocks())), words_(blocks_ * kWords),
      table_bytes_(words_ * (model.layout.has_few_blocks() ? 4 : 2)), residual_(model.slots()),
      rounded_(size_t(kAhead) * model.slots()), values_(aligned_scratch<float>(kAhead * words_)),
      ranges_(kAhead * blocks_), tables_(aligned_scratch<uint8_t>(kAhead * table_bytes_)),
      limit_(float(Codebook::limit(model.layout))) {}

WordTables::Scale WordTables::scale(const ValueRange* ranges) const {
    float range = 0, base = 0;
    for (size_t b = 0; b < blocks_; b++) {
        range += ranges[b].most - ranges[b].least;
        base += ranges[b].least;
    }
    const Layout& layout = model_.layout;
    return {range > 0 ? table_room(layout.blocks(), layout.has_few_blocks()) / range : 0.0f, base};
}

/// Rounds a list's residual.
void WordTables::set_residual(int table, const Residual& residual) {
    const Model& model = model_;
    const int n = model.slots();
    const float unit = model.codebook.unit;
    // a query may have no residual in the list
    const float largest =
            std::max(unit, simd().words.residual(n, residual.y, residual.base, residual_.data()));
    simd().encode.round_scaled(n, residual_.data(), limit_ / largest, &rounded_[size_t(table) * n]);
    List& list = lists_[table];
    list.product = unit * (largest / limit_);
    float scale = 0;
    list.usual = 0;
    const int factor_bytes = model.layout.factor_bytes;
    if (model.metric == faiss::METRIC_L2 && factor_bytes < 2) {
        const float energy = model.estimator.energy;
        scale = factor_bytes > 0 ? std::min(kFar, std::sqrt(residual.distance / energy)) : 1.0f;
        list.usual = factor_bytes > 0 ? model.estimator.kappa * energy / (unit * unit) : 0.0f;
    }
    list.share = 0.5f * scale * unit * (limit_ / largest);
    list.has_norms = scale > 0;
}

void WordTables::set_values(int count) {
    const auto values_of = simd().words.values;
    const float* const norms = model_.derived().penalty.data();
    const int* const slot = model_.layout.block_slot.data();
    for (size_t b = 0; b < blocks_; b++) { // the block's words stay near for all lists
        for (int t = 0; t < count; t++) {
            values_of({1, slot + b, model_.codebook.words.data()},
                      &rounded_[size_t(t) * model_.slots()],
                      lists_[t].has_norms ? norms + b * kWords : nullptr, lists_[t].share,
                      values(t) + b * kWords, ranges(t) + b);
        }
    }
}

void WordTables::set_entries(int table) {
    List& list = lists_[table];
    const Scale by = scale(ranges(table));
    const Simd::Words& words = simd().words;
    (model_.layout.has_few_blocks() ? words.few_entries : words.entries)(
            int(blocks_), values(table), ranges(table), by.step,
            tables_.get() + size_t(table) * table_bytes_);
    // by.step is 0 where all words are alike: then the base counts by itself
    const float step = by.step > 0 ? by.step : 1.0f;
    constexpr float kMost = 1 << 30; // twice a sum fits beside it
    const float half = -2.0f * step * (by.base + list.share * list.usual);
    list.half = int32_t(std::lrint(std::min(kMost, std::max(-kMost, half))));
    list.dot_scale = 0.5f * list.product / step;
}

void WordTables::make(int count, const Residual* residuals) {
    made_++;
    for (int t = 0; t < count; t++) {
        set_residual(t, residuals[t]);
    }
    set_values(count);
    for (int t = 0; t < count; t++) {
        set_entries(t);
    }
    used_ = 0;
}

} // namespace faiss_vlc
