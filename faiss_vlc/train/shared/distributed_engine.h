#pragma once

#include <vector>

#include <faiss_vlc/ranks.h>
#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// One of several processes' engines, which together are one Engine with the whole sample: begin()
/// takes only the rows that this process holds (own_share), everything else is as if all were
/// here. Sums are added up over the processes; they are integers, so that all have the same
/// anchors, bit by bit, and each moves, merges and splits them for itself.
class DistributedEngine final : public Engine {
public:
    DistributedEngine(Engine& own, const Ranks& processes)
        : own_(own), processes_(processes), share_(own_share(processes)) {}

    std::string name() const override { return own_.name(); }
    void begin(const Shape& shape, const SampleView& own_rows) override;
    void set_anchors(const int32_t* anchors) override { own_.set_anchors(anchors); }
    void set_bias(const int32_t* bias) override { own_.set_bias(bias); }
    void set_labels(const int32_t* nearest) override;
    void list_near(int length) override { own_.list_near(length); }
    AssignSummary assign(int64_t rows = kAllRows, int64_t known = 0) override;
    void reduce(const ReduceParams& params) override;
    void update(const UpdateParams& params) override { own_.update(params); }
    void nearest(int32_t* label, int32_t* dist) override { own_.nearest(label, dist); }
    void apply(const Move* moves, int count) override { own_.apply(moves, count); }
    void quantize(AnchorGrid grid) override { own_.quantize(grid); }
    void covariance(const int32_t* rows, int64_t count, int64_t* sums) override;
    void get_counts(int32_t* counts) override { own_.get_counts(counts); }
    void get_energies(int64_t* energies) override { own_.get_energies(energies); }
    void get_weights(int64_t* weights) override { own_.get_weights(weights); }
    void get_sums(int64_t* sums) override { own_.get_sums(sums); }
    void set_sums(const int64_t* sums) override { own_.set_sums(sums); }
    void get_anchors(int32_t* anchors) override { own_.get_anchors(anchors); }
    void get_spreads(int32_t* spreads) override { own_.get_spreads(spreads); }
    void get_bias(int32_t* bias) override { own_.get_bias(bias); }
    void get_labels(int32_t* nearest) override;
    void get_distances(int32_t* distances, int64_t rows = kAllRows) override;
    void begin_blocks(int m, int d, const int8_t* anchors8, int64_t max_block) override {
        own_.begin_blocks(m, d, anchors8, max_block);
    }
    void assign_block(int64_t n, const int8_t* x, int32_t* labels) override {
        own_.assign_block(n, x, labels);
    }

private:
    void spread_out(int64_t rows, const int32_t* own, int32_t* all) const;

    Engine& own_;
    const Ranks& processes_;
    Share share_;
    Shape shape_;   ///< of the whole sample
    Shape at_home_; ///< of the rows here
    std::vector<int64_t> sums_;
};

} // namespace faiss_vlc
