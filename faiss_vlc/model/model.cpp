#include <faiss_vlc/model/model.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>

namespace faiss_vlc {

void Model::finish() {
    const int pad = dp();
    anchor_norm.assign((m + 15) / 16 * 16, INT32_MAX); // what pads the last tile comes last
    component_sum.assign((m + 15) / 16 * 16, 0);
    ranked.assign(component_sum.size() * pad, 0);
    for (int j = 0; j < m; j++) {
        const int8_t* a = &anchors8[size_t(j) * pad];
        anchor_norm[j] = 0;
        for (int k = 0; k < pad; k++) {
            anchor_norm[j] += a[k] * a[k];
            component_sum[j] += a[k];
            ranked[(size_t(j / 16) * (pad / 4) + k / 4) * 64 + j % 16 * 4 + k % 4] = a[k];
        }
    }
    bias_ranks(rank_bias);
    anchor_lattice.clear();
    if (grid == AnchorGrid::float16) {
        anchor_lattice.assign(size_t(m) * pad, 0);
        for (int j = 0; j < m; j++) {
            for (int k = 0; k < d; k++) {
                anchor_lattice[size_t(j) * pad + k] = half_to_float(anchors16[size_t(j) * d + k]);
            }
        }
    }

    const std::vector<int> axis = layout.slot_axis();
    for (Frame& frame : frames) {
        frame.arrange(axis);
    }
    const int n = slots();
    const int kept = frames[0].kept;
    step.assign(frames.size() * n, 0);
    inverse_step.assign(frames.size() * n, 0);
    levels_less_one.assign(n, 0);
    for (int s = 0; s < layout.slots(); s++) {
        const int width = layout.fields[s / 4].width;
        if (axis[s] < 0 || axis[s] >= kept) {
            continue;
        }
        levels_less_one[s] = int16_t((1 << width) - 1);
        for (size_t g = 0; g < frames.size(); g++) {
            const float width_step = sigma[g * kept + axis[s]] * float(kUniformStep[width]);
            step[g * n + s] = width_step;
            inverse_step[g * n + s] = width_step > 0 ? 1.0f / width_step : 0.0f;
        }
    }
    anchor_rotated.resize(size_t(m) * n);
    Rescue rescue;
#pragma omp parallel for if (m > 100)
    for (int j = 0; j < m; j++) {
        rescue.run([&] {
            std::vector<float> a(d);
            for (int k = 0; k < d; k++) {
                a[k] = grid == AnchorGrid::int8 ? float(anchors8[size_t(j) * pad + k])
                                                : anchor_lattice[size_t(j) * pad + k];
            }
            frame_of(j).rotate(a.data(), &anchor_rotated[size_t(j) * n]);
        });
    }
    rescue.rethrow();
}

void Model::nearest(int rows, const int8_t* x, int32_t* label) const {
    const AnchorTiles anchors{int(anchor_norm.size()) / 16, dp() / 4, ranked.data(),
                              component_sum.data(), anchor_norm.data()};
    simd().nearest.rows(anchors, rows, x, label);
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
            group == other.group && sigma == other.sigma &&
            std::equal(frames.begin(), frames.end(), other.frames.begin(), other.frames.end(),
                       same_axes) &&
            layout.code_bytes == other.layout.code_bytes &&
            std::equal(layout.fields.begin(), layout.fields.end(), other.layout.fields.begin(),
                       other.layout.fields.end(), same_field) &&
            estimator.gamma_low == other.estimator.gamma_low &&
            estimator.gamma_step == other.estimator.gamma_step &&
            estimator.energy == other.estimator.energy);
}

size_t Model::memory() const {
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    size_t axes = 0;
    for (const Frame& frame : frames) {
        axes += bytes(frame.rows) * 2; // and what rotation makes of them
    }
    return sizeof(*this) + bytes(lattice.mean) + bytes(anchors8) + bytes(anchors16) +
           bytes(spread) + axes + bytes(group) + bytes(sigma) + bytes(anchor_norm) +
           bytes(component_sum) + bytes(ranked) + bytes(rank_offset) + bytes(reach) +
           bytes(anchor_lattice) + bytes(anchor_rotated) + bytes(step) + bytes(inverse_step) +
           bytes(levels_less_one);
}

void Model::bias_ranks(float bias) {
    constexpr float kMost = 1e5f; // scores stay within int32 whatever a file says
    rank_bias = bias;
    rank_offset = anchor_norm;
    reach.clear();
    if (metric == faiss::METRIC_INNER_PRODUCT) {
        std::fill_n(rank_offset.begin(), m, 0);
        if (bias != 0) {
            reach.assign(rank_offset.size(), 0);
            for (int j = 0; j < m; j++) {
                reach[j] = std::min(kMost, bias * std::sqrt(estimator.energy) * spread[j]);
            }
        }
        return;
    }
    for (int j = 0; j < m; j++) {
        const float added = bias * estimator.energy * (spread[j] * spread[j]);
        rank_offset[j] += int32_t(std::min(kMost * kMost * 0.1f, added) + 0.5f);
    }
}

namespace {

void prefetch_bytes(const void* from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64) {
        __builtin_prefetch(static_cast<const char*>(from) + at);
    }
}

} // namespace

void Model::prefetch(int j) const {
    prefetch_bytes(&anchors8[size_t(j) * dp()], size_t(dp()));
    prefetch_bytes(&anchor_rotated[size_t(j) * slots()], slots() * sizeof(float));
}

float Model::anchor_distance(const float* q, int j) const {
    return grid == AnchorGrid::int8 ? simd().scan.anchor_distance(dp(), q, &anchors8[size_t(j) * dp()])
                                    : canonical_l2(dp(), q, &anchor_lattice[size_t(j) * dp()]);
}

float Model::anchor_dot(const float* q, int j) const {
    if (grid == AnchorGrid::float16) {
        return canonical_dot(dp(), q, &anchor_lattice[size_t(j) * dp()]);
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
                                                 : anchor_lattice[size_t(j) * dp() + k];
        out[k] = a / lattice.scale + lattice.mean[k];
    }
}

void Model::decode(int j, const uint8_t* code, float* out) const {
    std::vector<uint8_t> level(slots(), 0);
    std::vector<float> residual(slots(), 0);
    unpack_code(layout, code, level.data());
    const float unit = 0.5f * spread[j];
    const float* steps = steps_of(j);
    for (int s = 0; s < layout.slots(); s++) {
        residual[s] = float(2 * level[s] - levels_less_one[s]) * (steps[s] * unit);
    }
    const int pad = dp();
    for (int k = 0; k < d; k++) {
        out[k] = grid == AnchorGrid::int8 ? float(anchors8[size_t(j) * pad + k])
                                          : anchor_lattice[size_t(j) * pad + k];
    }
    frame_of(j).rotate_back_add(residual.data(), out);
    for (int k = 0; k < d; k++) {
        out[k] = out[k] / lattice.scale + lattice.mean[k];
    }
}

RankScratch::RankScratch(const Model& model) : score(model.component_sum.size()) {
    minima.reserve(score.size());
    found.resize(score.size());
}

Query::Query(const Model& model, RankScratch* scratch)
    : model_(model), in_metric_(model),
      steps_(model.estimator.steps(model.metric == faiss::METRIC_INNER_PRODUCT)),
      lattice_(model.dp()), scaled_(model.d + model.d % 2),
      rotated_(new float[model.frames.size() * model.slots()]), rotation_(model.frames.size()),
      weighted_(model.slots()), zero_(model.slots()), rank8_(model.dp()),
      query8_(model.slots() + 4),
      own_scratch_(scratch ? nullptr : std::make_unique<RankScratch>(model)),
      scratch_(scratch ? *scratch : *own_scratch_) {
    scan_.layout = &model.layout;
}

int32_t Query::half_of(const int8_t* q8) const {
    int32_t half = 0;
    for (int s = 0; s < model_.slots(); s++) {
        half += q8[s] * model_.levels_less_one[s];
    }
    return half;
}

/// Sets lattice_ and rank_scale_; false if a component is NaN or infinite.
bool Query::set_lattice(const float* x) {
    const bool inner_product = model_.metric == faiss::METRIC_INNER_PRODUCT;
    const int d = model_.d;
    constexpr float kMost = std::numeric_limits<float>::max();
    const float with_mean = inner_product ? 0.0f : 1.0f;
    int finite = 1;
    for (int k = 0; k < d; k++) {
        finite &= int(std::fabs(x[k]) <= kMost);
        lattice_[k] = (x[k] - with_mean * model_.lattice.mean[k]) * model_.lattice.scale;
    }
    if (!finite) {
        return false;
    }
    rank_scale_ = 1;
    if (inner_product) {
        float largest = 0;
        for (int k = 0; k < d; k++) {
            largest = std::max(largest, std::fabs(lattice_[k]));
        }
        rank_scale_ = largest > kSmallestQuery ? 127.0f / largest : 0.0f;
    }
    return true;
}

void Query::set_product_terms() {
    const int d = model_.d;
    norm_ = std::sqrt(canonical_dot(d, lattice_.data(), lattice_.data()));
    float lane[kLanes] = {};
    for (int k = 0; k < d; k++) {
        lane[k % kLanes] += lattice_[k] * (model_.lattice.mean[k] * model_.lattice.scale);
    }
    base_ = add_lanes(lane);
}

void Query::round_to_ranks() {
    for (int k = 0; k < model_.d; k++) {
        const float v = std::min(127.0f, std::max(-127.0f, lattice_[k] * rank_scale_));
        rank8_[k] = int8_t(round_even(v));
    }
    if (!model_.reach.empty()) {
        int32_t square = 0;
        for (int k = 0; k < model_.d; k++) {
            square += rank8_[k] * rank8_[k];
        }
        rank_norm_ = std::sqrt(float(square));
    }
}

bool Query::set(const float* x) {
    const int d = model_.d;
    if (!set_lattice(x)) {
        return false;
    }
    round_to_ranks();
    if (scratch_.scored == this) {
        scratch_.scored = nullptr;
    }
    unit_ = Frame::quantize(d, lattice_.data(), scaled_.data());
    std::fill(rotation_.begin(), rotation_.end(), Rotation::none);
    frame_ = -1;
    if (model_.metric == faiss::METRIC_INNER_PRODUCT) {
        set_product_terms();
    }
    return true;
}

QueryHead Query::head(const float* x) {
    constexpr float kLargestUnit = 1e13f; // squares and sums of such queries stay finite
    QueryHead head;
    if (!set_lattice(x)) {
        head.kind = QueryHead::kUnusable;
        return head;
    }
    const Frame::Scaling by = Frame::scaling(model_.d, lattice_.data());
    if (!(by.unit < kLargestUnit)) {
        head.kind = QueryHead::kExtreme;
        return head;
    }
    head.rank_scale = rank_scale_;
    head.rotation_scale = by.scale;
    head.unit = by.unit;
    if (model_.metric == faiss::METRIC_INNER_PRODUCT) {
        set_product_terms();
        round_to_ranks();
        head.rank_norm = rank_norm_;
        head.penalty = model_.estimator.product_penalty(norm_);
        head.base = base_;
    }
    return head;
}

namespace {

/// Of a dot product in an anchor's score: |q - a|^2 less |q|^2, or -<q, a>.
int32_t rank_factor(const Model& model) {
    return model.metric == faiss::METRIC_INNER_PRODUCT ? -1 : -2;
}

AnchorTiles rank_tiles(const Model& model) {
    return {int(model.component_sum.size()) / 16, model.dp() / 4, model.ranked.data(),
            model.component_sum.data(), model.rank_offset.data()};
}

} // namespace

void Query::score_together(const std::unique_ptr<Query>* queries) {
    const Model& model = queries[0]->model_;
    const int8_t* x[kTogether];
    int32_t* scores[kTogether];
    for (int q = 0; q < kTogether; q++) {
        x[q] = queries[q]->rank8_.data();
        scores[q] = queries[q]->scratch_.score.data();
        queries[q]->scratch_.scored = queries[q].get();
    }
    simd().rank.together(rank_tiles(model), x, rank_factor(model), scores);
    for (int q = 0; q < kTogether; q++) {
        queries[q]->add_reach();
    }
}

void Query::score() {
    std::vector<int32_t>& score = scratch_.score;
    simd().rank.tiles(rank_tiles(model_), rank8_.data(), rank_factor(model_), score.data());
    scratch_.scored = this;
    add_reach();
}

/// For inner products: what wide lists gain over their anchor.
void Query::add_reach() {
    for (size_t j = 0; j < model_.reach.size(); j++) {
        scratch_.score[j] -= int32_t(rank_norm_ * model_.reach[j] + 0.5f);
    }
}

const std::vector<int64_t>& Query::rank(int nprobe) {
    const int m = model_.m;
    const std::vector<int32_t>& scores = scratch_.score;
    std::vector<int32_t>& minima = scratch_.minima;
    std::vector<uint64_t>& found = scratch_.found;
    const int padded = int(scores.size());
    nprobe = std::min(nprobe, m);
    if (scratch_.scored != this) {
        score();
    }

    // The nprobe-th smallest minimum of groups bounds the nprobe-th smallest score: what lies
    // within it is little more than what is wanted. Group g is the scores g modulo the number of
    // groups.
    int32_t bound = INT32_MAX;
    int groups = 64;
    while (groups < 4 * nprobe) {
        groups *= 2;
    }
    if (groups * 2 <= padded) {
        minima.resize(groups);
        simd().rank.group_minima(padded, scores.data(), groups, minima.data());
        std::nth_element(minima.begin(), minima.begin() + nprobe - 1, minima.end());
        bound = minima[nprobe - 1];
    }
    const int count = simd().rank.select_within(padded, scores.data(), bound, found.data());
    std::partial_sort(found.begin(), found.begin() + nprobe, found.begin() + count);
    order_.resize(nprobe);
    for (int i = 0; i < nprobe; i++) {
        order_[i] = int64_t(uint32_t(found[i]));
    }
    return order_;
}

void Query::want(int j) {
    Rotation& rotation = rotation_[model_.group[j]];
    if (rotation == Rotation::none) {
        rotation = Rotation::wanted;
    }
}

void Query::rotate_together(int count, Query* const* queries, int frame) {
    const Model& model = queries[0]->model_;
    const int16_t* x[kTogether];
    float unit[kTogether];
    float* y[kTogether];
    for (int q = 0; q < count; q++) {
        x[q] = queries[q]->scaled_.data();
        unit[q] = queries[q]->unit_;
        y[q] = queries[q]->rotation(frame);
        queries[q]->rotation_[frame] = Rotation::done;
    }
    model.frames[frame].rotate_together(count, x, unit, y);
}

const float* Query::rotated(int frame) {
    float* y = rotation(frame);
    if (rotation_[frame] != Rotation::done) {
        model_.frames[frame].rotate(scaled_.data(), unit_, y);
        rotation_[frame] = Rotation::done;
    }
    return y;
}

void Query::prefetch(int j) const {
    prefetch_bytes(rotation(model_.group[j]), model_.slots() * sizeof(float));
    prefetch_bytes(lattice_.data(), lattice_.size() * sizeof(float));
}

const ListScan& Query::list(int j) {
    const Model& model = model_;
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const float spread = model.spread[j];
    const int frame = model.group[j];
    scan_.query = reinterpret_cast<const uint32_t*>(query8_.data());
    if (inner_product) {
        if (frame != frame_) {
            largest_ = simd().scan.quantize_query(model.slots(), rotated(frame), zero_.data(),
                                             model.steps_of(j), weighted_.data(), query8_.data());
            scan_.half = half_of(query8_.data());
            frame_ = frame;
        }
        scan_.list_distance = -model.anchor_dot(lattice_.data(), j);
        model.estimator.tables(steps_, 0, norm_, spread, largest_ * spread * (0.5f / 127.0f),
                               scan_.add, scan_.mul);
        return scan_;
    }
    scan_.list_distance = model.anchor_distance(lattice_.data(), j);
    const float largest = simd().scan.quantize_query(
            model.slots(), rotated(frame), &model.anchor_rotated[size_t(j) * model.slots()],
            model.steps_of(j), weighted_.data(), query8_.data());
    scan_.half = half_of(query8_.data());
    model.estimator.tables(steps_, scan_.list_distance, 0, spread,
                           largest * spread * (0.5f / 127.0f), scan_.add, scan_.mul);
    return scan_;
}

float Query::estimate(float distance) const {
    const double scaled = distance * (double(model_.lattice.scale) * model_.lattice.scale);
    return float(model_.metric == faiss::METRIC_INNER_PRODUCT ? base_ - scaled : scaled);
}

} // namespace faiss_vlc
