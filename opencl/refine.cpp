#include <opencl/refine.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include <faiss_vlc/lib/numeric.h>
#include <opencl/upload.h>

namespace faiss_vlc {
namespace {

constexpr size_t kPiece = size_t(32) << 20; ///< bytes uploaded at a time
constexpr int kInWord = 4;                  ///< bytes, and so levels of a field
constexpr int32_t kNoPlace = -1;

/// What weights are made for: the slot of each of a field's levels, and how far the piece that lies
/// there is up in it.
int32_t place_of(int slot, int up) {
    return slot << 3 | up;
}

struct Fields {
    std::vector<int32_t> places; ///< kInWord a field
    std::vector<uint32_t> masks; ///< of a field's levels
};

/// Of the first tier, in the fields' order.
Fields first_fields(const Layout& layout) {
    Fields fields;
    fields.places.assign(layout.fields.size() * kInWord, kNoPlace);
    for (size_t i = 0; i < layout.fields.size(); i++) {
        const Field& field = layout.fields[i];
        for (int lane = 0; lane < field.lanes; lane++) {
            const size_t slot = i * kInWord + size_t(lane);
            fields.places[slot] = place_of(int(slot), 0);
        }
        fields.masks.push_back(((1u << field.width) - 1) * 0x01010101u);
    }
    return fields;
}

/// Of the second: pieces that lie at the same bits of a word are a field. Word by word.
Fields second_fields(const BitLayout& layout, std::vector<records::PackedField>& table) {
    constexpr int kBits = 8;
    const int words = (layout.code_bytes + kInWord - 1) / kInWord;
    std::vector<int> number(size_t(words) * kBits, -1); // of the field at a word and shift
    for (const BitLayout::Piece& piece : layout.pieces) {
        number[size_t(piece.byte / kInWord * kBits + piece.shift)] = 0;
    }
    Fields fields;
    for (int word = 0; word < words; word++) {
        uint32_t is_first = 1;
        for (int shift = 0; shift < kBits; shift++) {
            int& at = number[size_t(word * kBits + shift)];
            if (at < 0) {
                continue;
            }
            at = int(table.size());
            records::PackedField field{};
            field.row = uint32_t(word * kInWord);
            field.bits = uint32_t(kInWord) << 16 | is_first << 8 | uint32_t(shift);
            field.index = uint32_t(at);
            table.push_back(field);
            is_first = 0;
        }
    }
    fields.places.assign(table.size() * kInWord, kNoPlace);
    for (const BitLayout::Piece& piece : layout.pieces) {
        const int at = number[size_t(piece.byte / kInWord * kBits + piece.shift)];
        const int lane = piece.byte % kInWord;
        table[size_t(at)].mask |= ((1u << piece.width) - 1) << (8 * lane);
        fields.places[size_t(at * kInWord + lane)] = place_of(piece.axis, piece.up);
    }
    for (const records::PackedField& field : table) {
        fields.masks.push_back(field.mask);
    }
    return fields;
}

/// As SecondTier::finish() arranges its frame.
std::vector<int> axes_of(const SecondTier& tier) {
    std::vector<int> axis(static_cast<size_t>(tier.layout.axes()));
    std::iota(axis.begin(), axis.end(), 0);
    return axis;
}

/// What pieces are taken times at most, as LevelWeights has it.
float most_weight(const Fields& fields) {
    int most_up = 0;
    for (const int32_t place : fields.places) {
        most_up = std::max(most_up, place == kNoPlace ? 0 : place & 7);
    }
    return std::floor(32767.0f / float(1 << most_up));
}

} // namespace

uint64_t DeviceSeconds::bytes_of(const VLCInvertedLists& lists) {
    uint64_t places = 0;
    for (size_t j = 0; j < lists.nlist; j++) {
        places += (uint64_t(lists.list_size(j)) + kBlock - 1) / kBlock * kBlock;
    }
    return places * stride_of(lists);
}

DeviceSeconds::DeviceSeconds(Device& device, const VLCInvertedLists& lists)
    : codes(device.allocate<uint8_t>(bytes_of(lists), "second codes")) {
    const size_t stride = stride_of(lists), size = lists.second_size();
    std::vector<uint8_t> piece;
    uint64_t sent = 0;
    const auto send = [&] {
        device.write(codes, piece.data(), piece.size(), sent);
        sent += piece.size();
        piece.clear();
    };
    for (size_t j = 0; j < lists.nlist; j++) {
        const size_t n = lists.list_size(j), at = piece.size();
        piece.resize(at + (n + kBlock - 1) / kBlock * kBlock * stride);
        for (size_t i = 0; i < n; i++) {
            std::memcpy(&piece[at + i * stride], lists.second(j, i), size);
        }
        if (piece.size() > kPiece) {
            send();
        }
    }
    send();
}

bool RefineStage::suits(const Model& model) {
    return model.second && !model.second->by_decoding() && !model.layout.has_words();
}

RefineStage::RefineStage(const SearchKernels& kernels, const Model& model)
    : kernels_(kernels), group_(std::min<size_t>(kernels.group, 128)),
      weigh_(kernels.get("weigh_levels")), refine_(kernels.get("refine_hits")),
      axes_(*kernels.device, &model.second->frame, 1, axes_of(*model.second), model.dp()) {
    Device& device = *kernels_.device;
    const SecondTier& tier = *model.second;
    const Derived& derived = model.derived();
    const auto set = [&](Levels& levels, const Fields& fields, int frames,
                         const std::vector<int16_t>& most, const std::vector<float>& steps) {
        levels.shape.fields = int(fields.masks.size());
        levels.shape.slots = int(most.size());
        levels.shape.frames = frames;
        levels.shape.most_weight = most_weight(fields);
        levels.places = upload(device, fields.places, "fields");
        levels.masks = upload(device, fields.masks, "fields");
        levels.most = upload(device, std::vector<float>(most.begin(), most.end()), "fields");
        levels.steps = upload(device, steps, "steps");
    };
    set(first_, first_fields(model.layout), int(model.frames.size()), derived.levels_less_one,
        derived.step);
    std::vector<records::PackedField> table;
    set(second_, second_fields(tier.layout, table), 1, tier.most, tier.step);
    second_fields_ = upload(device, table, "fields");

    std::vector<float> scales, alphas;
    for (int code = 0; code < 256; code++) {
        scales.push_back(tier.scale(uint8_t(code)));
        alphas.push_back(tier.alpha(code)); // for L2 of 16 codes
    }
    scales_ = upload(device, scales, "factors");
    alphas_ = upload(device, alphas, "factors");
    starts_ = upload(device, derived.start_norm, "anchors' norms");

    shape_.frames = first_.shape.frames;
    shape_.fields = first_.shape.fields;
    shape_.code_size = model.layout.code_size();
    shape_.code_bytes = model.layout.code_bytes;
    shape_.second_fields = second_.shape.fields;
    shape_.second_stride = (tier.code_size() + kInWord - 1) / kInWord * kInWord;
    shape_.second_bytes = tier.layout.code_bytes;
    shape_.factor_bytes = tier.factor_bytes;
    shape_.rest_bits = tier.rest_bits;
    shape_.inner_product = tier.inner_product();
    shape_.start_share = tier.start_share;
    while (group_ > refine_.max_work_group()) {
        group_ /= 2;
    }
}

RefineStage::Queries::Queries(Device& device, const RefineStage& stage, int64_t most_in)
    : most(most_in), count(device.allocate<uint32_t>(1, "refining")),
      number(device.allocate<uint32_t>(most, "refining")),
      turned(device.allocate<float>(most * stage.axes_.stride, "queries to refine")),
      weights(device.allocate<int16_t>(most * stage.shape_.frames * stage.shape_.fields * kInWord,
                                       "queries to refine")),
      weighed(device.allocate<records::Weighed>(most * stage.shape_.frames, "queries to refine")),
      second_weights(device.allocate<int16_t>(most * stage.shape_.second_fields * kInWord,
                                              "queries to refine")),
      second_weighed(device.allocate<records::Weighed>(most, "queries to refine")) {
    std::vector<uint32_t> all(static_cast<size_t>(most));
    std::iota(all.begin(), all.end(), 0u);
    device.write(number, all.data(), all.size() * sizeof(uint32_t));
}

uint64_t RefineStage::query_bytes() const {
    return std::max({uint64_t(axes_.stride) * sizeof(float),
                     uint64_t(shape_.frames) * shape_.fields * kInWord * sizeof(int16_t),
                     uint64_t(shape_.second_fields) * kInWord * sizeof(int16_t)});
}

void RefineStage::launch_weigh(const Levels& levels, const Turned& turned, int64_t n,
                               Buffer& weights, Buffer& weighed) {
    records::WeighShape shape = levels.shape;
    shape.stride = turned.stride;
    shape.most = int(turned.most);
    const size_t groups = size_t(n + kTeams - 1) / kTeams * size_t(shape.frames);
    kernels_.device->launch(weigh_, groups * kTeams * kLanes, kTeams * kLanes, shape, levels.places,
                            levels.masks, levels.most, levels.steps, turned.rotated, turned.counts,
                            turned.queries, weights, weighed);
}

void RefineStage::weigh(RankStage& rank, const RankStage::Queries& queries,
                        const ProbedLists& probed, int64_t n, Queries& own) {
    kernels_.device->fill(own.count, int32_t(n), sizeof(uint32_t));
    rank.rotate(queries, n, {axes_, own.count, own.number, own.most, false, own.turned});
    launch_weigh(second_, {own.turned, axes_.stride, own.count, own.number, own.most}, n,
                 own.second_weights, own.second_weighed);
    launch_weigh(first_,
                 {queries.rotated, rank.rotated_stride(), probed.frame_counts, probed.frame_queries,
                  probed.most},
                 n, own.weights, own.weighed);
}

void RefineStage::refine(const Hits& hits, const ScanStage& scan, const Queries& own, int64_t n,
                         int k, bool as_places, SelectStage::Best& best) {
    records::RefineShape shape = shape_;
    shape.nprobe = hits.probed.nprobe;
    shape.refined = hits.many;
    shape.k = k;
    shape.as_places = as_places;
    shape.wide_ids = hits.lists.wide_ids;
    kernels_.device->launch(
            refine_, size_t(n) * group_, group_, shape, hits.best.label, hits.best.found,
            hits.probed.probes, hits.probed.slots, hits.tasks.pair_begin, hits.tasks.base,
            hits.lists.block, scan.traits(), starts_, scan.fields(), hits.lists.codes, own.weights,
            own.weighed, second_fields_, hits.seconds.codes, own.second_weights, own.second_weighed,
            scales_, alphas_, hits.lists.ids, LocalMemory{size_t(hits.many) * sizeof(int32_t)},
            best.key, best.label, best.found);
}

} // namespace faiss_vlc
