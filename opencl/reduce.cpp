#include <opencl/reduce.h>

#include <algorithm>
#include <vector>

#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/train/stages/reduce.h>
#include <opencl/sizes.h>

namespace faiss_vlc {

namespace {

constexpr int kSegment = 256; // SEGMENT in reduce.cl

} // namespace

ReduceStage::ReduceStage(const KernelSet& kernels, const Shape& shape)
    : kernels_(kernels), shape_(shape),
      weigh_(kernels.get(kernels.dot.on_host() ? "weigh_parts" : "weigh_entries")),
      prefix_(kernels.get("prefix")),
      scatter_(kernels.get(kernels.dot.on_host() ? "scatter_entry_parts" : "scatter_entries")),
      sum_segments_(kernels.get(kernels.dot.on_host() ? "sum_segments_alone" : "sum_segments")),
      combine_(kernels.get("combine_segments")) {
    Device& device = *kernels.device;
    const uint64_t entries = uint64_t(shape.n_train) * shape.neighbours;
    const uint64_t segments = entries / kSegment + shape.m;
    const uint64_t m = shape.m;
    gibbs_ = device.allocate<int16_t>(256, "Gibbs table");
    device.write(gibbs_, gibbs_table().data(), 256 * sizeof(int16_t));
    weight_ = device.allocate<int16_t>(entries, "weights");
    entry_row_ = device.allocate<int32_t>(entries, "entries by anchor");
    entry_weight_ = device.allocate<int16_t>(entries, "weights by anchor");
    if (kernels.dot.on_host()) {
        add_parts_ = &kernels.get("add_parts");
        part_count_ = device.allocate<int32_t>(
                m * row_parts(shape.n_train, shape.m, device.info().compute_units),
                "entry counts of parts");
    }
    entry_count_ = device.allocate<int32_t>(m, "entry counts");
    first_entry_ = device.allocate<int32_t>(m + 1, "entry offsets");
    first_segment_ = device.allocate<int32_t>(m + 1, "segment offsets");
    segment_sum_ = device.allocate<int32_t>(segments * shape.dp, "segment sums");
    segment_scalars_ = device.allocate<int64_t>(segments * 3, "segment weights");
    weight_j_ = device.allocate<int64_t>(m, "anchor weights");
    sum_ = device.allocate<int64_t>(m * shape.dp, "anchor sums");
    count_j_ = device.allocate<int32_t>(m, "anchor counts");
    energy_j_ = device.allocate<int64_t>(m, "anchor energies");
}

/// Entries by anchor.
void ReduceStage::sort_entries(int32_t n_train, const Buffer& label, const Buffer& dist,
                               const Buffer& bias, const ReduceParams& params) {
    Device& device = *kernels_.device;
    const size_t group = kernels_.work_group;
    const int32_t m = shape_.m;
    const int32_t neighbours = shape_.neighbours;
    const int32_t robust = int32_t(params.robust);
    const int32_t tau = int32_t(isqrt(params.tau2));
    const int32_t parts = row_parts(n_train, m, device.info().compute_units);
    if (add_parts_) {
        device.launch(weigh_, parts, 1, label, dist, bias, gibbs_, n_train, neighbours,
                      params.inv_t, robust, params.tau2, tau, m, parts, weight_, part_count_);
        device.launch(*add_parts_, m, group, part_count_, m, parts, entry_count_);
    } else {
        device.fill(entry_count_, 0, m * sizeof(int32_t));
        device.launch(weigh_, n_train, group, label, dist, bias, gibbs_, n_train, neighbours,
                      params.inv_t, robust, params.tau2, tau, weight_, entry_count_);
    }
    device.launch(prefix_, group, group, entry_count_, m, first_entry_, first_segment_,
                  LocalMemory{group * sizeof(int32_t)}, LocalMemory{group * sizeof(int32_t)});
    if (add_parts_) {
        device.launch(scatter_, parts, 1, label, weight_, n_train, neighbours, m, parts,
                      first_entry_, part_count_, entry_row_, entry_weight_);
    } else {
        device.launch(scatter_, n_train, group, label, weight_, n_train, neighbours, entry_count_,
                      entry_row_, entry_weight_);
    }
}

void ReduceStage::reduce(int n, const Buffer& rows, const Buffer& label, const Buffer& dist,
                         const Buffer& bias, const ReduceParams& params, bool more) {
    Device& device = *kernels_.device;
    const size_t group = kernels_.work_group;
    const auto n_train = int32_t(std::min<int64_t>(n, shape_.n_train));
    const int32_t m = shape_.m;
    const int32_t dp = shape_.dp;
    const int32_t neighbours = shape_.neighbours;

    sort_entries(n_train, label, dist, bias, params);
    int32_t segments = 0;
    device.read(first_segment_, &segments, sizeof(segments), m * sizeof(int32_t));
    if (kernels_.dot.on_host()) {
        device.launch(sum_segments_, segments, 1, rows, dist, entry_row_, entry_weight_,
                      first_entry_, first_segment_, m, dp, neighbours, segment_sum_,
                      segment_scalars_);
    } else {
        device.launch(sum_segments_, segments * group, group, rows, dist, entry_row_, entry_weight_,
                      first_entry_, first_segment_, m, dp, neighbours, segment_sum_,
                      segment_scalars_, LocalMemory{group * 16 * sizeof(int32_t)},
                      LocalMemory{group * 3 * sizeof(int64_t)});
    }
    device.launch(combine_, size_t(m) * (dp / 16), group, segment_sum_, segment_scalars_,
                  first_segment_, m, dp, int32_t(more), sum_, weight_j_, count_j_, energy_j_);
}

void ReduceStage::set(const int64_t* sums) {
    Device& device = *kernels_.device;
    const size_t m = shape_.m;
    const std::vector<int32_t> counts(sums + 2 * m, sums + 3 * m);
    device.write(weight_j_, sums, m * sizeof(int64_t));
    device.write(energy_j_, sums + m, m * sizeof(int64_t));
    device.write(count_j_, counts.data(), m * sizeof(int32_t));
    device.write(sum_, sums + 3 * m, m * shape_.dp * sizeof(int64_t));
}

} // namespace faiss_vlc
