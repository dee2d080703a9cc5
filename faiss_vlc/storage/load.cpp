#include <faiss_vlc/storage/load.h>

#include <algorithm>
#include <cmath>

#include <faiss/impl/FaissException.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/lib/paging.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/storage/head.h>
#include <faiss_vlc/storage/sections.h>

namespace faiss_vlc {

namespace {

/// Checks a value of a section; the message is led by the reader's file and section.
void expect(bool ok, const ByteReader& reader, const char* name, double met, const char* expected) {
    if (!ok) {
        fail("%s: %s: expected %s, got %g", reader.what().c_str(), name, expected, met);
    }
}

float finite(ByteReader& reader, const char* name) {
    const float v = reader.f32();
    expect(std::isfinite(v), reader, name, v, "a finite number");
    return v;
}

void read_anchors(ByteReader r, Model& model) {
    model.grid = AnchorGrid(r.u32());
    expect(model.grid == AnchorGrid::int8 || model.grid == AnchorGrid::float16, r, "grid",
           double(model.grid), "0 (int8) or 1 (float16)");
    const uint64_t count = uint64_t(model.m) * model.d;
    const int pad = model.dp();
    const auto put = [&](uint64_t i, float value) {
        expect(value >= -127 && value <= 127, r, "anchor component", value, "-127 to 127");
        // halves up, as training rounds anchors
        model.anchors8[i / model.d * pad + i % model.d] = int8_t(std::floor(value + 0.5f));
    };
    if (model.grid == AnchorGrid::int8) {
        const std::vector<int8_t> values = r.array<int8_t>(count);
        r.expect_end();
        model.anchors8.assign(uint64_t(model.m) * pad, 0);
        for (uint64_t i = 0; i < count; i++) {
            put(i, values[i]);
        }
    } else {
        model.anchors16 = r.array<uint16_t>(count);
        r.expect_end();
        model.anchors8.assign(uint64_t(model.m) * pad, 0);
        for (uint64_t i = 0; i < count; i++) {
            put(i, half_to_float(model.anchors16[i]));
        }
    }
}

void read_routing(ByteReader r, Model& model) {
    expect(model.metric == faiss::METRIC_INNER_PRODUCT, r, "metric", double(model.metric),
           "0, the inner product");
    expect(model.grid == AnchorGrid::float16, r, "grid", double(model.grid), "1 (float16)");
    expect(model.d + Routing::kRankComponents <= kMaxDim, r, "d", model.d, "at most 4080");
    Routing& routing = model.routing;
    const float weight = r.f32();
    expect(weight > 0 && weight <= 64, r, "weight", weight, "above 0, at most 64");
    routing.lengths = r.array<float>(Routing::kSteps + 1);
    for (size_t i = 0; i < routing.lengths.size(); i++) {
        const float length = routing.lengths[i];
        expect(std::isfinite(length) && length >= (i > 0 ? routing.lengths[i - 1] : 0), r, "length",
               length, "finite numbers from 0, rising");
    }
    Lattice directions;
    directions.d = model.d;
    directions.scale = r.f32();
    expect(std::isfinite(directions.scale) && directions.scale > 0, r, "scale", directions.scale,
           "a finite number above 0");
    directions.mean = r.array<float>(uint64_t(model.d));
    for (float v : directions.mean) {
        expect(std::isfinite(v), r, "mean", v, "a finite number");
    }
    routing.set_weight(weight, directions);
    const uint64_t own = uint64_t(routing.lattice.d);
    const std::vector<int8_t> anchors = r.array<int8_t>(model.m * own);
    r.expect_end();
    routing.anchors.assign(uint64_t(model.m) * routing.dp(), 0);
    for (uint64_t i = 0; i < anchors.size(); i++) {
        expect(anchors[i] != -128, r, "anchor component", anchors[i], "-127 to 127");
        routing.anchors[i / own * routing.dp() + i % own] = anchors[i];
    }
    model.round_anchors();
}

void read_regions(ByteReader r, Model& model) {
    Regions& regions = model.regions;
    const uint32_t count = r.u32();
    expect(count >= 2 && count <= uint32_t(model.m), r, "regions", count, "2 to m");
    const uint32_t levels = r.u32();
    expect(levels >= 1 && levels <= Regions::kLevels, r, "numbers of regions looked into", levels,
           "1 to 13");
    regions.visits = r.array<int32_t>(levels);
    int32_t last = 1;
    for (const int32_t visits : regions.visits) {
        expect(visits >= last && visits <= int32_t(count), r, "regions looked into", visits,
               "1 to the number of regions, rising");
        last = visits;
    }
    const std::vector<int8_t> centres = r.array<int8_t>(uint64_t(count) * model.d);
    regions.centres.assign(uint64_t(count) * model.dp(), 0);
    for (uint64_t i = 0; i < centres.size(); i++) {
        expect(centres[i] != -128, r, "centre component", centres[i], "-127 to 127");
        regions.centres[i / model.d * model.dp() + i % model.d] = centres[i];
    }
    regions.of = r.array<int32_t>(uint64_t(model.m));
    r.expect_end();
    std::vector<uint8_t> has_anchors(count, 0);
    for (const int32_t region : regions.of) {
        expect(region >= 0 && region < int32_t(count), r, "region of an anchor", region,
               "less than the number of regions");
        has_anchors[region] = 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        expect(has_anchors[i], r, "region", i, "one that has anchors");
    }
    regions.finish(int(count));
}

/// The rest of a section. factor_bytes: what the code size has besides.
Layout read_layout(ByteReader& r, uint32_t code_size, uint32_t factor_bytes, uint32_t d) {
    const uint32_t code_bytes = r.u32();
    expect(code_bytes >= 1 && code_bytes <= d, r, "code bytes", code_bytes,
           "1 to d, 8 bits for each dimension");
    expect(code_bytes + factor_bytes == code_size, r, "code bytes", code_bytes,
           "the code size less the factors'");
    const uint32_t count = r.u32();
    expect(count <= code_bytes * 8, r, "fields", count, "at most 8 for each byte");
    std::vector<Field> fields(count);
    for (Field& f : fields) {
        f.first = r.u16();
        f.row = r.u16();
        f.lanes = r.u8();
        f.width = r.u8();
        f.shift = r.u8();
        const int zero = r.u8();
        expect(zero == 0, r, "filler", zero, "0");
    }
    r.expect_end();
    Layout layout = Layout::from_fields(int(code_bytes), fields);
    expect(layout.axes <= int(d) + 3, r, "axes with bits", layout.axes,
           "d, and up to 3 of padding");
    for (uint32_t i = 0; i < count; i++) {
        expect(layout.fields[i].first == fields[i].first, r, "first axis of a field",
               fields[i].first, "fields by shift, then by row");
    }
    return layout;
}

void read_words(ByteReader r, uint32_t code_size, Model& model) {
    const uint32_t code_bytes = r.u32();
    const uint32_t factors = r.u32();
    expect(factors <= kWholeWords, r, "factor bytes", factors,
           "0, 1 or 2, or 3: none, and words of whole vectors");
    model.whole_words = factors == kWholeWords;
    const uint32_t factor_bytes = model.whole_words ? 0 : factors;
    const uint32_t most = uint32_t(model.d) + kFactorBytes;
    expect(code_bytes >= 1 && code_bytes <= most, r, "code bytes", code_bytes, "1 to d + 2");
    expect(code_bytes + factor_bytes == code_size, r, "code bytes", code_bytes,
           "the code size less the factors'");
    const uint32_t axes = r.u32();
    expect(axes >= 1 && axes <= uint32_t(model.d), r, "axes", axes, "1 to d");
    model.layout = Layout::of_blocks(int(code_bytes), int(factor_bytes), int(axes));
    model.codebook.unit = r.f32();
    expect(model.codebook.unit >= 1e-15f && model.codebook.unit <= 1e15f, r, "unit",
           model.codebook.unit, "1e-15 to 1e15");
    const int limit = Codebook::limit(model.layout);
    const std::vector<int> axis = model.layout.slot_axis();
    model.codebook.words.assign(size_t(model.layout.slots()) * kWords, 0);
    for (int s = 0; s < model.layout.slots(); s++) {
        for (int word = 0; word < kWords && axis[s] >= 0; word++) {
            const auto v = int16_t(r.u16());
            expect(v >= -limit && v <= limit, r, "component of a word", v, "within the limit");
            model.codebook.at(s, word) = v;
        }
    }
    r.expect_end();
}

/// The rows of a frame, int8 each.
void read_rows(ByteReader& r, Frame& frame) {
    frame.rows = r.array<int8_t>(uint64_t(frame.kept) * frame.d);
    for (int8_t v : frame.rows) {
        expect(v != -128, r, "axis component", v, "-127 to 127");
    }
    for (int i = 0; i < frame.kept; i++) {
        expect(frame.inverse_norm(i) > 0, r, "axis", i, "one that is not zero");
    }
}

void read_frame(ByteReader r, Model& model) {
    const uint32_t kept = r.u32();
    expect(kept == uint32_t(std::min(model.layout.axes, model.d)), r, "axes", kept,
           "as many as the layout codes");
    const uint32_t frames = r.u32();
    const bool words = model.layout.has_words();
    expect(frames <= kMaxGroups && (frames >= 1 || words), r, "frames", frames,
           words ? "1 to 64, or 0: the vectors' own axes" : "1 to 64");
    if (frames == 0) {
        expect(int(kept) == model.d, r, "axes", kept, "d, for the vectors' own axes");
        const std::vector<uint8_t> none = r.array<uint8_t>(model.m);
        r.expect_end();
        model.group.assign(model.m, 0);
        expect(none == model.group, r, "frame of an anchor", 1, "0");
        model.frames = {Frame::own_axes(model.d)};
        return;
    }
    model.group = r.array<uint8_t>(model.m);
    for (uint8_t g : model.group) {
        expect(g < frames, r, "frame of an anchor", g, "less than the number of frames");
    }
    for (uint32_t g = 0; g < frames; g++) {
        Frame frame;
        frame.d = model.d;
        frame.kept = int(kept);
        read_rows(r, frame);
        model.frames.push_back(std::move(frame));
    }
    r.expect_end();
}

std::shared_ptr<const SecondTier> read_second(ByteReader r, const IndexHead& head) {
    auto tier = std::make_shared<SecondTier>();
    const uint32_t code_bytes = r.u32();
    const uint32_t factor_bytes = r.u32();
    const bool product = head.metric == faiss::METRIC_INNER_PRODUCT;
    expect(factor_bytes == 1 ||
                   (product ? factor_bytes == 2 : factor_bytes == 3 || factor_bytes == 4),
           r, "factor bytes", factor_bytes, product ? "1 or 2 for inner products" : "1, 3 or 4");
    tier->factor_bytes = int(factor_bytes);
    expect(code_bytes >= 1 && code_bytes <= head.d, r, "code bytes", code_bytes, "1 to d");
    expect(code_bytes + uint32_t(tier->factor_bytes) < head.code_size, r, "code bytes", code_bytes,
           "fewer than both tiers have");
    const uint32_t axes = r.u32();
    expect(axes >= 1 && axes <= head.d, r, "axes", axes, "1 to d");
    const uint32_t refined = r.u32();
    expect(refined >= 1 && refined <= 1u << 24, r, "vectors refined", refined, "1 to 2^24");
    tier->refined = int(refined);
    const uint32_t usual = r.u32();
    expect(usual >= 1 && usual <= refined, r, "vectors usually refined", usual,
           "1 to those refined");
    tier->refined_usual = int(usual);
    tier->refined_base = r.i64();
    expect(tier->refined_base >= 1, r, "base", double(tier->refined_base), "1 or above");
    tier->growth = finite(r, "growth");
    expect(tier->growth >= 0 && tier->growth <= 1, r, "growth", tier->growth, "0 to 1");
    tier->range_slack = finite(r, "range slack");
    expect(tier->range_slack >= 0, r, "range slack", tier->range_slack, "0 or above");
    tier->unit = finite(r, "unit");
    expect(tier->unit >= 0 && tier->unit <= 1e15f, r, "unit", tier->unit, "0 to 1e15");
    tier->low = finite(r, "low");
    tier->high = finite(r, "high");
    expect(tier->low > -1 && tier->high > tier->low && tier->high <= 100, r, "alpha", tier->low,
           "above -1, rising to 100 at most");
    std::vector<uint8_t> width = r.array<uint8_t>(axes);
    expect(width.back() > 0 || axes == 1, r, "width of the last axis", width.back(), "above 0");
    try {
        tier->layout = BitLayout::of_widths(int(code_bytes), std::move(width));
    } catch (const faiss::FaissException& error) {
        fail("%s: %s", r.what().c_str(), error.what());
    }
    tier->sigma = r.array<float>(axes);
    for (float s : tier->sigma) {
        expect(std::isfinite(s) && s >= 0 && s < 1e6f, r, "sigma", s, "0 to 1e6");
    }
    tier->frame.d = int(head.d);
    tier->frame.kept = int(axes);
    read_rows(r, tier->frame);
    r.expect_end();
    tier->finish();
    return tier;
}

void read_sigma(ByteReader sigma, Model& model) {
    model.sigma = sigma.array<float>(model.frames.size() * model.frames[0].kept);
    sigma.expect_end();
    for (float s : model.sigma) {
        expect(std::isfinite(s) && s >= 0 && s < 1e6f, sigma, "sigma", s, "0 to 1e6");
    }
}

void read_rising(ByteReader& reader, const char* name, float* values) {
    for (int i = 0; i < kGammaSteps; i++) {
        values[i] = finite(reader, name);
        expect(values[i] > 0 && (i == 0 || values[i] >= values[i - 1]), reader, name, values[i],
               "above 0 and rising");
    }
}

void read_recall(ByteReader r, Model& model) {
    HeldOutRecall& recall = model.recall;
    for (int64_t* size : {&recall.queries, &recall.base, &recall.sought, &recall.nprobe}) {
        *size = r.u32();
        expect(*size > 0, r, "a size of the held-out part", double(*size), "above 0");
    }
    for (int64_t* count : {&recall.in_lists, &recall.decoded, &recall.estimated, &recall.probed,
                           &recall.product, &recall.on_lattice}) {
        *count = r.u32();
        expect(*count <= recall.sought, r, "neighbours found", double(*count),
               "at most those sought");
    }
    model.usual_length = finite(r, "usual length");
    expect(model.usual_length >= 0, r, "usual length", model.usual_length, "0 or above");
    r.expect_end();
}

AddedRows read_added(ByteReader r) {
    AddedRows added;
    added.rows = r.i64();
    added.outside = r.i64();
    added.twice = r.i64();
    added.farthest = finite(r, "farthest row");
    expect(added.twice >= 0 && added.outside >= added.twice && added.rows >= added.outside, r,
           "rows outside", double(added.outside), "at most all rows, at least those twice as far");
    expect(added.farthest >= 0, r, "farthest row", added.farthest, "0 or above");
    r.expect_end();
    return added;
}

/// What is there of it: nothing depends on it.
void read_training(const SectionReader& sections, TrainingRecord& record) {
    if (!sections.has(section::kTraining)) {
        return; // nor is the energy of use then
    }
    ByteReader training = sections.read(section::kTraining);
    record.n = training.i64();
    record.iterations = training.i32();
    record.seed = training.u32();
    record.energy_train = training.f32();
    record.energy_held = training.f32();
    training.expect_end();
    if (sections.has(section::kEnergy)) {
        ByteReader r = sections.read(section::kEnergy);
        expect(record.iterations >= 1, r, "iterations", record.iterations,
               "1 or more, of section training");
        record.energies = r.array<float>(uint64_t(record.iterations));
        for (const float energy : record.energies) {
            expect(std::isfinite(energy) && energy >= 0, r, "energy", energy,
                   "a finite number, 0 or above");
        }
        r.expect_end();
    }
}

std::shared_ptr<Model> read_model(const SectionReader& sections, const IndexHead& head) {
    auto model = std::make_shared<Model>();
    model->d = int(head.d);
    model->m = int(head.m);
    model->metric = faiss::MetricType(head.metric);

    ByteReader lattice = sections.read(section::kLattice);
    model->lattice.d = model->d;
    model->lattice.scale = lattice.f32();
    expect(std::isfinite(model->lattice.scale) && model->lattice.scale > 0, lattice, "scale",
           model->lattice.scale, "a finite number above 0");
    model->lattice.mean = lattice.array<float>(head.d);
    lattice.expect_end();
    for (float v : model->lattice.mean) {
        expect(std::isfinite(v), lattice, "mean", v, "a finite number");
    }
    read_anchors(sections.read(section::kAnchors), *model);
    if (sections.has(section::kRouting)) { // without it a vector's list is the nearest anchor's
        read_routing(sections.read(section::kRouting), *model);
    }

    ByteReader spread = sections.read(section::kSpread);
    model->spread.resize(0);
    for (uint16_t bits : spread.array<uint16_t>(head.m)) {
        model->spread.push_back(half_to_float(bits));
        expect(std::isfinite(model->spread.back()) && model->spread.back() >= 0, spread, "spread",
               model->spread.back(), "a finite number, 0 or above");
    }
    spread.expect_end();
    if (sections.has(section::kSecond)) {
        model->second = read_second(sections.read(section::kSecond), head);
    }
    const uint32_t first_size =
            head.code_size - (model->second ? uint32_t(model->second->code_size()) : 0);
    if (sections.has(section::kWords)) {
        read_words(sections.read(section::kWords), first_size, *model);
        read_frame(sections.read(section::kFrame), *model);
    } else {
        ByteReader layout = sections.read(section::kLayout);
        model->layout = read_layout(layout, first_size, kFactorBytes, head.d);
        read_frame(sections.read(section::kFrame), *model);
        read_sigma(sections.read(section::kSigma), *model);
    }

    ByteReader estimator = sections.read(section::kEstimator);
    Estimator& e = model->estimator;
    read_rising(estimator, "gamma", e.gamma);
    read_rising(estimator, "far", e.far);
    e.t1 = finite(estimator, "t1");
    e.t2 = finite(estimator, "t2");
    e.c = finite(estimator, "c");
    e.energy = finite(estimator, "energy");
    expect(e.energy > 0, estimator, "energy", e.energy, "above 0");
    e.most_distance = finite(estimator, "most distance");
    expect(e.most_distance >= 0, estimator, "most distance", e.most_distance, "0 or above");
    e.usual_length = finite(estimator, "usual length");
    expect(e.usual_length >= 0, estimator, "usual length", e.usual_length, "0 or above");
    expect(model->metric == faiss::METRIC_L2 || e.usual_length >= 1024, estimator, "usual length",
           e.usual_length, "1024 or above for inner products");
    e.kappa = finite(estimator, "kappa");
    expect(e.kappa > 0, estimator, "kappa", e.kappa, "above 0");
    model->default_nprobe = estimator.i32();
    expect(model->default_nprobe >= 1 && model->default_nprobe <= model->m, estimator,
           "default nprobe", model->default_nprobe, "1 to m");
    estimator.expect_end();

    if (sections.has(section::kRankBias)) { // older files rank by the anchors alone
        ByteReader bias = sections.read(section::kRankBias);
        model->rank_bias = bias.f32();
        expect(model->rank_bias > 0 && model->rank_bias <= 4, bias, "bias", model->rank_bias,
               "above 0, at most 4");
        bias.expect_end();
    }
    if (sections.has(section::kRegions)) { // without them queries look in all of the anchors
        read_regions(sections.read(section::kRegions), *model);
    }
    if (sections.has(section::kQuery)) { // without it, one plane
        ByteReader query = sections.read(section::kQuery);
        const uint32_t planes = query.u32();
        expect(planes == 2 && !model->layout.has_words(), query, "planes of a query", planes,
               "2, for codes of levels");
        query.expect_end();
        model->fine_queries = true;
    }
    if (sections.has(section::kRotation)) { // without it, one part
        ByteReader rotation = sections.read(section::kRotation);
        const uint32_t parts = rotation.u32();
        expect(parts == 2, rotation, "parts of a component", parts, "2");
        rotation.expect_end();
        model->fine_rotation = true;
    }
    read_training(sections, model->record);
    model->usual_length = e.usual_length; // what it is for L2, if nothing else is said
    if (sections.has(section::kRecall)) {
        read_recall(sections.read(section::kRecall), *model);
    }
    model->finish();
    return model;
}

/// What is left in the payload.
enum class Lent { none, seconds, all };

void read_lists(const SectionReader& sections, const IndexHead& head, Lent lent,
                VLCInvertedLists& lists) {
    ByteReader r = sections.read(section::kLists);
    const uint32_t id_bytes = r.u32();
    expect(id_bytes == 4 || id_bytes == 8, r, "bytes of an id", id_bytes, "4 or 8");
    const std::vector<uint32_t> sizes = r.array<uint32_t>(head.m);
    r.expect_end();
    uint64_t total = 0;
    for (uint32_t size : sizes) {
        total += size;
    }
    expect(total == head.ntotal, r, "sum of the list sizes", double(total), "ntotal");
    const uint8_t* ids =
            sections.view<uint8_t>(section::kIds, checked_mul(total, id_bytes, "size of the ids"));
    if (lent == Lent::all && reinterpret_cast<uintptr_t>(ids) % id_bytes != 0) {
        fail("%s: its ids are not aligned to their size", sections.payload().origin.c_str());
    }
    const uint8_t* codes = sections.view<uint8_t>(
            section::kCodes, checked_mul(total, lists.first_size(), "size of the codes"));
    const uint8_t* seconds = nullptr;
    if (lists.second_size() > 0) {
        seconds =
                sections.view<uint8_t>(section::kSeconds, checked_mul(total, lists.second_size(),
                                                                      "size of the second codes"));
        if (lent != Lent::none) {
            read_at_random(seconds, total * lists.second_size());
        }
    }
    if (lent != Lent::all) {
        lists.set_lists(
                {sizes.data(), codes, lent == Lent::none ? seconds : nullptr, ids, int(id_bytes)});
    }
    for (uint32_t j = 0; lent != Lent::none && j < head.m; j++) {
        if (lent == Lent::all) {
            lists.lend_list(j, sizes[j], codes, seconds, ids, int(id_bytes));
        } else if (seconds) {
            lists.lend_seconds(j, seconds);
        }
        codes += uint64_t(sizes[j]) * lists.first_size();
        seconds += seconds ? uint64_t(sizes[j]) * lists.second_size() : 0;
        ids += uint64_t(sizes[j]) * id_bytes;
    }
}

bool is_lent(Lent lent, const std::string& name) {
    const bool is_second = name == section::kSeconds;
    return lent == Lent::all ? is_second || name == section::kIds || name == section::kCodes
                             : lent == Lent::seconds && is_second;
}

std::unique_ptr<IndexVLC> make_index(Payload payload, Lent lent) {
    const std::shared_ptr<const void> owner = payload.owner;
    const SectionReader sections(std::move(payload), known_sections());
    for (const Section& one : sections.sections()) {
        if (!is_lent(lent, one.name)) {
            sections.verify(one.name);
        }
    }
    const IndexHead head = IndexHead::read(sections.read(section::kIndex));
    VLCParameters parameters;
    read_parameters(sections, int(head.d), parameters);
    std::unique_ptr<IndexVLC> index;
    if (head.trained) {
        index = std::make_unique<IndexVLC>(read_model(sections, head), parameters);
        read_lists(sections, head, lent, index->lists());
        if (sections.has(section::kAdded)) {
            index->lists().added = read_added(sections.read(section::kAdded));
        }
        if (lent != Lent::none) {
            index->lists().hold_lent(owner);
        }
    } else {
        index = std::make_unique<IndexVLC>(int(head.d), parameters, faiss::MetricType(head.metric));
        expect(index->code_size == head.code_size, sections.read(section::kParameters), "code size",
               head.code_size, "what the parameters give");
    }
    index->ntotal = int64_t(head.ntotal);
    index->nprobe = head.nprobe;
    index->max_codes = head.max_codes;
    if (sections.has(section::kRefine)) { // without it, training's choice
        ByteReader refine = sections.read(section::kRefine);
        index->refine_k = refine.u64();
        refine.expect_end();
    }
    const auto map = faiss::DirectMap::Type(head.direct_map);
    // older writers kept an array that FAISS had refused to fill
    if (map != faiss::DirectMap::Array || index->lists().ids_below(size_t(index->ntotal))) {
        index->set_direct_map_type(map);
    }
    return index;
}

} // namespace

std::unique_ptr<IndexVLC> load_index(Payload payload) {
    return make_index(std::move(payload), Lent::none);
}

std::unique_ptr<IndexVLC> borrow_index(Payload payload) {
    return make_index(std::move(payload), Lent::all);
}

std::unique_ptr<IndexVLC> borrow_seconds(Payload payload) {
    return make_index(std::move(payload), Lent::seconds);
}

} // namespace faiss_vlc
