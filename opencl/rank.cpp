#include <opencl/rank.h>

#include <algorithm>
#include <vector>

#include <opencl/upload.h>

namespace faiss_vlc {

namespace {

int padded(int n) {
    return (n + RankStage::kTile - 1) / RankStage::kTile * RankStage::kTile;
}

} // namespace

FrameAxes::FrameAxes(Device& device, const Frame* first, int count,
                     const std::vector<int>& slot_axis, int dp)
    : frames(count), slots(first->slots()), stride(padded(slots)) {
    std::vector<int8_t> all(size_t(frames) * slots * dp);
    std::vector<float> inverse(size_t(frames) * slots);
    for (int g = 0; g < frames; g++) {
        const Frame& frame = first[g];
        for (size_t s = 0; s < slot_axis.size(); s++) {
            const int axis = slot_axis[s];
            if (axis < 0 || axis >= frame.kept) {
                continue;
            }
            const size_t at = size_t(g) * slots + s;
            if (frame.own) { // the product is the component itself
                all[at * dp + axis] = 1;
                inverse[at] = 1;
                continue;
            }
            std::copy_n(&frame.rows[size_t(axis) * frame.d], frame.d, &all[at * dp]);
            inverse[at] = frame.inverse_norm(axis);
        }
    }
    rows = upload(device, all, "axes");
    inverse_norm = upload(device, inverse, "axes' norms");
}

RankStage::RankStage(const SearchKernels& kernels, const Model& model)
    : device_(kernels.device), group_(kernels.group), regions_(model.regions.count()),
      region_stride_(padded(regions_)), prepare_(kernels.get("prepare_queries")),
      score_(kernels.get("score_anchors")), score_off_lattice_(kernels.get("score_off_lattice")),
      keep_regions_(kernels.get("keep_regions")), rotate_(kernels.get("rotate_queries")),
      axes_(*device_, model.frames.data(), int(model.frames.size()), model.layout.slot_axis(),
            model.dp()) {
    shape_.scale = model.lattice.scale;
    shape_.d = model.d;
    shape_.dp = model.dp();
    shape_.m = model.m;
    shape_.factor = model.metric == faiss::METRIC_INNER_PRODUCT ? -1 : -2;
    shape_.score_stride = padded(model.m);
    shape_.parts = model.fine_rotation ? 3 : 2;
    std::vector<float> mean(model.lattice.mean.begin(), model.lattice.mean.begin() + model.d);
    if (model.metric == faiss::METRIC_INNER_PRODUCT) {
        std::fill(mean.begin(), mean.end(), 0.0f);
    }
    mean_ = upload(*device_, mean, "means");
    anchors_ = upload(*device_, model.anchors8, "anchors");
    offsets_ = upload(*device_, model.derived().ranks.offset, "anchors' norms");
    std::vector<float> reach = model.derived().ranks.reach;
    reach.resize(model.m);
    reach_ = upload(*device_, reach, "anchors' reach");
    if (regions_ > 0) {
        centres_ = upload(*device_, model.regions.centres, "centres of regions");
        centre_offsets_ =
                upload(*device_, model.derived().regions.centres.offset, "norms of regions");
        no_reach_ = upload(*device_, std::vector<float>(size_t(regions_), 0), "reach of regions");
        region_ = upload(*device_, model.regions.of, "regions");
    }
}

RankStage::Queries::Queries(Device& device, const RankStage& stage, int64_t most)
    : x(device.allocate<float>(most * stage.shape_.d, "queries")),
      head(device.allocate<records::Head>(most, "queries")),
      lattice(device.allocate<float>(most * stage.shape_.dp, "queries")),
      rank8(device.allocate<int8_t>(most * stage.shape_.dp, "queries")),
      planes(device.allocate<int8_t>(most * stage.shape_.parts * stage.shape_.dp, "queries")),
      scores(device.allocate<int32_t>(most * stage.score_stride(), "scores of anchors")),
      region_scores(device.allocate<int32_t>(most * std::max(1, stage.region_stride()),
                                             "scores of regions")),
      rotated(device.allocate<float>(most * stage.frames() * stage.rotated_stride(),
                                     "rotated queries")) {}

void RankStage::rank(Queries& queries, int64_t n) {
    const size_t tiles = size_t((n + kTile - 1) / kTile);
    records::RankShape shape = shape_;
    shape.n = int(n);
    device_->launch(prepare_, size_t(n) * shape.dp, group_, shape, queries.x, mean_, queries.head,
                    queries.lattice, queries.rank8, queries.planes);
    device_->launch(score_, tiles * score_stride(), kTile, shape, queries.rank8, anchors_, offsets_,
                    reach_, queries.head, queries.scores);
}

void RankStage::rank_off_lattice(Queries& queries, int64_t n) {
    records::RankShape shape = shape_;
    shape.n = int(n);
    device_->launch(score_off_lattice_, size_t(n) * shape.m, group_, shape, queries.lattice,
                    anchors_, offsets_, queries.head, queries.scores);
}

void RankStage::keep_regions(Queries& queries, int64_t n, int visited, bool some_off) {
    const size_t tiles = size_t((n + kTile - 1) / kTile);
    records::RankShape centres = shape_;
    centres.n = int(n);
    centres.m = regions_;
    centres.score_stride = region_stride_;
    device_->launch(score_, tiles * region_stride_, kTile, centres, queries.rank8, centres_,
                    centre_offsets_, no_reach_, queries.head, queries.region_scores);
    if (some_off) {
        device_->launch(score_off_lattice_, size_t(n) * regions_, group_, centres, queries.lattice,
                        centres_, centre_offsets_, queries.head, queries.region_scores);
    }
    records::RegionShape shape{};
    shape.m = shape_.m;
    shape.score_stride = score_stride();
    shape.regions = regions_;
    shape.region_stride = region_stride_;
    shape.visited = visited;
    device_->launch(keep_regions_, size_t(n) * group_, group_, shape, queries.region_scores,
                    region_, queries.head, LocalMemory{group_ * sizeof(uint32_t)}, queries.scores);
}

void RankStage::rotate(Queries& queries, const ProbedLists& probed, int64_t n) {
    rotate(queries, n,
           {axes_, probed.frame_counts, probed.frame_queries, probed.most, shape_.parts == 3,
            queries.rotated});
}

void RankStage::rotate(const Queries& queries, int64_t n, Turned to) {
    const size_t tiles = size_t((n + kTile - 1) / kTile);
    const FrameAxes& axes = to.axes;
    records::RankShape shape = shape_;
    shape.n = int(n);
    shape.frames = axes.frames;
    shape.slots = axes.slots;
    shape.rotated_stride = axes.stride;
    shape.most = int(to.most);
    shape.turned = to.fine ? 3 : 2;
    device_->launch(rotate_, tiles * axes.frames * axes.stride, kTile, shape, queries.planes,
                    axes.rows, axes.inverse_norm, queries.head, to.counts, to.queries, to.rotated);
}

} // namespace faiss_vlc
