#include <opencl/update.h>

namespace faiss_vlc {

AnchorBuffers::AnchorBuffers(Device& device, int m, int dp)
    : anchor(device.allocate<int32_t>(uint64_t(m) * dp, "anchors")),
      anchor8(device.allocate<int8_t>(uint64_t(m) * dp, "int8 anchors")),
      norm(device.allocate<int32_t>(m, "anchor norms")),
      bias(device.allocate<int32_t>(m, "anchor biases")),
      spread(device.allocate<int32_t>(m, "anchor spreads")) {}

UpdateStage::UpdateStage(const KernelSet& kernels)
    : kernels_(kernels), move_(kernels.get("move_anchors")),
      spread_bias_(kernels.get("update_spread_bias")), refresh_(kernels.get("refresh_anchors")) {}

void UpdateStage::refresh(int m, int dp, AnchorBuffers& anchors) {
    kernels_.device->launch(refresh_, m, kernels_.work_group, anchors.anchor, int32_t(m),
                            int32_t(dp), anchors.anchor8, anchors.norm);
}

void UpdateStage::update(const Shape& shape, const UpdateParams& params, const ReduceStage& sums,
                         AnchorBuffers& anchors) {
    Device& device = *kernels_.device;
    const int32_t m = shape.m;
    const int32_t dp = shape.dp;
    device.launch(move_, size_t(m) * dp, kernels_.work_group, sums.weight(), sums.sum(), m, dp,
                  params.step, params.max_step, anchors.anchor);
    device.launch(spread_bias_, m, kernels_.work_group, sums.count(), sums.energy(), m,
                  params.mean_count, params.bias_scale, params.noise_scale, params.seed,
                  params.iteration, anchors.spread, anchors.bias);
    refresh(m, dp, anchors);
}

} // namespace faiss_vlc
