#pragma once

#include <faiss_vlc/train/engine.h>
#include <opencl/kernels.h>
#include <opencl/reduce.h>

namespace faiss_vlc {

/// Anchors on the device and what belongs to them.
struct AnchorBuffers {
    AnchorBuffers(Device& device, int m, int dp);

    Buffer anchor;  ///< int m x dp, fixed point
    Buffer anchor8; ///< char m x dp
    Buffer norm;    ///< int m
    Buffer bias;    ///< int m
    Buffer spread;  ///< int m
};

/// Launches of update.cl; faiss_vlc/train/stages/update.h specifies what they compute.
class UpdateStage {
public:
    explicit UpdateStage(const KernelSet& kernels);

    /// anchor8 and norm from anchor.
    void refresh(int m, int dp, AnchorBuffers& anchors);
    void update(const Shape& shape, const UpdateParams& params, const ReduceStage& sums,
                AnchorBuffers& anchors);

private:
    KernelSet kernels_;
    Kernel& move_;
    Kernel& spread_bias_;
    Kernel& refresh_;
};

} // namespace faiss_vlc
