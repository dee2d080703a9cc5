#include <faiss_vlc/query/query.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

namespace {

/// Up to 64 bytes more do no harm.
inline void prefetch_bytes(const void* from, size_t bytes) {
    const char* at = static_cast<const char*>(from);
    const char* const end = at + bytes;
    for (; at < end; at += 128) {
        __builtin_prefetch(at);
        __builtin_prefetch(at + 64);
    }
}

} // namespace

Query::Query(const Model& model, AnchorRanking* ranking, WordTables* words)
    : model_(model), in_metric_(model), kernels_(simd().scan), slots_(model.slots()),
      steps_(model.estimator.steps(model.metric == faiss::METRIC_INNER_PRODUCT)),
      root_energy_(std::sqrt(model.estimator.energy)),
      is_usual_(model.metric == faiss::METRIC_L2 && !model.layout.has_words() &&
                model.derived().anchor_lattice.empty()),
      lattice_(model.dp()), scaled_(model.frames[0].scaled_size()),
      rotated_(new float[model.frames.size() * model.slots()]), rotation_(model.frames.size()),
      turned_(model.turns_to_refine() ? size_t(model.second->slots()) : 0),
      zero_(std::max(model.slots(), model.dp())), rounded_(model.dp()),
      own_ranking_(ranking ? nullptr : std::make_unique<AnchorRanking>(model)),
      ranking_(ranking ? *ranking : *own_ranking_), words_(words) {
    scan_.layout = &model.layout;
    scan_.inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    scan_.usual_length = model.estimator.usual_length;
    scan_.far = model.estimator.far;
    if (!model.layout.has_words()) {
        levels_ = std::make_unique<LevelQuery>(model);
    } else if (!words_) {
        own_words_ = std::make_unique<WordTables>(model);
        words_ = own_words_.get();
    }
}

/// Sets lattice_, rank_scale_ and whether it is off the lattice; false if a component is NaN or
/// infinite.
bool Query::set_lattice(const float* x) {
    const bool inner_product = model_.metric == faiss::METRIC_INNER_PRODUCT;
    const int d = model_.d;
    constexpr float kMost = std::numeric_limits<float>::max();
    const float with_mean = inner_product ? 0.0f : 1.0f;
    int finite = 1, within = 1;
    for (int k = 0; k < d; k++) {
        finite &= int(std::fabs(x[k]) <= kMost);
        lattice_[k] = (x[k] - with_mean * model_.lattice.mean[k]) * model_.lattice.scale;
        within &= int(std::fabs(lattice_[k]) <= 127.0f);
    }
    if (!finite) {
        return false;
    }
    rounded_.off = within || inner_product ? OffLattice() : OffLattice::of(d, lattice_.data());
    rank_scale_ = rounded_.off.is() ? rounded_.off.scale() : 1.0f;
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
    if (rounded_.off.is()) {
        rounded_.off.round(model_.d, lattice_.data(), rounded_.x.data(), rounded_.low.data());
        return;
    }
    simd().encode.quantize_row(model_.d, lattice_.data(), zero_.data(), rank_scale_,
                               rounded_.x.data());
    if (!model_.derived().ranks.reach.empty()) {
        int32_t square = 0;
        for (int k = 0; k < model_.d; k++) {
            square += rounded_.x[k] * rounded_.x[k];
        }
        rounded_.norm = std::sqrt(float(square));
    }
}

bool Query::set(const float* x) {
    if (!set_lattice(x)) {
        return false;
    }
    round_to_ranks();
    ranking_.forget(rounded_);
    unit_ = model_.frames[0].quantize(lattice_.data(), scaled_.data());
    std::fill(rotation_.begin(), rotation_.end(), Rotation::none);
    is_turned_ = false;
    frame_ = -1;
    tables_ = 0;
    ahead_ = ahead_end_ = nullptr;
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
    head.rank_shift = rounded_.off.shift;
    head.rank_far = rounded_.off.far;
    head.rotation_scale = by.scale;
    head.unit = by.unit;
    if (model_.metric == faiss::METRIC_INNER_PRODUCT) {
        set_product_terms();
        round_to_ranks();
        head.rank_norm = rounded_.norm;
        head.penalty = model_.estimator.product_penalty(norm_);
        head.norm = norm_;
        head.base = base_;
    }
    return head;
}

const std::vector<int64_t>& Query::rank(int nprobe, int width, bool sorted) {
    ranking_.nearest(rounded_, nprobe, width, order_, sorted);
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

void Query::turn_together(int count, Query* const* queries) {
    const int16_t* x[kTogether];
    float unit[kTogether];
    float* y[kTogether];
    for (int q = 0; q < count; q++) {
        x[q] = queries[q]->scaled_.data();
        unit[q] = queries[q]->unit_;
        y[q] = queries[q]->turned_.data();
        queries[q]->is_turned_ = true;
    }
    queries[0]->model_.second->frame.rotate_together(count, x, unit, y);
}

const float* Query::turned() {
    if (!is_turned_ && !turned_.empty()) {
        model_.second->frame.rotate(scaled_.data(), unit_, turned_.data());
        is_turned_ = true;
    }
    return turned_.data();
}

void Query::rotate(int frame) {
    model_.frames[frame].rotate(scaled_.data(), unit_, rotation(frame));
    rotation_[frame] = Rotation::done;
}

void Query::prefetch(const Model& model, int j) {
    const size_t dp = size_t(model.dp()), slots = size_t(model.slots());
    prefetch_bytes(model.anchors8.data() + size_t(j) * dp, dp);
    prefetch_bytes(model.derived().anchor_rotated.data() + size_t(j) * slots,
                   slots * sizeof(float));
}

void Query::prefetch(int j) const {
    prefetch_bytes(rotation(model_.group[j]), slots_ * sizeof(float));
    prefetch_bytes(lattice_.data(), lattice_.size() * sizeof(float));
}

inline void Query::take_planes() {
    scan_.query = reinterpret_cast<const uint32_t*>(levels_->plane());
    scan_.fine = reinterpret_cast<const uint32_t*>(levels_->fine());
    scan_.half = levels_->half();
    scan_.fine_half = levels_->fine_half();
}

/// The query's side of codes of levels in list j. Returns what, times list()'s unit, makes
/// dot2 of <q - a, r^> / l in a list of scale 1.
float Query::prepare_levels(const float* y, const float* base, int j) {
    const float largest = levels_->round(y, base, j);
    take_planes();
    return largest;
}

/// The same of words, for inner products.
float Query::prepare_words(const float* y, const float* base) {
    const WordTables::Residual residual{y, base, 0};
    words_->make(1, &residual);
    return take_words();
}

float Query::take_words() {
    scan_.tables = words_->tables();
    scan_.half = words_->half();
    return words_->dot_scale();
}

/// Makes the tables of list j and of those that come after it, if it is known which.
void Query::make_words_of(int j) {
    WordTables::Residual residuals[WordTables::kAhead];
    tables_ = 0;
    const auto add = [&](int list) {
        made_for_[tables_] = list;
        made_at_[tables_] = model_.anchor_distance(lattice_.data(), list);
        residuals[tables_] = {rotated(model_.group[list]),
                              &model_.derived().anchor_rotated[size_t(list) * slots_],
                              made_at_[tables_]};
        tables_++;
    };
    add(j);
    while (ahead_ < ahead_end_ && *ahead_++ != j) {
    }
    for (; ahead_ < ahead_end_ && tables_ < WordTables::kAhead; ahead_++) {
        if (*ahead_ >= 0) {
            add(int(*ahead_));
        }
    }
    words_->make(tables_, residuals);
    words_made_ = words_->made();
}

/// The same of words, for squared distances; sets scan_.list_distance, too.
float Query::prepare_words_of(int j) {
    int table = words_->made() == words_made_ ? 0 : tables_;
    while (table < tables_ && made_for_[table] != j) {
        table++;
    }
    if (table == tables_) {
        make_words_of(j);
        table = 0;
    }
    words_->use(table);
    scan_.list_distance = made_at_[table];
    return take_words();
}

/// What squared distances take besides the query's side; scan_.list_distance is set.
inline void Query::set_terms(float length, float dot_scale) {
    scan_.reach = std::sqrt(scan_.list_distance);
    scan_.length_unit = length;
    scan_.far_add = length * length;
    scan_.far_mul = 2.0f * dot_scale;
    kernels_.tables(steps_,
                    model_.estimator.scales(false, scan_.list_distance, 0, length, dot_scale),
                    scan_.add, scan_.mul);
}

/// list() of the usual kind: these are the floats that any_list() would compute.
const ListScan& Query::level_list(int j) {
    const float scale = Estimator::list_scale(model_.spread[j]);
    const ListTerms terms = levels_->round_at_anchor(lattice_.data(), rotated(model_.group[j]), j);
    take_planes();
    scan_.list_distance = terms.list_distance;
    set_terms(root_energy_ * scale, terms.largest * scale * (0.5f / 127.0f));
    return scan_;
}

const ListScan& Query::any_list(int j) {
    const Model& model = model_;
    const float spread = model.spread[j];
    const float scale = model.layout.factor_bytes > 0 ? Estimator::list_scale(spread) : 1.0f;
    const float length = model.estimator.length_unit(spread);
    const int frame = model.group[j];
    const float unit = words_ ? 1.0f : 0.5f / 127.0f; // in this order, as devices do
    if (scan_.inner_product) {
        if (frame != frame_ || (words_ && words_->made() != words_made_)) {
            dot_scale_ = words_ ? prepare_words(rotated(frame), zero_.data())
                                : prepare_levels(rotated(frame), zero_.data(), j);
            frame_ = frame;
            words_made_ = words_ ? words_->made() : -1;
        }
        scan_.list_distance = -model.anchor_dot(lattice_.data(), j);
        scan_.reach = scan_.list_distance;
        scan_.length_unit = norm_ * length;
        scan_.far_add = 0;
        scan_.far_mul = dot_scale_ * scale * unit;
        kernels_.tables(steps_, model.estimator.scales(true, 0, norm_, length, scan_.far_mul),
                        scan_.add, scan_.mul);
        return scan_;
    }
    if (words_) {
        set_terms(length, prepare_words_of(j) * scale * unit);
        return scan_;
    }
    scan_.list_distance = model.anchor_distance(lattice_.data(), j);
    const float* base = &model.derived().anchor_rotated[size_t(j) * slots_];
    set_terms(length, prepare_levels(rotated(frame), base, j) * scale * unit);
    return scan_;
}

void Query::prepare(Refinement& by, int j) {
    if (!by.has_query()) {
        by.set_query(lattice_.data(), turned());
    }
    if (by.has_list(j)) {
        return;
    }
    const int frame = model_.group[j];
    if (!by.has_frame(frame)) {
        by.set_frame(frame, rotated(frame));
    }
    by.set_list(j, scan_.inner_product ? -model_.anchor_dot(lattice_.data(), j)
                                       : model_.anchor_distance(lattice_.data(), j));
}

float Query::slack_unit(float estimate) const {
    const float energy = model_.estimator.energy;
    return scan_.inner_product ? norm_ * std::sqrt(energy)
                               : std::sqrt(std::max(0.0f, estimate) * energy) + energy;
}

float Query::widened(float bound) const {
    const float slack = model_.second->range_slack;
    return slack > 0 ? bound + slack * slack_unit(bound) : bound; // the unit may be infinite
}

float Query::estimate(float distance) const {
    const double scaled = distance * (double(model_.lattice.scale) * model_.lattice.scale);
    return float(model_.metric == faiss::METRIC_INNER_PRODUCT ? base_ - scaled : scaled);
}

} // namespace faiss_vlc
