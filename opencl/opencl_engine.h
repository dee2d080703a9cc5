#pragma once

#include <memory>

#include <faiss_vlc/train/engine.h>
#include <opencl/kernels.h>

namespace faiss_vlc {

/// Trains on an OpenCL device; every stage gives what ReferenceEngine gives. begin() takes n and
/// n x neighbours below 2^31 and d up to 4096. Several engines can share a Device, from several
/// threads; one engine is for one thread at a time.
class OpenCLEngine final : public Engine {
public:
    OpenCLEngine(std::shared_ptr<Device> device, int work_group);
    /// The same with a given way to multiply, see usable_dots.
    explicit OpenCLEngine(const KernelSet& kernels);
    ~OpenCLEngine() override;

    const KernelSet& kernels() const { return kernels_; }

    std::string name() const override;
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
    struct Training;

    Training& training();
    void get_first(const Buffer& from, int64_t rows, int32_t* values);
    void pack();

    KernelSet kernels_;
    std::unique_ptr<Training> training_; ///< from begin
};

} // namespace faiss_vlc
