#include <faiss_vlc/train/reference_engine.h>

#include <algorithm>

#include <faiss_vlc/train/stages/assign.h>
#include <faiss_vlc/train/stages/covariance.h>
#include <faiss_vlc/train/stages/maintain.h>
#include <faiss_vlc/train/stages/near.h>
#include <faiss_vlc/train/stages/reduce.h>
#include <faiss_vlc/train/stages/update.h>

namespace faiss_vlc {

void ReferenceEngine::begin(const Shape& shape, const SampleView& sample) {
    shape_ = shape;
    const size_t m = shape.m;
    const size_t n = shape.n;
    sample_.resize(n * shape.dp);
    for (int64_t i = 0; i < shape.n; i += kRowBlock) {
        const int64_t rows = std::min(kRowBlock, shape.n - i);
        std::copy_n(sample.row(i, shape.dp), rows * shape.dp, &sample_[i * shape.dp]);
    }
    anchor_.assign(m * shape.dp, 0);
    anchor8_.assign(m * shape.dp, 0);
    norm_.assign(m, 0);
    bias_.assign(m, 0);
    spread_.assign(m, 0);
    count_.assign(m, 0);
    weight_.assign(m, 0);
    energy_.assign(m, 0);
    sum_.assign(m * shape.dp, 0);
    label_.assign(n * shape.neighbours, -1);
    dist_.assign(n * shape.neighbours, 0);
    previous_.assign(n, -1);
}

AnchorSums ReferenceEngine::sums() {
    return {weight_.data(), sum_.data(), count_.data(), energy_.data()};
}

AnchorArrays ReferenceEngine::anchors() {
    return {anchor_.data(), anchor8_.data(), norm_.data(), spread_.data(), bias_.data()};
}

void ReferenceEngine::set_anchors(const int32_t* anchors) {
    anchor_.assign(anchors, anchors + anchor_.size());
    refresh_anchors(0, shape_.m, shape_.dp, anchor_.data(), anchor8_.data(), norm_.data());
}

void ReferenceEngine::set_bias(const int32_t* bias) {
    bias_.assign(bias, bias + shape_.m);
}

void ReferenceEngine::set_labels(const int32_t* nearest) {
    previous_.assign(nearest, nearest + shape_.n);
}

void ReferenceEngine::list_near(int length) {
    list_length_ = length;
    list_.resize(size_t(shape_.m) * near_stride(length));
    near_lists(shape_.m, shape_.dp, length, anchor8_.data(), norm_.data(), list_.data());
}

AssignSummary ReferenceEngine::assign(int64_t rows, int64_t known) {
    rows = std::min(rows, shape_.n);
    const int K = shape_.neighbours;
    const AnchorView anchors = {shape_.m, shape_.dp, anchor8_.data(), norm_.data(), bias_.data()};
    if (known > 0) {
        assign_near_rows(known, sample_.data(), anchors,
                         {list_length_, list_.data(), previous_.data()},
                         {K, label_.data(), dist_.data()});
    }
    assign_rows(rows - known, sample_.data() + known * shape_.dp, anchors,
                {K, label_.data() + known * K, dist_.data() + known * K});
    return summarize_assign(shape_, rows, label_.data(), dist_.data(), previous_.data());
}

void ReferenceEngine::reduce(const ReduceParams& params) {
    Shape part = shape_;
    part.n_train = std::min(params.rows, shape_.n_train);
    reduce_rows(part, sample_.data(), label_.data(), dist_.data(), bias_.data(), params, sums());
}

void ReferenceEngine::update(const UpdateParams& params) {
    update_anchors(shape_, params, sums(), anchors());
}

void ReferenceEngine::nearest(int32_t* label, int32_t* dist) {
    nearest_anchors(shape_.m, shape_.dp, anchor8_.data(), norm_.data(), label, dist);
}

void ReferenceEngine::apply(const Move* moves, int count) {
    apply_moves(shape_, moves, count, count_.data(), anchors());
    for (int i = 0; i < count; i++) {
        if (moves[i].kind == Move::merge) {
            std::replace(previous_.begin(), previous_.end(), moves[i].src, moves[i].dst);
            for (int64_t row = 0; row < shape_.n; row++) {
                int32_t& label = label_[row * shape_.neighbours];
                label = label == moves[i].src ? moves[i].dst : label;
            }
        }
    }
}

void ReferenceEngine::quantize(AnchorGrid grid) {
    quantize_anchors(shape_, grid, anchor_.data(), anchor8_.data(), norm_.data(), spread_.data());
}

void ReferenceEngine::covariance(const int32_t* rows, int64_t count, int64_t* sums) {
    residual_covariance(shape_, sample_.data(), anchor8_.data(), label_.data(), rows, count, sums);
}

void ReferenceEngine::get_counts(int32_t* counts) {
    std::copy(count_.begin(), count_.end(), counts);
}

void ReferenceEngine::get_energies(int64_t* energies) {
    std::copy(energy_.begin(), energy_.end(), energies);
}

void ReferenceEngine::get_weights(int64_t* weights) {
    std::copy(weight_.begin(), weight_.end(), weights);
}

void ReferenceEngine::get_sums(int64_t* sums) {
    sums = std::copy(weight_.begin(), weight_.end(), sums);
    sums = std::copy(energy_.begin(), energy_.end(), sums);
    sums = std::copy(count_.begin(), count_.end(), sums);
    std::copy(sum_.begin(), sum_.end(), sums);
}

void ReferenceEngine::set_sums(const int64_t* sums) {
    const int m = shape_.m;
    std::copy_n(sums, m, weight_.begin());
    std::copy_n(sums + m, m, energy_.begin());
    std::copy_n(sums + 2 * m, m, count_.begin());
    std::copy_n(sums + 3 * m, sum_.size(), sum_.begin());
}

void ReferenceEngine::get_anchors(int32_t* anchors) {
    std::copy(anchor_.begin(), anchor_.end(), anchors);
}

void ReferenceEngine::get_spreads(int32_t* spreads) {
    std::copy(spread_.begin(), spread_.end(), spreads);
}

void ReferenceEngine::get_bias(int32_t* bias) {
    std::copy(bias_.begin(), bias_.end(), bias);
}

void ReferenceEngine::get_labels(int32_t* nearest) {
    for (int64_t i = 0; i < shape_.n; i++) {
        nearest[i] = label_[i * shape_.neighbours];
    }
}

void ReferenceEngine::get_distances(int32_t* distances, int64_t rows) {
    for (int64_t i = 0; i < std::min(rows, shape_.n); i++) {
        distances[i] = dist_[i * shape_.neighbours];
    }
}

} // namespace faiss_vlc
