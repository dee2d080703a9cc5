#include <faiss_vlc/query/level_query.h>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

LevelQuery::LevelQuery(const Model& model)
    : model_(model), list_terms_(simd().scan.list_terms), anchors_(model.anchors8.data()),
      bases_(model.derived().anchor_rotated.data()), steps_(model.derived().step.data()),
      group_(model.group.data()), may_be_fine_(model.fine_queries), weighted_(model.slots()),
      plane_(model.slots() + 4), fine_(model.fine_queries ? model.slots() + 4 : 0) {
    side_.dp = model.dp();
    side_.slots = model.slots();
    side_.levels = model.derived().levels_less_one.data();
    side_.weighted = weighted_.data();
    side_.plane = plane_.data();
}

int32_t LevelQuery::half_of(const int8_t* plane) const {
    return simd().scan.half(model_.slots(), plane, model_.derived().levels_less_one.data());
}

/// What the plane left of the weighted components.
void LevelQuery::round_fine(float largest) {
    const float scale = 127.0f / largest;
    for (int s = 0; s < model_.slots(); s++) {
        const float left = weighted_[s] * scale - float(plane_[s]); // exact
        fine_[s] = int8_t(round_even(left * (1 / kFineUnit)));
    }
}

void LevelQuery::set_fine(float largest) {
    has_fine_ = model_.fine_queries && largest > kSmallestQuery;
    if (has_fine_) {
        round_fine(largest);
        fine_half_ = half_of(fine_.data());
    }
}

float LevelQuery::round(const float* y, const float* base, int j) {
    const float largest = simd().scan.quantize_query(model_.slots(), y, base, model_.steps_of(j),
                                                     weighted_.data(), plane_.data());
    half_ = half_of(plane_.data());
    set_fine(largest);
    return largest;
}

} // namespace faiss_vlc
