#include <opencl/rank.h>

#include <algorithm>
#include <vector>

#include <opencl/upload.h>

namespace faiss_vlc {

RankStage::RankStage(const SearchKernels& kernels, const Model& model)
    : device_(kernels.device), group_(kernels.group), d_(model.d), dp_(model.dp()), m_(model.m),
      factor_(model.metric == faiss::METRIC_INNER_PRODUCT ? -1 : -2),
      frames_(int(model.frames.size())), slots_(model.slots()), scale_(model.lattice.scale),
      prepare_(kernels.get("prepare_queries")), score_(kernels.get("score_anchors")),
      rotate_(kernels.get("rotate_queries")) {
    std::vector<float> mean(model.lattice.mean.begin(), model.lattice.mean.begin() + d_);
    if (model.metric == faiss::METRIC_INNER_PRODUCT) {
        std::fill(mean.begin(), mean.end(), 0.0f);
    }
    std::vector<int8_t> rows(size_t(frames_) * slots_ * dp_);
    std::vector<float> inverse_norm(size_t(frames_) * slots_);
    const std::vector<int> slot_axis = model.layout.slot_axis();
    for (size_t g = 0; g < model.frames.size(); g++) {
        const Frame& frame = model.frames[g];
        for (size_t s = 0; s < slot_axis.size(); s++) {
            const int axis = slot_axis[s];
            if (axis < 0 || axis >= frame.kept) {
                continue;
            }
            const size_t at = g * model.slots() + s;
            std::copy_n(&frame.rows[size_t(axis) * d_], d_, &rows[at * dp_]);
            inverse_norm[at] = frame.inverse_norm(axis);
        }
    }
    mean_ = upload(*device_, mean, "means");
    anchors_ = upload(*device_, model.anchors8, "anchors");
    offsets_ = upload(*device_, model.derived().ranks.offset, "anchors' norms");
    std::vector<float> reach = model.derived().ranks.reach;
    reach.resize(m_);
    reach_ = upload(*device_, reach, "anchors' reach");
    axis_rows_ = upload(*device_, rows, "axes");
    inverse_norm_ = upload(*device_, inverse_norm, "axes' norms");
}

RankStage::Queries::Queries(Device& device, const RankStage& stage, int64_t most)
    : x(device.allocate<float>(most * stage.d_, "queries")),
      head(device.allocate<float>(most * kHead, "queries")),
      lattice(device.allocate<float>(most * stage.dp_, "queries")),
      rank8(device.allocate<int8_t>(most * stage.dp_, "queries")),
      planes(device.allocate<int8_t>(most * 2 * stage.dp_, "queries")),
      scores(device.allocate<int32_t>(most * stage.score_stride(), "scores of anchors")),
      rotated(device.allocate<float>(most * stage.frames_ * stage.rotated_stride(),
                                     "rotated queries")) {}

void RankStage::rank(Queries& queries, int64_t n) {
    const size_t tiles = size_t((n + kTile - 1) / kTile);
    const int32_t words = dp_ / 4;
    device_->launch(prepare_, size_t(n) * dp_, group_, queries.x, mean_, scale_, queries.head,
                    int32_t(n), int32_t(d_), int32_t(dp_), queries.lattice, queries.rank8,
                    queries.planes);
    device_->launch(score_, tiles * score_stride(), kTile, queries.rank8, anchors_, offsets_,
                    reach_, queries.head, int32_t(factor_), int32_t(n), int32_t(m_), words,
                    int32_t(score_stride()), queries.scores);
}

void RankStage::rotate(Queries& queries, const ProbedLists& probed, int64_t n) {
    const size_t tiles = size_t((n + kTile - 1) / kTile);
    device_->launch(rotate_, tiles * frames_ * rotated_stride(), kTile, queries.planes, axis_rows_,
                    inverse_norm_, queries.head, probed.frame_counts, probed.frame_queries,
                    int32_t(probed.most), int32_t(frames_), int32_t(slots_), int32_t(dp_ / 4),
                    int32_t(rotated_stride()), queries.rotated);
}

} // namespace faiss_vlc
