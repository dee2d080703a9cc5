#include <faiss_vlc/query/refinement.h>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

Refinement::Refinement(const Model& model)
    : model_(model), tier_(*model.second), turned_(size_t(tier_.slots())),
      residual_(size_t(model.slots())), second_(tier_.packed, tier_.slots(), tier_.most.data()) {
    if (!model.layout.has_words()) {
        levels_ = std::make_unique<LevelWeights>(model.derived().packed, model.slots(),
                                                 model.derived().levels_less_one.data());
    }
}

void Refinement::set_query(const int16_t* scaled, float unit) {
    tier_.frame.rotate(scaled, unit, turned_.data());
    second_.set(turned_.data(), tier_.step.data());
    is_set_ = true;
    list_ = -1;
}

void Refinement::set_list(int j, const float* y, const float* base, float list_distance) {
    for (size_t s = 0; s < residual_.size(); s++) {
        residual_[s] = y[s] - base[s];
    }
    if (levels_) {
        levels_->set(residual_.data(), model_.steps_of(j));
    }
    list_ = j;
    list_distance_ = list_distance;
}

/// <q - a, r1> or <q, r1>.
float Refinement::first_dot(const uint8_t* code) const {
    const float scale = model_.code_scale(list_, code);
    if (levels_) {
        return scale * levels_->dot(code);
    }
    const Layout& layout = model_.layout;
    float lane[kLanes] = {};
    for (int b = 0; b < layout.blocks(); b++) {
        for (int s = layout.block_slot[b]; s < layout.block_slot[b + 1]; s++) {
            lane[s % kLanes] += float(model_.codebook.at(s, code[b])) * residual_[size_t(s)];
        }
    }
    return scale * model_.codebook.unit * add_lanes(lane);
}

float Refinement::estimate(const uint8_t* first, const uint8_t* second) const {
    const SecondFactors factors = tier_.factors(second);
    float dot = first_dot(first);
    if (factors.scale > 0) {
        dot += factors.scale * second_.dot(second);
    }
    const float product = (1.0f + factors.alpha) * dot;
    if (tier_.inner_product()) {
        return list_distance_ - product;
    }
    return list_distance_ - 2.0f * product + tier_.own(model_.second_list(list_, first), factors);
}

} // namespace faiss_vlc
