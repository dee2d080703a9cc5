#include <opencl/scan.h>

#include <algorithm>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <opencl/upload.h>

namespace faiss_vlc {
namespace {

constexpr size_t kPiece = size_t(32) << 20; ///< bytes uploaded at a time
constexpr uint64_t kMostTables = 256 << 20; ///< bytes of tables in global memory

/// Fields by row.
std::vector<records::PackedField> field_table(const Layout& layout) {
    std::vector<records::PackedField> table;
    for (int row = 0; row < int(layout.row_lanes.size()); row++) {
        uint32_t is_first = 1;
        for (size_t i = 0; i < layout.fields.size(); i++) {
            const Field& field = layout.fields[i];
            if (field.row != row) {
                continue;
            }
            records::PackedField packed{};
            packed.row = uint32_t(layout.row_offset[row] * kBlock);
            packed.bits = uint32_t(field.lanes) << 16 | is_first << 8 | uint32_t(field.shift);
            packed.mask = ((1u << field.width) - 1) * 0x01010101u;
            packed.index = uint32_t(i);
            table.push_back(packed);
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
                size_t(layout.factor_bytes) * count);
}

/// How tables of the model's words are made: what query/word_tables.cpp and the CPU's kernels take
/// for all queries alike.
records::WordShape word_shape(const Model& model) {
    const Layout& layout = model.layout;
    const float unit = model.codebook.unit;
    const float energy = model.estimator.energy;
    records::WordShape shape{};
    shape.blocks = layout.blocks();
    shape.few_blocks = layout.has_few_blocks();
    shape.factor_bytes = layout.factor_bytes;
    if (model.metric == faiss::METRIC_L2 && layout.factor_bytes < 2) {
        shape.norms = layout.factor_bytes > 0 ? 2 : 1;
        shape.usual = layout.factor_bytes > 0 ? model.estimator.kappa * energy / (unit * unit) : 0;
    }
    shape.limit = float(Codebook::limit(layout));
    shape.unit = unit;
    shape.room = table_room(shape.blocks, layout.has_few_blocks());
    return shape;
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
    const size_t block_bytes = lists.first_size() * kBlock;
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
      pair(device.allocate<records::Pair>(most_pairs, "search tasks")),
      task(device.allocate<records::Task>(most_tasks, "search tasks")),
      base(device.allocate<float>(most_pairs, "search tasks")) {}

int64_t ScanStage::most_tasks(int64_t pairs, int64_t m, int64_t largest_list) {
    const int64_t chunks = (largest_list + kChunk - 1) / kChunk;
    return (pairs / kQueries + std::min(pairs, m)) * chunks;
}

size_t ScanStage::table_bytes(const Model& model) {
    const size_t blocks = size_t(model.layout.blocks());
    return blocks == 0 ? 0
                       : blocks * (kWords * sizeof(uint32_t) + 2 * sizeof(float)) +
                                 size_t(model.slots()) * sizeof(int16_t);
}

ScanStage::ScanStage(const SearchKernels& kernels, const Model& model)
    : kernels_(kernels), lay_out_(kernels.get("lay_out_tasks")),
      gather_(kernels.get("gather_pairs")), list_tasks_(kernels.get("list_tasks")),
      scan_(kernels.get(model.layout.has_words() ? "scan_words" : "scan_lists")) {
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    shape_.m = model.m;
    shape_.fields = int(model.layout.fields.size());
    shape_.code_size = model.layout.code_size();
    shape_.code_bytes = model.layout.code_bytes;
    shape_.dp = model.dp();
    shape_.slots = model.slots();
    shape_.frames = int(model.frames.size());
    shape_.inner_product = inner_product;
    shape_.chunk = kChunk;
    shape_.energy = model.estimator.energy;
    shape_.c = model.estimator.c;
    shape_.most_distance = model.estimator.most_distance;
    shape_.usual_length = model.estimator.usual_length;

    const Derived& derived = model.derived();
    std::vector<float> anchors = derived.anchor_lattice;
    if (anchors.empty()) {
        anchors.assign(model.anchors8.begin(), model.anchors8.end());
    }
    std::vector<records::GammaStep> gammas;
    for (int i = 0; i < kGammaSteps; i++) {
        const Estimator::Step step = model.estimator.step(inner_product, i);
        gammas.push_back({step.miss, step.own, step.share, model.estimator.far[i]});
    }
    std::vector<records::ListTraits> traits;
    for (int j = 0; j < model.m; j++) {
        traits.push_back(
                {model.layout.factor_bytes > 0 ? Estimator::list_scale(model.spread[j]) : 1.0f,
                 model.estimator.length_unit(model.spread[j]), model.group[j]});
    }
    Device& device = *kernels_.device;
    gammas_ = upload(device, gammas, "estimator");
    traits_ = upload(device, traits, "spreads");
    anchors_ = upload(device, anchors, "anchors");
    anchor_rotated_ = upload(device,
                             inner_product ? std::vector<float>(derived.anchor_rotated.size())
                                           : derived.anchor_rotated,
                             "rotated anchors");
    if (model.layout.has_words()) {
        upload_words(model);
    } else {
        planes_bytes_ = size_t(shape_.fields) * kQueries * sizeof(uint32_t) * planes(model);
        fields_ = upload(device, field_table(model.layout), "fields");
        steps_ = upload(device, derived.step, "steps");
    }
}

void ScanStage::upload_words(const Model& model) {
    Device& device = *kernels_.device;
    words_.shape = word_shape(model);
    words_.table_bytes = table_bytes(model);
    words_.group = kernels_.group;
    while (words_.group > scan_.max_work_group()) {
        words_.group /= 2;
    }
    words_.most_groups = int64_t(device.info().compute_units) * 64;
    words_.slot = upload(device, model.layout.block_slot, "words");
    words_.book = upload(device, model.codebook.words, "words");
    words_.norms = upload(device, model.derived().penalty, "words");
    if (!kernels_.local_tables) {
        const size_t words = words_.table_bytes / sizeof(uint32_t);
        words_.shape.table_size = int(words);
        words_.most_groups =
                std::clamp<int64_t>(kMostTables / words_.table_bytes, 1, words_.most_groups / 8);
        words_.tables = device.allocate<uint32_t>(words_.most_groups * words, "tables of words");
    }
}

void ScanStage::scan(const DeviceLists& lists, const ProbedLists& probed, const Queries& queries,
                     int64_t n, Tasks& tasks, Estimates& estimates) {
    Device& device = *kernels_.device;
    const size_t group = kernels_.group;
    const size_t pairs = size_t(n) * probed.nprobe;
    records::ScanShape shape = shape_;
    shape.stride = estimates.stride;
    shape.nprobe = probed.nprobe;
    shape.rotated_stride = queries.rotated_stride;
    device.launch(lay_out_, group, group, shape, probed.counts, lists.size,
                  LocalMemory{group * sizeof(uint32_t)}, tasks.pair_begin, tasks.task_begin,
                  tasks.count);
    device.launch(gather_, pairs, group, shape, uint32_t(pairs), probed.probes, probed.slots,
                  probed.starts, tasks.pair_begin, tasks.pair);
    device.launch(list_tasks_, size_t(shape.m), group, shape, probed.counts, lists.size,
                  lists.block, tasks.pair_begin, tasks.task_begin, tasks.task);
    const size_t groups = std::min<size_t>(pairs + 1, device.info().compute_units * 64);
    if (words_.group > 0) {
        scan_words(lists, queries, shape, groups, tasks, estimates);
    } else {
        scan_levels(lists, queries, shape, groups, tasks, estimates);
    }
}

void ScanStage::scan_levels(const DeviceLists& lists, const Queries& queries,
                            const records::ScanShape& shape, size_t groups, Tasks& tasks,
                            Estimates& estimates) {
    kernels_.device->launch(scan_, groups * kScanners, kScanners, shape, fields_, gammas_, traits_,
                            anchors_, anchor_rotated_, steps_, lists.codes, queries.head,
                            queries.lattice, queries.rotated, tasks.pair, tasks.task, tasks.count,
                            LocalMemory{planes_bytes_}, tasks.base, estimates.key);
}

void ScanStage::scan_words(const DeviceLists& lists, const Queries& queries,
                           const records::ScanShape& shape, size_t groups, const Tasks& tasks,
                           Estimates& estimates) {
    const size_t items = std::min(groups, size_t(words_.most_groups)) * words_.group;
    const auto launch = [&](const auto& tables) {
        kernels_.device->launch(scan_, items, words_.group, shape, words_.shape, gammas_, traits_,
                                anchors_, anchor_rotated_, words_.slot, words_.book, words_.norms,
                                lists.codes, queries.head, queries.lattice, queries.rotated,
                                tasks.pair, tasks.task, tasks.count, tables, estimates.key);
    };
    if (kernels_.local_tables) {
        launch(LocalMemory{words_.table_bytes});
    } else {
        launch(words_.tables);
    }
}

} // namespace faiss_vlc
