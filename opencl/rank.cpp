#include <opencl/rank.h>

#include <algorithm>
#include <vector>

#include <opencl/upload.h>

namespace faiss_vlc {

RankStage::RankStage(const SearchKernels& kernels, const Model& model)
    : device_(kernels.device), group_(kernels.group), prepare_(kernels.get("prepare_queries")),
      score_(kernels.get("score_anchors")), score_off_lattice_(kernels.get("score_off_lattice")),
      rotate_(kernels.get("rotate_queries")) {
    const int d = model.d, dp = model.dp();
    const auto padded = [](int n) { return (n + kTile - 1) / kTile * kTile; };
    shape_.scale = model.lattice.scale;
    shape_.d = d;
    shape_.dp = dp;
    shape_.m = model.m;
    shape_.factor = model.metric == faiss::METRIC_INNER_PRODUCT ? -1 : -2;
    shape_.score_stride = padded(model.m);
    shape_.frames = int(model.frames.size());
    shape_.slots = model.slots();
    shape_.rotated_stride = padded(model.slots());
    shape_.parts = model.fine_rotation ? 3 : 2;
    std::vector<float> mean(model.lattice.mean.begin(), model.lattice.mean.begin() + d);
    if (model.metric == faiss::METRIC_INNER_PRODUCT) {
        std::fill(mean.begin(), mean.end(), 0.0f);
    }
    std::vector<int8_t> rows(model.frames.size() * model.slots() * dp);
    std::vector<float> inverse_norm(model.frames.size() * model.slots());
    const std::vector<int> slot_axis = model.layout.slot_axis();
    for (size_t g = 0; g < model.frames.size(); g++) {
        const Frame& frame = model.frames[g];
        for (size_t s = 0; s < slot_axis.size(); s++) {
            const int axis = slot_axis[s];
            if (axis < 0 || axis >= frame.kept) {
                continue;
            }
            const size_t at = g * model.slots() + s;
            if (frame.own) { // the product is the component itself
                rows[at * dp + axis] = 1;
                inverse_norm[at] = 1;
                continue;
            }
            std::copy_n(&frame.rows[size_t(axis) * d], d, &rows[at * dp]);
            inverse_norm[at] = frame.inverse_norm(axis);
        }
    }
    mean_ = upload(*device_, mean, "means");
    anchors_ = upload(*device_, model.anchors8, "anchors");
    offsets_ = upload(*device_, model.derived().ranks.offset, "anchors' norms");
    std::vector<float> reach = model.derived().ranks.reach;
    reach.resize(model.m);
    reach_ = upload(*device_, reach, "anchors' reach");
    axis_rows_ = upload(*device_, rows, "axes");
    inverse_norm_ = upload(*device_, inverse_norm, "axes' norms");
}

RankStage::Queries::Queries(Device& device, const RankStage& stage, int64_t most)
    : x(device.allocate<float>(most * stage.shape_.d, "queries")),
      head(device.allocate<records::Head>(most, "queries")),
      lattice(device.allocate<float>(most * stage.shape_.dp, "queries")),
      rank8(device.allocate<int8_t>(most * stage.shape_.dp, "queries")),
      planes(device.allocate<int8_t>(most * stage.shape_.parts * stage.shape_.dp, "queries")),
      scores(device.allocate<int32_t>(most * stage.score_stride(), "scores of anchors")),
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

void RankStage::rotate(Queries& queries, const ProbedLists& probed, int64_t n) {
    const size_t tiles = size_t((n + kTile - 1) / kTile);
    records::RankShape shape = shape_;
    shape.n = int(n);
    shape.most = int(probed.most);
    device_->launch(rotate_, tiles * frames() * rotated_stride(), kTile, shape, queries.planes,
                    axis_rows_, inverse_norm_, queries.head, probed.frame_counts,
                    probed.frame_queries, queries.rotated);
}

} // namespace faiss_vlc
