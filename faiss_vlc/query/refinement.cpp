#include <faiss_vlc/query/refinement.h>

#include <algorithm>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

Refinement::Refinement(const Model& model)
    : model_(model), tier_(*model.second), y_(model.frames.size()),
      second_(tier_.packed, tier_.slots(), tier_.most.data()),
      first_(model.layout.has_words() ? 0 : model.frames.size()), is_ready_(model.frames.size()) {
    if (tier_.by_decoding()) {
        decoded_.resize(size_t(model.d));
        residual_.resize(size_t(model.slots()));
    }
}

void Refinement::forget() {
    has_query_ = false;
    list_ = -1;
    std::fill(is_ready_.begin(), is_ready_.end(), false);
}

void Refinement::set_query(const float* lattice, const float* turned) {
    has_query_ = true;
    lattice_ = lattice;
    if (!tier_.by_decoding()) {
        second_.set(turned, tier_.step.data());
    }
}

void Refinement::set_frame(int frame, const float* y) {
    const auto at = size_t(frame);
    y_[at] = y;
    if (!first_.empty() && !tier_.by_decoding()) {
        if (!first_[at]) {
            first_[at] = std::make_unique<LevelWeights>(model_.derived().packed, model_.slots(),
                                                        model_.derived().levels_less_one.data());
        }
        first_[at]->set(y, &model_.derived().step[at * size_t(model_.slots())]);
    }
    is_ready_[at] = true;
}

void Refinement::set_list(int j, float list_distance) {
    const float unit = model_.estimator.length_unit(model_.spread[size_t(j)]);
    energy_ = unit * unit;
    scale_ = Estimator::list_scale(model_.spread[size_t(j)]);
    start_ = model_.derived().start_norm[size_t(j)];
    list_distance_ = list_distance;
    list_ = j;
    const size_t frame = model_.group[size_t(j)];
    in_frame_ = y_[frame];
    levels_ = first_.empty() ? nullptr : first_[frame].get();
}

float Refinement::by_decoding(const uint8_t* first, const uint8_t* second) const {
    const int d = model_.d;
    model_.start_of(list_, decoded_.data());
    model_.decode_residual(list_, first, residual_.data());
    model_.frame_of(list_).rotate_back_add(residual_.data(), decoded_.data());
    tier_.decode_add(second, decoded_.data());
    return model_.metric == faiss::METRIC_INNER_PRODUCT
                   ? -canonical_dot(d, lattice_, decoded_.data())
                   : canonical_l2(d, lattice_, decoded_.data());
}

/// first_dot: <q, r1>; square: SecondList's.
float Refinement::by_dot(float first_dot, float square, const uint8_t* second) const {
    const SecondFactors factors = tier_.factors(second);
    float dot = first_dot;
    if (factors.scale > 0) {
        dot += factors.scale * second_.dot(second);
    }
    const float product = (1.0f + factors.alpha) * dot;
    return tier_.inner_product()
                   ? list_distance_ - product
                   : list_distance_ - 2.0f * product + tier_.own({square, start_}, factors);
}

/// As Model::code_scale and first_square have it, whose length is needed once.
float Refinement::by_levels(const uint8_t* first, const uint8_t* second) const {
    const float l = decode_length(model_.factors_of(first));
    return by_dot(scale_ * l * levels_->dot(first), l * l * energy_, second);
}

float Refinement::by_words(const uint8_t* first, const uint8_t* second) const {
    const Layout& layout = model_.layout;
    float lane[kLanes] = {};
    for (int b = 0; b < layout.blocks(); b++) {
        for (int s = layout.block_slot[b]; s < layout.block_slot[b + 1]; s++) {
            lane[s % kLanes] += float(model_.codebook.at(s, first[b])) * in_frame_[s];
        }
    }
    const float scale = model_.code_scale(list_, first);
    return by_dot(scale * model_.codebook.unit * add_lanes(lane),
                  model_.first_square(first, scale * scale), second);
}

} // namespace faiss_vlc
