#pragma once

#include <vector>

#include <faiss_vlc/ranks.h>
#include <faiss_vlc/train/shared/forwarding_engine.h>

namespace faiss_vlc {

/// One of several processes' engines, which together are one Engine with the whole sample: begin()
/// takes only the rows that this process holds (own_share), everything else is as if all were
/// here. Sums are added up over the processes; they are integers, so that all have the same
/// anchors, bit by bit, and each moves, merges and splits them for itself.
class DistributedEngine final : public ForwardingEngine {
public:
    DistributedEngine(Engine& own, const Ranks& processes)
        : ForwardingEngine(own), own_(own), processes_(processes), share_(own_share(processes)) {}

    void begin(const Shape& shape, const SampleView& own_rows) override;
    void set_labels(const int32_t* nearest) override;
    AssignSummary assign(int64_t rows = kAllRows, int64_t known = 0) override;
    void reduce(const ReduceParams& params) override;
    void covariance(const int32_t* rows, int64_t count, int64_t* sums) override;
    void get_labels(int32_t* nearest) override;
    void get_distances(int32_t* distances, int64_t rows = kAllRows) override;

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
