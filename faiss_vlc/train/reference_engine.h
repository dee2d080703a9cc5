#pragma once

#include <vector>

#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/stages/arrays.h>

namespace faiss_vlc {

/// The specification: every stage in plain C++ on the host.
class ReferenceEngine final : public Engine {
public:
    std::string name() const override { return "reference"; }
    void begin(const Shape& shape, const SampleView& sample) override;
    void set_anchors(const int32_t* anchors) override;
    void set_bias(const int32_t* bias) override;
    void set_labels(const int32_t* nearest) override;
    void list_near(int length) override;
    AssignSummary assign(int64_t rows = kAllRows, int64_t known = 0) override;
    void reduce(const ReduceParams& params) override;
    void update(const UpdateParams& params) override;
    void nearest(int32_t* label, int32_t* dist) override;
    void apply(const Move* moves, int count) override;
    void quantize(AnchorGrid grid) override;
    void covariance(const int32_t* rows, int64_t count, int64_t* sums) override;
    void get_counts(int32_t* counts) override;
    void get_energies(int64_t* energies) override;
    void get_weights(int64_t* weights) override;
    void get_sums(int64_t* sums) override;
    void set_sums(const int64_t* sums) override;
    void get_anchors(int32_t* anchors) override;
    void get_spreads(int32_t* spreads) override;
    void get_bias(int32_t* bias) override;
    void get_labels(int32_t* nearest) override;
    void get_distances(int32_t* distances, int64_t rows = kAllRows) override;

private:
    AnchorSums sums();
    AnchorArrays anchors();

    Shape shape_;
    std::vector<int8_t> sample_, anchor8_;
    std::vector<int32_t> anchor_, norm_, bias_, spread_, count_;
    std::vector<int32_t> label_, dist_, previous_, list_;
    int list_length_ = 0;
    std::vector<int64_t> weight_, sum_, energy_;
};

} // namespace faiss_vlc
