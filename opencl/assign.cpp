#include <opencl/assign.h>

#include <algorithm>

namespace faiss_vlc {

AssignStage::AssignStage(const KernelSet& kernels)
    : kernels_(kernels), pack_(kernels.get("pack_anchors")),
      constants_(kernels.get("anchor_constants")), row_constants_(kernels.get("row_constants")),
      assign_(kernels.get("assign")), summarize_(kernels.get("summarize")),
      sums_(kernels.device->allocate<int64_t>(3 * kMaxGroups, "sums of an assignment")) {}

AssignStage::Packed::Packed(Device& device, int m, int dp)
    : bytes(device.allocate<int8_t>(uint64_t(padded_anchors(m)) * dp, "packed anchors")),
      start(device.allocate<int32_t>(padded_anchors(m), "packed anchors")) {}

void AssignStage::pack(const Buffer& anchor8, int m, int dp, Packed& packed) {
    const int32_t padded = padded_anchors(m);
    kernels_.device->launch(pack_, padded, kernels_.work_group, anchor8, int32_t(m), int32_t(dp),
                            padded, packed.bytes, packed.start);
}

void AssignStage::constants(const Buffer& norm, const Buffer* bias, int m, Buffer& constants) {
    const int32_t padded = padded_anchors(m);
    kernels_.device->launch(constants_, padded, kernels_.work_group, norm, bias ? *bias : norm,
                            int32_t(bias != nullptr), int32_t(m), padded, constants);
}

void AssignStage::row_constants(const Buffer& rows, int n, int dp, Buffer& row_constant) {
    kernels_.device->launch(row_constants_, n, kernels_.work_group, rows, int32_t(n), int32_t(dp),
                            row_constant);
}

void AssignStage::assign(const Buffer& rows, const Buffer& row_constant, const Anchors& anchors,
                         int n, int dp, int neighbours, bool skip_own, Buffer& label,
                         Buffer& dist) {
    const size_t items = (size_t(n) + kernels_.dot.rows - 1) / kernels_.dot.rows;
    kernels_.device->launch(assign_, items, kernels_.work_group, rows, row_constant,
                            anchors.packed.bytes, anchors.packed.start, anchors.constants,
                            anchors.norm, int32_t(n), int32_t(anchors.m), int32_t(dp),
                            int32_t(neighbours), int32_t(skip_own), label, dist);
}

AssignSummary AssignStage::summarize(const Shape& shape, const Buffer& label, const Buffer& dist,
                                     Buffer& previous) {
    const size_t group = kernels_.work_group;
    const size_t groups = std::min<size_t>((shape.n + group - 1) / group, kMaxGroups);
    kernels_.device->launch(summarize_, groups * group, group, label, dist, int32_t(shape.n),
                            int32_t(shape.n_train), int32_t(shape.neighbours), previous,
                            LocalMemory{3 * group * sizeof(int64_t)}, sums_);
    int64_t sums[3 * kMaxGroups];
    kernels_.device->read(sums_, sums, groups * 3 * sizeof(int64_t));
    AssignSummary summary;
    for (size_t g = 0; g < groups; g++) {
        summary.changes += sums[3 * g];
        summary.energy_train += sums[3 * g + 1];
        summary.energy_held += sums[3 * g + 2];
    }
    return summary;
}

} // namespace faiss_vlc
