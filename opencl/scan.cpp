#include <opencl/scan.h>

#include <algorithm>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <opencl/upload.h>

namespace faiss_vlc {
namespace {

constexpr size_t kPiece = size_t(32) << 20; ///< bytes uploaded at a time

/// Fields by row, as scan.cl has them.
std::vector<uint32_t> field_table(const Layout& layout) {
    std::vector<uint32_t> table;
    for (int row = 0; row < int(layout.row_lanes.size()); row++) {
        uint32_t is_first = 1;
        for (size_t i = 0; i < layout.fields.size(); i++) {
            const Field& field = layout.fields[i];
            if (field.row != row) {
                continue;
            }
            const uint32_t mask = ((1u << field.width) - 1) * 0x01010101u;
            table.insert(table.end(),
                         {uint32_t(layout.row_offset[row] * kBlock),
                          uint32_t(field.lanes) << 16 | is_first << 8 | uint32_t(field.shift), mask,
                          uint32_t(i)});
            is_first = 0;
        }
    }
    return table;
}

/// Lays a block of `count` vectors out for 16; the rest is zero.
void widen_block(const Layout& layout, const uint8_t* from, int count, uint8_t* to) {
    for (size_t r = 0; r < layout.row_lanes.size(); r++) {
        std::memcpy(to + layout.row_offset[r] * kBlock, from + layout.row_offset[r] * count,
                    size_t(layout.row_lanes[r]) * count);
    }
    std::memcpy(to + layout.code_bytes * kBlock, from + layout.code_bytes * count,
                size_t(kFactorBytes) * count);
}

} // namespace

DeviceLists::DeviceLists(Device& device, const VLCInvertedLists& lists)
    : stamp(lists.stamp()), wide_ids(lists.wide_ids()) {
    const size_t m = lists.nlist;
    std::vector<uint32_t> first(m);
    uint64_t blocks = 0;
    for (size_t j = 0; j < m; j++) {
        first[j] = uint32_t(blocks);
        const size_t in_list = lists.list_size(j);
        sizes.push_back(uint32_t(in_list));
        blocks += (in_list + kBlock - 1) / kBlock;
        if (in_list > uint32_t(-1) || blocks > uint32_t(-1)) {
            fail("searching on OpenCL device '%s': too many vectors for it",
                 device.info().name.c_str());
        }
    }
    size = upload(device, sizes, "lists");
    block = upload(device, first, "lists");
    const size_t block_bytes = lists.code_size * kBlock;
    const size_t id_bytes = size_t(lists.id_bytes());
    codes = device.allocate<uint8_t>(blocks * block_bytes, "codes");
    ids = device.allocate<uint8_t>(blocks * kBlock * id_bytes, "ids");

    std::vector<uint8_t> piece, id_piece;
    uint64_t sent = 0; // blocks
    const auto send = [&] {
        device.write(codes, piece.data(), piece.size(), sent * block_bytes);
        device.write(ids, id_piece.data(), id_piece.size(), sent * kBlock * id_bytes);
        sent += piece.size() / block_bytes;
        piece.clear();
        id_piece.clear();
    };
    for (size_t j = 0; j < m; j++) {
        const size_t whole = sizes[j] / kBlock * block_bytes;
        const size_t rest = sizes[j] % kBlock;
        const size_t at = piece.size();
        piece.insert(piece.end(), lists.blocks(j), lists.blocks(j) + whole);
        id_piece.insert(id_piece.end(), lists.raw_ids(j), lists.raw_ids(j) + sizes[j] * id_bytes);
        if (rest > 0) {
            piece.resize(at + whole + block_bytes);
            widen_block(lists.model->layout, lists.blocks(j) + whole, int(rest),
                        &piece[at + whole]);
            id_piece.resize(id_piece.size() + (kBlock - rest) * id_bytes);
        }
        if (piece.size() > kPiece) {
            send();
        }
    }
    send();
}

ScanStage::Tasks::Tasks(Device& device, int64_t most_pairs, int64_t m, int64_t most_tasks)
    : pair_begin(device.allocate<uint32_t>(m, "search tasks")),
      task_begin(device.allocate<uint32_t>(m, "search tasks")),
      count(device.allocate<uint32_t>(1, "search tasks")),
      pair(device.allocate<uint32_t>(most_pairs, "search tasks")),
      task(device.allocate<uint64_t>(most_tasks, "search tasks")) {}

int64_t ScanStage::most_tasks(int64_t pairs, int64_t m, int64_t largest_list) {
    const int64_t chunks = (largest_list + kChunk - 1) / kChunk;
    return (pairs / kQueries + std::min(pairs, m)) * chunks;
}

ScanStage::ScanStage(const SearchKernels& kernels, const Model& model)
    : kernels_(kernels), m_(model.m), dp_(model.dp()), slots_(model.slots()),
      frames_(int(model.frames.size())), fields_count_(int(model.layout.fields.size())),
      code_size_(model.layout.code_size()), code_bytes_(model.layout.code_bytes),
      inner_product_(model.metric == faiss::METRIC_INNER_PRODUCT), energy_(model.estimator.energy),
      c_(model.estimator.c), lay_out_(kernels.get("lay_out_tasks")),
      gather_(kernels.get("gather_pairs")), list_tasks_(kernels.get("list_tasks")),
      scan_(kernels.get("scan_lists")) {
    std::vector<float> anchors = model.derived().anchor_lattice;
    if (model.grid == AnchorGrid::int8) {
        anchors.assign(model.anchors8.begin(), model.anchors8.end());
    }
    std::vector<float> gammas;
    for (int i = 0; i < kGammaSteps; i++) {
        const Estimator::Step step = model.estimator.step(inner_product_, i);
        gammas.insert(gammas.end(), {step.miss, step.own, step.share});
    }
    Device& device = *kernels_.device;
    fields_ = upload(device, field_table(model.layout), "fields");
    anchors_ = upload(device, anchors, "anchors");
    anchor_rotated_ =
            upload(device,
                   inner_product_ ? std::vector<float>(model.derived().anchor_rotated.size())
                                  : model.derived().anchor_rotated,
                   "rotated anchors");
    steps_ = upload(device, model.derived().step, "steps");
    group_ = upload(device, model.group, "groups");
    spread_ = upload(device, model.spread, "spreads");
    gammas_ = upload(device, gammas, "estimator");
}

void ScanStage::scan(const DeviceLists& lists, const ProbedLists& probed, const Queries& queries,
                     int64_t n, int nprobe, Tasks& tasks, uint64_t stride, Buffer& key) {
    Device& device = *kernels_.device;
    const size_t group = kernels_.group;
    const uint32_t pairs = uint32_t(n * nprobe);
    device.launch(lay_out_, group, group, probed.counts, lists.size, int32_t(m_), kChunk,
                  LocalMemory{group * sizeof(uint32_t)}, tasks.pair_begin, tasks.task_begin,
                  tasks.count);
    device.launch(gather_, pairs, group, probed.probes, probed.slots, pairs, tasks.pair_begin,
                  tasks.pair);
    device.launch(list_tasks_, size_t(m_), group, probed.counts, lists.size, int32_t(m_), kChunk,
                  tasks.task_begin, tasks.task);
    const size_t most = std::min<size_t>(size_t(pairs) + 1, device.info().compute_units * 64);
    device.launch(scan_, most * kScanners, kScanners, fields_, lists.codes, lists.block, lists.size,
                  tasks.task, tasks.count, tasks.pair_begin, probed.counts, tasks.pair,
                  probed.starts, queries.head, queries.lattice, anchors_, queries.rotated,
                  anchor_rotated_, steps_, group_, spread_, gammas_, int32_t(fields_count_),
                  int32_t(code_size_), int32_t(code_bytes_), int32_t(dp_), int32_t(slots_),
                  int32_t(nprobe), int32_t(inner_product_), kChunk, int32_t(frames_),
                  int32_t(queries.rotated_stride), energy_, c_,
                  LocalMemory{size_t(fields_count_) * kQueries * sizeof(uint32_t)}, stride, key);
}

} // namespace faiss_vlc
