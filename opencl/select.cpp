#include <opencl/select.h>

namespace faiss_vlc {

ProbedLists::ProbedLists(Device& device, int64_t most, int64_t m, int64_t nprobe)
    : probes(device.allocate<int32_t>(most * nprobe, "probed lists")),
      starts(device.allocate<uint32_t>(most * nprobe, "probed lists")),
      totals(device.allocate<uint32_t>(most, "probed lists")),
      counts(device.allocate<uint32_t>(m, "probed lists")),
      slots(device.allocate<uint32_t>(most * nprobe, "probed lists")) {}

SelectStage::SelectStage(const SearchKernels& kernels)
    : kernels_(kernels), nearest_lists_(kernels.get("nearest_lists")),
      best_hits_(kernels.get("best_hits")) {}

void SelectStage::nearest_lists(const Buffer& scores, int stride, int64_t n, int m, int nprobe,
                                const Buffer& sizes, ProbedLists& lists) {
    Device& device = *kernels_.device;
    device.fill(lists.counts, 0, size_t(m) * sizeof(uint32_t));
    device.launch(nearest_lists_, size_t(n) * kernels_.group, kernels_.group, scores,
                  int32_t(stride), int32_t(m), int32_t(nprobe), sizes,
                  LocalMemory{kernels_.group * sizeof(uint32_t)}, lists.probes, lists.starts,
                  lists.totals, lists.counts, lists.slots);
}

void SelectStage::best_hits(const Hits& hits, const ProbedLists& lists, int64_t n, int nprobe,
                            int k, bool as_places, Buffer& key, Buffer& label, Buffer& found) {
    const size_t capacity = size_t(k) + kSpare;
    kernels_.device->launch(
            best_hits_, size_t(n) * kernels_.group, kernels_.group, hits.keys, hits.stride,
            lists.totals, lists.starts, lists.probes, int32_t(nprobe), hits.list_block, hits.ids,
            int32_t(hits.wide_ids), int32_t(k), int32_t(capacity), int32_t(as_places),
            LocalMemory{kernels_.group * sizeof(uint32_t)}, LocalMemory{capacity * sizeof(int32_t)},
            LocalMemory{capacity * sizeof(uint64_t)}, LocalMemory{capacity * sizeof(uint64_t)}, key,
            label, found);
}

} // namespace faiss_vlc
