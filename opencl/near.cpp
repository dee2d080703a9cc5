#include <opencl/near.h>

#include <algorithm>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/train/stages/near.h>
#include <opencl/sizes.h>

namespace faiss_vlc {

namespace {

constexpr int kSegment = 256;              // NEAR_SEGMENT in near.cl
constexpr int kOverread = 64;              // anchors: kernels take up to 4 tiles at once
constexpr int64_t kMaxScores = 1 << 24;    ///< twice as many where tensor cores make them
constexpr int64_t kScoringItems = 1 << 17; // work-items that keep a large GPU busy
constexpr size_t kBins = 256 + 4;          // BINS in near.cl and the numbers behind them
constexpr size_t kFew = 3 * 1024;          // 3 x CANDIDATES in near.cl
constexpr size_t kSelecting = 128;     // work-items to an anchor: 2 x 128 are looked for at once
constexpr int64_t kScoreRows = 64;     // SCORE_ROWS in near_mma.cl
constexpr int64_t kScoreColumns = 128; // SCORE_COLUMNS

} // namespace

NearStage::NearStage(const KernelSet& kernels, const Shape& shape)
    : kernels_(kernels), shape_(shape), pack_(kernels.get("pack_anchors")),
      score_(kernels.get("score_anchors")), select_(kernels.get("select_near")),
      count_(kernels.get(kernels.dot.on_host() ? "count_label_parts" : "count_labels")),
      prefix_(kernels.get("prefix")),
      scatter_(kernels.get(kernels.dot.on_host() ? "scatter_row_parts" : "scatter_rows")),
      assign_(kernels.get(kernels.dot.on_host() ? "assign_near_packed" : "assign_near")) {
    if (kernels.dot.on_host()) {
        add_parts_ = &kernels.get("add_parts");
    }
    if (kernels.dot.program != Program::kGeneral) {
        score_mma_ = &kernels.device->kernel("score_mma", "", Program::kNearMma);
    }
}

void NearStage::score_anchors(int begin, int count, const AnchorBuffers& anchors) {
    Device& device = *kernels_.device;
    const int32_t m = shape_.m;
    const int32_t dp = shape_.dp;
    const int32_t padded = AssignStage::padded_anchors(m);
    if (score_mma_) {
        const int64_t tiles = (count + kScoreRows - 1) / kScoreRows * (padded / kScoreColumns);
        device.launch(*score_mma_, size_t(tiles) * 128, 128, anchors.anchor8, anchors.norm,
                      int32_t(begin), int32_t(count), m, padded, dp, scores_);
        return;
    }
    if (kernels_.dot.by_loops) {
        const MappedBuffer anchors8 = device.map(anchors.anchor8), norm = device.map(anchors.norm);
        const MappedBuffer packed = device.map(packed_), scores = device.map(scores_);
        const AnchorView view{m, dp, anchors8.as<int8_t>(), norm.as<int32_t>()};
        if (begin == 0) {
            by_loops_.begin(view);
        }
        by_loops_.score(view, packed.as<int8_t>(), begin, count, padded, scores.as<int32_t>());
        device.count_launch("score_anchors");
        return;
    }
    const int64_t row_blocks = (int64_t(count) + kernels_.dot.rows - 1) / kernels_.dot.rows;
    const int64_t tiles = padded / 16;
    const int64_t share = kernels_.dot.on_host()
                                  ? tiles
                                  : std::max<int64_t>(1, row_blocks * tiles / kScoringItems);
    device.launch(score_, size_t(row_blocks * ((tiles + share - 1) / share)),
                  kernels_.dot.on_host() ? 1 : kernels_.work_group, anchors.anchor8, packed_,
                  start_, anchors.norm, int32_t(begin), int32_t(count), m, padded, dp,
                  int32_t(share), scores_);
}

void NearStage::make_lists(int length, const AnchorBuffers& anchors) {
    Device& device = *kernels_.device;
    const int32_t m = shape_.m;
    const int32_t dp = shape_.dp;
    const int32_t padded = AssignStage::padded_anchors(m);
    const int32_t stride = near_stride(length);
    if (length < 1 || length > m) {
        fail("a list of near anchors has 1 to %d, not %d", m, length);
    }
    if (!scores_.handle()) {
        const int64_t most = score_mma_ ? 2 * kMaxScores : kMaxScores;
        batch_ = int(std::clamp<int64_t>(most / padded, 1, m));
        if (!score_mma_) {
            packed_ = device.allocate<uint8_t>(uint64_t(padded) * dp, "packed anchors");
            start_ = device.allocate<int32_t>(padded, "packed anchors");
        }
        scores_ = device.allocate<int32_t>(uint64_t(batch_) * padded, "scores of anchors");
        if (add_parts_) {
            part_count_ = device.allocate<int32_t>(
                    uint64_t(m) * row_parts(shape_.n, m, device.info().compute_units),
                    "rows of anchors in parts");
        }
        row_count_ = device.allocate<int32_t>(m, "rows of anchors");
        first_row_ = device.allocate<int32_t>(m + 1, "rows of anchors");
        first_segment_ = device.allocate<int32_t>(m + 1, "segments of rows");
        order_ = device.allocate<int32_t>(shape_.n, "rows by anchor");
    }
    if (stride > list_stride_) {
        list_ = device.allocate<int32_t>(uint64_t(m) * stride, "lists of near anchors");
        list_stride_ = stride;
    }
    length_ = length;
    const size_t one = kernels_.dot.on_host()
                               ? 1
                               : std::min(kSelecting, select_.max_work_group()); // to an anchor
    if (!score_mma_) {
        device.launch(pack_, padded, kernels_.work_group, anchors.anchor8, m, dp, padded, packed_,
                      start_);
    }
    for (int32_t begin = 0; begin < m; begin += batch_) {
        const int32_t count = std::min(batch_, m - begin);
        score_anchors(begin, count, anchors);
        device.launch(select_, size_t(count) * one, one, scores_, begin, m, padded, int32_t(length),
                      stride, list_, LocalMemory{std::max<size_t>(one, 2) * sizeof(int32_t)},
                      LocalMemory{one * sizeof(int32_t)}, LocalMemory{kBins * sizeof(int32_t)},
                      LocalMemory{(kernels_.dot.on_host() ? 1 : kFew) * sizeof(int32_t)});
    }
}

void NearStage::sort_rows(int n, const Buffer& previous) {
    Device& device = *kernels_.device;
    const size_t group = kernels_.work_group;
    const int32_t m = shape_.m;
    const int32_t parts = row_parts(n, m, device.info().compute_units);
    if (add_parts_) {
        device.launch(count_, parts, 1, previous, int32_t(n), m, parts, part_count_);
        device.launch(*add_parts_, m, group, part_count_, m, parts, row_count_);
    } else {
        device.fill(row_count_, 0, m * sizeof(int32_t));
        device.launch(count_, n, group, previous, int32_t(n), row_count_);
    }
    device.launch(prefix_, group, group, row_count_, m, first_row_, first_segment_,
                  LocalMemory{group * sizeof(int32_t)}, LocalMemory{group * sizeof(int32_t)});
    if (add_parts_) {
        device.launch(scatter_, parts, 1, previous, int32_t(n), m, parts, first_row_, part_count_,
                      order_);
    } else {
        device.launch(scatter_, n, group, previous, int32_t(n), row_count_, order_);
    }
}

void NearStage::assign_by_loops(const Buffer& rows, const Buffer& row_constant,
                                const AnchorBuffers& anchors, Buffer& label, Buffer& dist) {
    Device& device = *kernels_.device;
    const MappedBuffer x = device.map(rows), square = device.map(row_constant);
    const MappedBuffer first = device.map(first_row_), order = device.map(order_);
    const MappedBuffer anchors8 = device.map(anchors.anchor8), norm = device.map(anchors.norm);
    const MappedBuffer bias = device.map(anchors.bias), list = device.map(list_);
    const MappedBuffer labels = device.map(label), dists = device.map(dist);
    assign_near_by_loops(
            {x.as<int8_t>(), square.as<int32_t>(), first.as<int32_t>(), order.as<int32_t>()},
            {shape_.m, shape_.dp, anchors8.as<int8_t>(), norm.as<int32_t>(), bias.as<int32_t>()},
            length_, list.as<int32_t>(),
            {shape_.neighbours, labels.as<int32_t>(), dists.as<int32_t>()});
    device.count_launch("assign_near_packed");
}

void NearStage::assign(int n, const Buffer& rows, const Buffer& row_constant,
                       const AnchorBuffers& anchors, const Buffer& previous, Buffer& label,
                       Buffer& dist) {
    if (length_ == 0) {
        fail("rows are to be assigned by lists of near anchors, but there are none");
    }
    sort_rows(n, previous);
    const int32_t m = shape_.m;
    const int32_t dp = shape_.dp;
    const int32_t stride = near_stride(length_);
    const int32_t neighbours = shape_.neighbours;
    if (kernels_.dot.by_loops) {
        assign_by_loops(rows, row_constant, anchors, label, dist);
        return;
    }
    if (kernels_.dot.on_host()) {
        const size_t local = (size_t(stride) + kOverread) * (dp + 8);
        const auto& info = kernels_.device->info();
        if (local > info.local_mem) { // PoCL would abort
            fail("OpenCL device '%s': near lists of %d anchors in %d dimensions take %zu bytes of "
                 "local memory, it has %llu",
                 info.name.c_str(), length_, shape_.d, local, (unsigned long long)info.local_mem);
        }
        kernels_.device->launch(assign_, m, 1, rows, row_constant, anchors.anchor8, anchors.norm,
                                anchors.bias, first_row_, order_, list_, m, dp, stride, neighbours,
                                label, dist, LocalMemory{local});
        return;
    }
    const size_t group = kernels_.work_group;
    const size_t segments = size_t(n) / kSegment + m; // at most
    kernels_.device->launch(assign_, segments * group, group, rows, anchors.anchor8, anchors.norm,
                            anchors.bias, first_row_, first_segment_, order_, list_, m, dp, stride,
                            neighbours, label, dist, LocalMemory{stride * sizeof(int32_t)});
}

} // namespace faiss_vlc
