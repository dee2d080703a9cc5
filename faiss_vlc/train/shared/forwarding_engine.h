#pragma once

#include <string>

#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// An Engine that leaves everything to another one, which has to live on: for those that change a
/// few steps only.
class ForwardingEngine : public Engine {
public:
    explicit ForwardingEngine(Engine& to) : to_(to) {}

    std::string name() const override { return to_.name(); }
    void begin(const Shape& shape, const SampleView& sample) override { to_.begin(shape, sample); }
    void set_anchors(const int32_t* anchors) override { to_.set_anchors(anchors); }
    void set_bias(const int32_t* bias) override { to_.set_bias(bias); }
    void set_labels(const int32_t* nearest) override { to_.set_labels(nearest); }
    void list_near(int length) override { to_.list_near(length); }
    AssignSummary assign(int64_t rows = kAllRows, int64_t known = 0) override {
        return to_.assign(rows, known);
    }
    void reduce(const ReduceParams& params) override { to_.reduce(params); }
    void update(const UpdateParams& params) override { to_.update(params); }
    void nearest(int32_t* label, int32_t* dist) override { to_.nearest(label, dist); }
    void apply(const Move* moves, int count) override { to_.apply(moves, count); }
    void quantize(AnchorGrid grid) override { to_.quantize(grid); }
    void covariance(const int32_t* rows, int64_t count, int64_t* sums) override {
        to_.covariance(rows, count, sums);
    }
    void get_counts(int32_t* counts) override { to_.get_counts(counts); }
    void get_energies(int64_t* energies) override { to_.get_energies(energies); }
    void get_weights(int64_t* weights) override { to_.get_weights(weights); }
    void get_sums(int64_t* sums) override { to_.get_sums(sums); }
    void set_sums(const int64_t* sums) override { to_.set_sums(sums); }
    void get_anchors(int32_t* anchors) override { to_.get_anchors(anchors); }
    void get_spreads(int32_t* spreads) override { to_.get_spreads(spreads); }
    void get_bias(int32_t* bias) override { to_.get_bias(bias); }
    void get_labels(int32_t* nearest) override { to_.get_labels(nearest); }
    void get_distances(int32_t* distances, int64_t rows = kAllRows) override {
        to_.get_distances(distances, rows);
    }

private:
    Engine& to_;
};

} // namespace faiss_vlc
