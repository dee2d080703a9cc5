#include <opencl/select.h>

#include <opencl/upload.h>

namespace faiss_vlc {

ProbedLists::ProbedLists(Device& device, int64_t most_in, int64_t m, int64_t nprobe, int frames)
    : most(most_in), probes(device.allocate<int32_t>(most * nprobe, "probed lists")),
      starts(device.allocate<uint32_t>(most * nprobe, "probed lists")),
      totals(device.allocate<uint32_t>(most, "probed lists")),
      counts(device.allocate<uint32_t>(m, "probed lists")),
      slots(device.allocate<uint32_t>(most * nprobe, "probed lists")),
      frame_counts(device.allocate<uint32_t>(frames, "probed lists")),
      frame_queries(device.allocate<uint32_t>(frames * most, "probed lists")) {}

SelectStage::SelectStage(const SearchKernels& kernels, const Model& model)
    : kernels_(kernels), nearest_lists_(kernels.get("nearest_lists")),
      best_hits_(kernels.get("best_hits")), group_(upload(*kernels.device, model.group, "groups")),
      frames_(int(model.frames.size())) {}

void SelectStage::nearest_lists(const Buffer& scores, int stride, int64_t n, int m, int nprobe,
                                const Buffer& sizes, ProbedLists& lists) {
    Device& device = *kernels_.device;
    device.fill(lists.counts, 0, size_t(m) * sizeof(uint32_t));
    device.fill(lists.frame_counts, 0, size_t(frames_) * sizeof(uint32_t));
    device.launch(nearest_lists_, size_t(n) * kernels_.group, kernels_.group, scores,
                  int32_t(stride), int32_t(m), int32_t(nprobe), sizes,
                  LocalMemory{kernels_.group * sizeof(uint32_t)}, lists.probes, lists.starts,
                  lists.totals, lists.counts, lists.slots, group_, int32_t(frames_),
                  int32_t(lists.most), lists.frame_counts, lists.frame_queries);
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
