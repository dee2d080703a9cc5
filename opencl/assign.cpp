#include <opencl/assign.h>

#include <algorithm>

#include <faiss_vlc/train/stages/host_loops.h>
#include <opencl/assign_tensor.h>

namespace faiss_vlc {

AssignStage::AssignStage(const KernelSet& kernels)
    : kernels_(kernels), pack_(kernels.get("pack_anchors")),
      constants_(kernels.get("anchor_constants")), row_constants_(kernels.get("row_constants")),
      assign_(kernels.get("assign")), take_first_(kernels.get("take_first")),
      summarize_(kernels.get("summarize")),
      sums_(kernels.device->allocate<int64_t>(3 * kMaxGroups, "sums of an assignment")) {}

int AssignStage::constants_size(int m) {
    return TensorAssign::kConstantsFrom + padded_anchors(m);
}

AssignStage::Packed::Packed(Device& device, int m, int dp)
    : bytes(device.allocate<int8_t>(TensorAssign::packed_bytes(padded_anchors(m), dp),
                                    "packed anchors")),
      start(device.allocate<int32_t>(padded_anchors(m), "packed anchors")) {}

void AssignStage::pack(const Buffer& anchor8, int m, int dp, Packed& packed) {
    const int32_t padded = padded_anchors(m);
    if (by_tensor_cores()) {
        TensorAssign(kernels_, dp).pack(anchor8, m, padded, packed.bytes);
        return;
    }
    kernels_.device->launch(pack_, padded, kernels_.work_group, anchor8, int32_t(m), int32_t(dp),
                            padded, packed.bytes, packed.start);
}

void AssignStage::constants(const Buffer& norm, const Buffer* bias, int m, int dp,
                            Buffer& constants) {
    const int32_t padded = padded_anchors(m);
    if (by_tensor_cores()) {
        TensorAssign(kernels_, dp).constants(norm, bias, m, padded, constants);
        return;
    }
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
    if (by_tensor_cores()) {
        TensorAssign(kernels_, dp)
                .assign(rows, row_constant, anchors.packed.bytes, anchors.constants, anchors.norm,
                        n, anchors.m, neighbours, skip_own, label, dist);
        return;
    }
    if (kernels_.dot.by_loops && !skip_own) {
        assign_by_loops(rows, row_constant, anchors, n, dp, neighbours, label, dist);
        return;
    }
    const size_t items = (size_t(n) + kernels_.dot.rows - 1) / kernels_.dot.rows;
    kernels_.device->launch(assign_, items, kernels_.work_group, rows, row_constant,
                            anchors.packed.bytes, anchors.packed.start, anchors.constants,
                            anchors.norm, int32_t(n), int32_t(anchors.m), int32_t(dp),
                            int32_t(neighbours), int32_t(skip_own), label, dist);
}

void AssignStage::assign_by_loops(const Buffer& rows, const Buffer& row_constant,
                                  const Anchors& anchors, int n, int dp, int neighbours,
                                  Buffer& label, Buffer& dist) {
    Device& device = *kernels_.device;
    const MappedBuffer x = device.map(rows), square = device.map(row_constant);
    const MappedBuffer packed = device.map(anchors.packed.bytes);
    const MappedBuffer offset = device.map(anchors.constants), norm = device.map(anchors.norm);
    const MappedBuffer labels = device.map(label), dists = device.map(dist);
    assign_rows_by_loops(
            n, x.as<int8_t>(), square.as<int32_t>(),
            {anchors.m, dp, packed.as<int8_t>(), offset.as<int32_t>(), norm.as<int32_t>()},
            {neighbours, labels.as<int32_t>(), dists.as<int32_t>()});
    device.count_launch("assign");
}

void AssignStage::take_first(const Buffer& values, int n, int neighbours, Buffer& first) {
    kernels_.device->launch(take_first_, n, kernels_.work_group, values, int32_t(n),
                            int32_t(neighbours), first);
}

AssignSummary AssignStage::summarize(const Shape& shape, int rows, const Buffer& label,
                                     const Buffer& dist, Buffer& previous) {
    const size_t group = kernels_.work_group;
    const size_t groups = std::min<size_t>((size_t(rows) + group - 1) / group, kMaxGroups);
    kernels_.device->launch(summarize_, groups * group, group, label, dist, int32_t(rows),
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
