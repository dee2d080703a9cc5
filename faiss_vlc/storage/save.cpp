#include <faiss_vlc/storage/save.h>

#include <faiss_vlc/container/atomic_file.h>
#include <faiss_vlc/index/clustering.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/storage/head.h>
#include <faiss_vlc/storage/sections.h>

namespace faiss_vlc {

namespace {

std::vector<uint8_t> anchors_section(const Model& model) {
    ByteWriter w;
    w.u32(uint32_t(model.grid));
    if (model.grid == AnchorGrid::float16) {
        w.array(model.anchors16.data(), model.anchors16.size());
        return w.take();
    }
    for (int j = 0; j < model.m; j++) {
        w.array(&model.anchors8[size_t(j) * model.dp()], model.d);
    }
    return w.take();
}

std::vector<uint8_t> routing_section(const Model& model) {
    const Routing& routing = model.routing;
    ByteWriter w;
    w.f32(routing.weight);
    w.array(routing.lengths.data(), routing.lengths.size());
    w.f32(routing.lattice.scale);
    w.array(routing.lattice.mean.data(), model.d);
    for (int j = 0; j < model.m; j++) {
        w.array(&routing.anchors[size_t(j) * routing.dp()], routing.lattice.d);
    }
    return w.take();
}

std::vector<uint8_t> regions_section(const Model& model) {
    const Regions& regions = model.regions;
    ByteWriter w;
    w.u32(uint32_t(regions.count()));
    w.u32(uint32_t(regions.visits.size()));
    w.array(regions.visits.data(), regions.visits.size());
    for (int r = 0; r < regions.count(); r++) {
        w.array(&regions.centres[size_t(r) * model.dp()], model.d);
    }
    w.array(regions.of.data(), regions.of.size());
    return w.take();
}

std::vector<uint8_t> layout_section(const Layout& layout) {
    ByteWriter w;
    w.u32(uint32_t(layout.code_bytes));
    w.u32(uint32_t(layout.fields.size()));
    for (const Field& f : layout.fields) {
        w.u16(uint16_t(f.first));
        w.u16(uint16_t(f.row));
        w.u8(uint8_t(f.lanes));
        w.u8(uint8_t(f.width));
        w.u8(uint8_t(f.shift));
        w.u8(0);
    }
    return w.take();
}

/// In the place of sigma and layout.
std::vector<uint8_t> words_section(const Model& model) {
    const Layout& layout = model.layout;
    ByteWriter w;
    w.u32(uint32_t(layout.code_bytes));
    w.u32(model.whole_words ? kWholeWords : uint32_t(layout.factor_bytes));
    w.u32(uint32_t(layout.axes));
    w.f32(model.codebook.unit);
    std::vector<int> axis = layout.slot_axis();
    for (int s = 0; s < layout.slots(); s++) {
        for (int word = 0; word < faiss_vlc::kWords && axis[s] >= 0; word++) {
            w.u16(uint16_t(model.codebook.at(s, word)));
        }
    }
    return w.take();
}

std::vector<uint8_t> second_section(const SecondTier& tier) {
    ByteWriter w;
    w.u32(uint32_t(tier.layout.code_bytes));
    w.u32(uint32_t(tier.factor_bytes));
    w.u32(uint32_t(tier.layout.axes()));
    w.u32(uint32_t(tier.refined));
    w.u32(uint32_t(tier.refined_usual));
    w.i64(tier.refined_base);
    for (const float v : {tier.growth, tier.range_slack, tier.unit, tier.low, tier.high}) {
        w.f32(v);
    }
    w.array(tier.layout.width.data(), tier.layout.width.size());
    w.array(tier.sigma.data(), tier.sigma.size());
    w.array(tier.frame.rows.data(), tier.frame.rows.size());
    return w.take();
}

void add_recall(SectionWriter& sections, const Model& model) {
    const HeldOutRecall& recall = model.recall;
    if (recall.sought == 0) { // trained before it was counted
        return;
    }
    ByteWriter w;
    for (const int64_t count :
         {recall.queries, recall.base, recall.sought, recall.nprobe, recall.in_lists,
          recall.decoded, recall.estimated, recall.probed, recall.product, recall.on_lattice}) {
        w.u32(uint32_t(count));
    }
    w.f32(model.usual_length);
    sections.add(section::kRecall, kOptional, w.take());
}

void add_model(SectionWriter& sections, const Model& model) {
    ByteWriter w;
    w.i64(model.record.n);
    w.i32(model.record.iterations);
    w.u32(model.record.seed);
    w.f32(model.record.energy_train);
    w.f32(model.record.energy_held);
    sections.add(section::kTraining, kOptional, w.take());
    if (!model.record.energies.empty()) {
        w.array(model.record.energies.data(), model.record.energies.size());
        sections.add(section::kEnergy, kOptional, w.take());
    }
    add_recall(sections, model);

    w.f32(model.lattice.scale);
    w.array(model.lattice.mean.data(), model.lattice.mean.size());
    sections.add(section::kLattice, kRequired, w.take());

    sections.add(section::kAnchors, kRequired, anchors_section(model));

    if (model.routing.used()) {
        sections.add(section::kRouting, kRequired, routing_section(model));
    }

    for (float e : model.spread) {
        w.u16(float_to_half(e));
    }
    sections.add(section::kSpread, kRequired, w.take());

    w.u32(uint32_t(model.frames[0].kept));
    w.u32(model.frames[0].own ? 0 : uint32_t(model.frames.size()));
    w.array(model.group.data(), model.group.size());
    for (const Frame& frame : model.frames) {
        w.array(frame.rows.data(), frame.rows.size());
    }
    sections.add(section::kFrame, kRequired, w.take());
    if (model.layout.has_words()) {
        sections.add(section::kWords, kRequired, words_section(model));
    } else {
        w.array(model.sigma.data(), model.sigma.size());
        sections.add(section::kSigma, kRequired, w.take());
        sections.add(section::kLayout, kRequired, layout_section(model.layout));
    }

    const Estimator& e = model.estimator;
    w.array(e.gamma, kGammaSteps);
    w.array(e.far, kGammaSteps);
    for (float v : {e.t1, e.t2, e.c, e.energy, e.most_distance, e.usual_length, e.kappa}) {
        w.f32(v);
    }
    w.i32(model.default_nprobe);
    sections.add(section::kEstimator, kRequired, w.take());

    if (model.rank_bias != 0) {
        w.f32(model.rank_bias);
        sections.add(section::kRankBias, kRequired, w.take());
    }
    if (model.regions.used()) {
        sections.add(section::kRegions, kOptional, regions_section(model));
    }
    if (model.second) {
        sections.add(section::kSecond, kRequired, second_section(*model.second));
    }
    if (model.fine_queries) {
        w.u32(2);
        sections.add(section::kQuery, kOptional, w.take());
    }
    if (model.fine_rotation) {
        w.u32(2);
        sections.add(section::kRotation, kOptional, w.take());
    }
}

void add_lists(SectionWriter& sections, const VLCInvertedLists& lists) {
    ByteWriter w;
    if (lists.added.rows > 0) {
        w.i64(lists.added.rows);
        w.i64(lists.added.outside);
        w.i64(lists.added.twice);
        w.f32(lists.added.farthest);
        sections.add(section::kAdded, kOptional, w.take());
    }
    w.u32(uint32_t(lists.id_bytes()));
    uint64_t total = 0;
    for (size_t j = 0; j < lists.nlist; j++) {
        const size_t size = lists.list_size(j);
        if (size > UINT32_MAX) {
            fail("saving: list %zu holds %zu vectors, at most 2^32 - 1 fit in a file", j, size);
        }
        w.u32(uint32_t(size));
        total += size;
    }
    sections.add(section::kLists, kRequired, w.take());
    const uint64_t ids = checked_mul(total, lists.id_bytes(), "size of the ids");
    sections.add(section::kIds, kRequired, ids, [&lists](ByteSink& sink) {
        for (size_t j = 0; j < lists.nlist; j++) {
            sink.write(lists.raw_ids(j), lists.list_size(j) * lists.id_bytes());
        }
    });
    const uint64_t codes = checked_mul(total, lists.first_size(), "size of the codes");
    sections.add(section::kCodes, kRequired, codes, [&lists](ByteSink& sink) {
        for (size_t j = 0; j < lists.nlist; j++) {
            sink.write(lists.blocks(j), lists.list_bytes(j));
        }
    });
    if (lists.second_size() == 0) {
        return;
    }
    const uint64_t seconds = checked_mul(total, lists.second_size(), "size of the second codes");
    sections.add(section::kSeconds, kRequired, seconds, [&lists](ByteSink& sink) {
        for (size_t j = 0; j < lists.nlist; j++) {
            lists.will_need_seconds(j);
            sink.write(lists.second(j, 0), lists.list_size(j) * lists.second_size());
        }
    });
}

/// FAISS leaves an array behind that it refused to fill: readers would refuse it, too.
faiss::DirectMap::Type savable_map(const IndexVLC& index) {
    const faiss::DirectMap::Type type = index.direct_map.type;
    const bool fits =
            type != faiss::DirectMap::Array || index.lists().ids_below(size_t(index.ntotal));
    return fits ? type : faiss::DirectMap::NoMap;
}

} // namespace

SectionWriter index_sections(const IndexVLC& index, bool with_direct_map) {
    if (index.is_trained && !index.model) {
        fail("saving: the IndexVLC says that it is trained, but has no anchors");
    }
    // what could not be loaded again is better noticed now
    const VLCParameters parameters = with_clustering(index, index.parameters);
    parameters.check(index.d);
    const size_t in_lists = index.lists().compute_ntotal();
    if (uint64_t(index.ntotal) != in_lists) {
        fail("saving: ntotal is %lld, but the lists hold %zu vectors", (long long)index.ntotal,
             in_lists);
    }
    SectionWriter sections;
    IndexHead head;
    head.d = uint32_t(index.d);
    head.m = index.is_trained ? uint32_t(index.model->m) : 0;
    head.metric = uint32_t(index.metric_type);
    head.trained = index.is_trained;
    head.ntotal = uint64_t(index.ntotal);
    head.nprobe = index.nprobe;
    head.max_codes = index.max_codes;
    head.code_size =
            index.is_trained ? uint32_t(index.code_size) : uint32_t(parameters.code_size(index.d));
    head.direct_map = with_direct_map ? uint32_t(savable_map(index)) : 0;
    sections.add(section::kIndex, kRequired, head.write());
    add_parameters(sections, parameters);
    if (index.refine_k > 0) {
        ByteWriter w;
        w.u64(index.refine_k);
        sections.add(section::kRefine, kOptional, w.take());
    }
    if (index.is_trained) {
        add_model(sections, *index.model);
        add_lists(sections, index.lists());
    }
    return sections;
}

SectionWriter lists_sections(const VLCInvertedLists& lists) {
    if (!lists.model) {
        fail("faiss::write_index cannot see the parameters of an untrained IndexVLC: train it "
             "first, or use faiss_vlc::write_index");
    }
    const Model& model = *lists.model;
    SectionWriter sections;
    IndexHead head;
    head.d = uint32_t(model.d);
    head.m = uint32_t(model.m);
    head.metric = uint32_t(model.metric);
    head.trained = 1;
    head.ntotal = lists.compute_ntotal();
    head.nprobe = uint64_t(model.default_nprobe);
    head.code_size = uint32_t(lists.code_size);
    sections.add(section::kIndex, kRequired, head.write());
    add_parameters(sections, lists.parameters);
    add_model(sections, model);
    add_lists(sections, lists);
    return sections;
}

void save_index(const IndexVLC& index, const std::string& path) {
    const SectionWriter sections = index_sections(index);
    AtomicFile file(path);
    SinkTo<AtomicFile> sink(file);
    sections.write(sink);
    file.commit();
}

} // namespace faiss_vlc
