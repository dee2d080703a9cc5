#pragma once

#include <memory>
#include <string>
#include <vector>

#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// Several devices of one machine as one Engine, with the results of one: each has a share of the
/// sample, where it assigns and adds up. Their sums, which are integers, are added up here, and
/// each device moves, merges and splits the anchors for itself. Devices should be alike, as all get
/// as much to do; those that would get no training row are left out. An error of one is thrown,
/// with its number, after all have ended what they were at; only begin() makes sense then.
class DevicesEngine final : public Engine {
public:
    /// One or more.
    explicit DevicesEngine(std::vector<std::unique_ptr<Engine>> devices);

    /// Their names: "2 x A, B".
    std::string name() const override;
    void begin(const Shape& shape, const SampleView& sample) override;
    void set_anchors(const int32_t* anchors) override;
    void set_bias(const int32_t* bias) override;
    void set_labels(const int32_t* nearest) override;
    void list_near(int length) override;
    AssignSummary assign(int64_t rows = kAllRows, int64_t known = 0) override;
    void reduce(const ReduceParams& params) override;
    void update(const UpdateParams& params) override;
    void nearest(int32_t* label, int32_t* dist) override { first().nearest(label, dist); }
    void apply(const Move* moves, int count) override;
    void quantize(AnchorGrid grid) override;
    void covariance(const int32_t* rows, int64_t count, int64_t* sums) override;
    void get_counts(int32_t* counts) override { first().get_counts(counts); }
    void get_energies(int64_t* energies) override { first().get_energies(energies); }
    void get_weights(int64_t* weights) override { first().get_weights(weights); }
    void get_sums(int64_t* sums) override { first().get_sums(sums); }
    void set_sums(const int64_t* sums) override;
    void get_anchors(int32_t* anchors) override { first().get_anchors(anchors); }
    void get_spreads(int32_t* spreads) override { first().get_spreads(spreads); }
    void get_bias(int32_t* bias) override { first().get_bias(bias); }
    void get_labels(int32_t* nearest) override;
    void get_distances(int32_t* distances, int64_t rows = kAllRows) override;

private:
    struct Part {
        std::unique_ptr<Engine> engine;
        Share share;
        std::vector<int64_t> sums;   ///< of anchors, or a covariance
        std::vector<int32_t> values; ///< of its rows
    };

    Engine& first() { return *parts_[0].engine; }
    template <class Body>
    void run(int i, Body body);
    template <class Body>
    void each(Body body);
    void add_up(int64_t size, int64_t* sums) const;

    std::vector<Part> parts_;
    int used_ = 1; ///< of the parts: the first ones
    Shape shape_;
    std::vector<int64_t> sums_;
};

} // namespace faiss_vlc
