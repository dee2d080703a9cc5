#include <opencl/maintain.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/integer_math.h>

namespace faiss_vlc {

static_assert(sizeof(Move) == 4 * sizeof(int32_t), "maintain.cl reads a move as int4");

MaintainStage::MaintainStage(const KernelSet& kernels, int m)
    : kernels_(kernels), apply_(kernels.get("apply_moves")), relabel_(kernels.get("relabel")),
      quantize_(kernels.get("quantize_anchors")), move_(kernels.device->allocate<Move>(m, "moves")),
      constants_(kernels.device->allocate<int32_t>(AssignStage::constants_size(m), "norms")),
      row_constant_(kernels.device->allocate<int32_t>(m, "anchor row constants")),
      label_(kernels.device->allocate<int32_t>(m, "nearest anchors")),
      dist_(kernels.device->allocate<int32_t>(m, "nearest distances")) {}

void MaintainStage::nearest(int m, int dp, const AnchorBuffers& anchors,
                            const AssignStage::Packed& packed, AssignStage& assign, int32_t* label,
                            int32_t* dist) {
    assign.constants(anchors.norm, nullptr, m, dp, constants_);
    assign.row_constants(anchors.anchor8, m, dp, row_constant_);
    assign.assign(anchors.anchor8, row_constant_, {packed, constants_, anchors.norm, m}, m, dp, 1,
                  true, label_, dist_);
    kernels_.device->read(label_, label, size_t(m) * sizeof(int32_t));
    kernels_.device->read(dist_, dist, size_t(m) * sizeof(int32_t));
}

void MaintainStage::apply(const Shape& shape, const Move* moves, int count, const Buffer& counts,
                          UpdateStage& update, AnchorBuffers& anchors) {
    if (count == 0) {
        return;
    }
    for (int i = 0; i < count; i++) {
        const Move& move = moves[i];
        if (move.dst < 0 || move.dst >= shape.m || move.src < 0 || move.src >= shape.m) {
            fail("move %d is from anchor %d to %d, but there are %d", i, move.src, move.dst,
                 shape.m);
        }
    }
    const int32_t reach = 16 * std::max<int32_t>(1, int32_t(isqrt(shape.d)));
    kernels_.device->write(move_, moves, size_t(count) * sizeof(Move));
    kernels_.device->launch(apply_, size_t(count) * shape.d, kernels_.work_group, move_,
                            int32_t(count), int32_t(shape.d), int32_t(shape.dp), reach, counts,
                            anchors.spread, anchors.anchor, anchors.bias);
    update.refresh(shape.m, shape.dp, anchors);
}

void MaintainStage::relabel(const Shape& shape, const Move* moves, int count, Buffer& label,
                            Buffer& previous) {
    std::vector<int32_t> now(shape.m);
    std::iota(now.begin(), now.end(), 0);
    bool merged = false;
    for (int i = 0; i < count; i++) {
        if (moves[i].kind == Move::merge) {
            now[moves[i].src] = moves[i].dst;
            merged = true;
        }
    }
    if (merged) {
        kernels_.device->write(label_, now.data(), now.size() * sizeof(int32_t));
        kernels_.device->launch(relabel_, shape.n, kernels_.work_group, label_, int32_t(shape.n),
                                int32_t(shape.neighbours), label, previous);
    }
}

void MaintainStage::quantize(const Shape& shape, AnchorGrid grid, UpdateStage& update,
                             AnchorBuffers& anchors) {
    kernels_.device->launch(quantize_, size_t(shape.m) * shape.dp, kernels_.work_group,
                            anchors.anchor8, int32_t(shape.m), int32_t(shape.dp),
                            int32_t(grid == AnchorGrid::float16), anchors.anchor, anchors.spread);
    update.refresh(shape.m, shape.dp, anchors);
}

} // namespace faiss_vlc
