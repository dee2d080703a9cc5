#include <faiss_vlc/model/model.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

void Model::finish() {
    const std::vector<int> axis = layout.slot_axis();
    for (Frame& frame : frames) {
        frame.fine = fine_rotation;
        frame.arrange(axis);
    }
    if (layout.has_words()) {
        codebook.finish(layout);
    }
    derived_ = Derived(*this);
}

void Model::round_anchors() {
    float most = 0;
    std::vector<float> anchor(anchors16.size());
    for (size_t i = 0; i < anchor.size(); i++) {
        anchor[i] = half_to_float(anchors16[i]);
        most = std::max(most, std::fabs(anchor[i]));
    }
    rank_scale = 1;
    while (most > 0 && 2 * rank_scale * most <= 127) {
        rank_scale *= 2;
    }
    anchors8.assign(size_t(m) * dp(), 0);
    for (size_t i = 0; i < anchor.size(); i++) { // halves up, as training rounds anchors
        anchors8[i / d * dp() + i % d] = int8_t(std::floor(anchor[i] * rank_scale + 0.5f));
    }
}

void Model::bias_ranks(float bias) {
    rank_bias = bias;
    derived_.bias(*this);
}

void Model::set_regions(Regions made) {
    regions = std::move(made);
    derived_.set_regions(*this);
}

void Model::add_second(std::shared_ptr<const SecondTier> tier) {
    second = std::move(tier);
    derived_.set_start_norms(*this);
}

bool Model::same_as(const Model& other) const {
    const auto same_field = [](const Field& a, const Field& b) {
        return a.first == b.first && a.lanes == b.lanes && a.width == b.width &&
               a.shift == b.shift && a.row == b.row;
    };
    const auto same_axes = [](const Frame& a, const Frame& b) { return a.rows == b.rows; };
    return this == &other ||
           (d == other.d && m == other.m && metric == other.metric && grid == other.grid &&
            lattice.scale == other.lattice.scale && lattice.mean == other.lattice.mean &&
            anchors8 == other.anchors8 && anchors16 == other.anchors16 && spread == other.spread &&
            routing.same_as(other.routing) && group == other.group && sigma == other.sigma &&
            std::equal(frames.begin(), frames.end(), other.frames.begin(), other.frames.end(),
                       same_axes) &&
            layout.code_bytes == other.layout.code_bytes && layout.codec == other.layout.codec &&
            layout.factor_bytes == other.layout.factor_bytes &&
            layout.block_axis == other.layout.block_axis && whole_words == other.whole_words &&
            codebook.unit == other.codebook.unit && codebook.words == other.codebook.words &&
            std::equal(layout.fields.begin(), layout.fields.end(), other.layout.fields.begin(),
                       other.layout.fields.end(), same_field) &&
            std::equal(std::begin(estimator.gamma), std::end(estimator.gamma),
                       std::begin(other.estimator.gamma)) &&
            std::equal(std::begin(estimator.far), std::end(estimator.far),
                       std::begin(other.estimator.far)) &&
            estimator.usual_length == other.estimator.usual_length &&
            estimator.energy == other.estimator.energy && !second == !other.second &&
            (!second || second->same_as(*other.second)));
}

size_t Model::memory() const {
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    size_t axes = 0;
    for (const Frame& frame : frames) {
        axes += bytes(frame.rows) * 2; // and what rotation makes of them
    }
    return sizeof(*this) + bytes(lattice.mean) + bytes(anchors8) + bytes(anchors16) +
           bytes(spread) + axes + bytes(group) + bytes(sigma) + bytes(codebook.words) +
           bytes(codebook.norms) + bytes(record.energies) + routing.memory() + regions.memory() +
           derived_.memory() + (second ? second->memory() : 0);
}

float Model::anchor_distance(const float* q, int j) const {
    return derived_.anchor_lattice.empty()
                   ? simd().scan.anchor_distance(dp(), q, &anchors8[size_t(j) * dp()])
                   : canonical_l2(dp(), q, &derived_.anchor_lattice[size_t(j) * dp()]);
}

float Model::anchor_dot(const float* q, int j) const {
    if (!derived_.anchor_lattice.empty()) {
        return canonical_dot(dp(), q, &derived_.anchor_lattice[size_t(j) * dp()]);
    }
    const int8_t* a = &anchors8[size_t(j) * dp()];
    float lane[kLanes] = {};
    for (int k = 0; k < dp(); k += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            lane[i] += q[k + i] * float(a[k + i]);
        }
    }
    return add_lanes(lane);
}

void Model::anchor(int j, float* out) const {
    for (int k = 0; k < d; k++) {
        const float a = grid == AnchorGrid::int8 ? float(anchors8[size_t(j) * dp() + k])
                                                 : half_to_float(anchors16[size_t(j) * d + k]);
        out[k] = a / lattice.scale + lattice.mean[k];
    }
}

float Model::code_scale(int j, const uint8_t* code) const {
    return layout.factor_bytes > 0
                   ? Estimator::list_scale(spread[j]) * decode_length(factors_of(code))
                   : 1.0f;
}

float Model::first_square(const uint8_t* code, float energy) const {
    if (!layout.has_words()) {
        const float l = decode_length(factors_of(code));
        return l * l * energy;
    }
    int64_t norms = 0;
    for (int b = 0; b < layout.blocks(); b++) {
        norms += codebook.norms[size_t(b) * kWords + code[b]];
    }
    return float(norms) * codebook.unit * codebook.unit * energy;
}

SecondList Model::second_list(int j, const uint8_t* code) const {
    const float unit = estimator.length_unit(spread[j]);
    const float scale = layout.has_words() ? code_scale(j, code) : unit;
    return {first_square(code, scale * scale), derived_.start_norm[j]};
}

void Model::start_of(int j, float* out) const {
    const size_t first = size_t(j) * dp();
    for (int k = 0; k < d; k++) {
        out[k] = derived_.anchor_lattice.empty() ? float(anchors8[first + k])
                                                 : derived_.anchor_lattice[first + k];
    }
}

void Model::decode_residual(int j, const uint8_t* code, float* out) const {
    const float scale = code_scale(j, code);
    std::fill_n(out, slots(), 0.0f);
    if (layout.has_words()) {
        const float unit = codebook.unit * scale;
        for (int b = 0; b < layout.blocks(); b++) {
            for (int s = layout.block_slot[b]; s < layout.block_slot[b + 1]; s++) {
                out[s] = float(codebook.at(s, code[b])) * unit;
            }
        }
        return;
    }
    std::vector<uint8_t> level(slots(), 0);
    unpack_code(layout, code, level.data());
    const float* steps = steps_of(j);
    for (int s = 0; s < layout.slots(); s++) {
        out[s] = float(2 * level[s] - derived_.levels_less_one[s]) * (steps[s] * (0.5f * scale));
    }
}

void Model::decode(int j, const uint8_t* code, float* out) const {
    std::vector<float> residual(slots());
    decode_residual(j, code, residual.data());
    start_of(j, out);
    frame_of(j).rotate_back_add(residual.data(), out);
    if (second) {
        second->decode_add(code + layout.code_size(), out);
    }
    for (int k = 0; k < d; k++) {
        out[k] = out[k] / lattice.scale + lattice.mean[k];
    }
}

} // namespace faiss_vlc
