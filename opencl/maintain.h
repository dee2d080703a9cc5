#pragma once

#include <faiss_vlc/train/engine.h>
#include <opencl/assign.h>
#include <opencl/update.h>

namespace faiss_vlc {

/// Launches of maintain.cl, and the search for near pairs by the assign kernel;
/// faiss_vlc/train/stages/maintain.h specifies what they compute.
class MaintainStage {
public:
    MaintainStage(const KernelSet& kernels, int m);

    /// To the host: per anchor the nearest other one. `packed` holds the packed anchors.
    void nearest(int m, int dp, const AnchorBuffers& anchors, const AssignStage::Packed& packed,
                 AssignStage& assign, int32_t* label, int32_t* dist);
    void apply(const Shape& shape, const Move* moves, int count, const Buffer& counts,
               UpdateStage& update, AnchorBuffers& anchors);
    /// Rows of merged anchors become the other's: label (int n x neighbours), previous (int n).
    void relabel(const Shape& shape, const Move* moves, int count, Buffer& label, Buffer& previous);
    void quantize(const Shape& shape, AnchorGrid grid, UpdateStage& update, AnchorBuffers& anchors);

private:
    KernelSet kernels_;
    Kernel& apply_;
    Kernel& relabel_;
    Kernel& quantize_;
    Buffer move_;         ///< int4 m
    Buffer constants_;    ///< int constants_size: norms alone
    Buffer row_constant_; ///< int m
    Buffer label_, dist_; ///< int m
};

} // namespace faiss_vlc
