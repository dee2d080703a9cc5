#include <opencl/select.h>

#include <opencl/search_records.h>
#include <opencl/upload.h>

namespace faiss_vlc {

ProbedLists::ProbedLists(Device& device, int64_t most_in, int64_t m, int nprobe_in, int frames)
    : most(most_in), nprobe(nprobe_in),
      probes(device.allocate<int32_t>(most * nprobe, "probed lists")),
      starts(device.allocate<uint32_t>(most * nprobe, "probed lists")),
      totals(device.allocate<uint32_t>(most, "probed lists")),
      counts(device.allocate<uint32_t>(m, "probed lists")),
      slots(device.allocate<uint32_t>(most * nprobe, "probed lists")),
      frame_counts(device.allocate<uint32_t>(frames, "probed lists")),
      frame_queries(device.allocate<uint32_t>(frames * most, "probed lists")) {}

SelectStage::SelectStage(const SearchKernels& kernels, const Model& model)
    : kernels_(kernels), nearest_lists_(kernels.get("nearest_lists")),
      best_hits_(kernels.get("best_hits")), group_(upload(*kernels.device, model.group, "groups")),
      m_(model.m), frames_(int(model.frames.size())) {}

SelectStage::Best::Best(Device& device, int64_t most, int k)
    : key(device.allocate<int32_t>(most * k, "results")),
      label(device.allocate<int64_t>(most * k, "results")),
      found(device.allocate<uint32_t>(most, "results")) {}

void SelectStage::nearest_lists(const Scores& scores, int64_t n, ProbedLists& lists) {
    Device& device = *kernels_.device;
    device.fill(lists.counts, 0, size_t(m_) * sizeof(uint32_t));
    device.fill(lists.frame_counts, 0, size_t(frames_) * sizeof(uint32_t));
    records::ProbeShape shape{};
    shape.m = m_;
    shape.nprobe = lists.nprobe;
    shape.score_stride = scores.stride;
    shape.frames = frames_;
    shape.most = int(lists.most);
    device.launch(nearest_lists_, size_t(n) * kernels_.group, kernels_.group, shape, scores.scores,
                  scores.sizes, group_, LocalMemory{kernels_.group * sizeof(uint32_t)},
                  lists.probes, lists.starts, lists.totals, lists.counts, lists.slots,
                  lists.frame_counts, lists.frame_queries);
}

void SelectStage::best_hits(const Hits& hits, const ProbedLists& lists, int64_t n, int k,
                            Labels labels, Best& best) {
    const size_t capacity = size_t(k) + kSpare;
    records::HitShape shape{};
    shape.stride = hits.stride;
    shape.nprobe = lists.nprobe;
    shape.k = k;
    shape.capacity = int(capacity);
    shape.wide_ids = hits.wide_ids;
    shape.labels = int(labels);
    kernels_.device->launch(
            best_hits_, size_t(n) * kernels_.group, kernels_.group, shape, hits.keys, lists.totals,
            lists.starts, lists.probes, hits.list_block, hits.ids,
            LocalMemory{kernels_.group * sizeof(uint32_t)}, LocalMemory{capacity * sizeof(int32_t)},
            LocalMemory{capacity * sizeof(uint64_t)}, LocalMemory{capacity * sizeof(uint64_t)},
            best.key, best.label, best.found);
}

} // namespace faiss_vlc
