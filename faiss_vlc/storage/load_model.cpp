#include <cmath>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/storage/load_sections.h>
#include <faiss_vlc/storage/sections.h>

namespace faiss_vlc {

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

std::shared_ptr<Model> read_model(const SectionReader& sections, const IndexHead& head) {
    auto model = std::make_shared<Model>();
    model->d = int(head.d);
    model->m = int(head.m);
    model->metric = faiss::MetricType(head.metric);
    const auto read = [&](const char* name, void (*into)(ByteReader, Model&)) {
        into(sections.read(name), *model);
    };
    const auto read_if_there = [&](const char* name, void (*into)(ByteReader, Model&)) {
        if (sections.has(name)) {
            read(name, into);
        }
    };
    read(section::kLattice, read_lattice);
    read(section::kAnchors, read_anchors);
    // without it a vector's list is the nearest anchor's
    read_if_there(section::kRouting, read_routing);
    read(section::kSpread, read_spread);
    if (sections.has(section::kSecond)) {
        model->second = read_second(sections.read(section::kSecond), head);
    }
    const uint32_t first_size =
            head.code_size - (model->second ? uint32_t(model->second->code_size()) : 0);
    if (sections.has(section::kWords)) {
        read_words(sections.read(section::kWords), first_size, *model);
        read(section::kFrame, read_frame);
    } else {
        read_layout(sections.read(section::kLayout), first_size, *model);
        read(section::kFrame, read_frame);
        read(section::kSigma, read_sigma);
    }
    read(section::kEstimator, read_estimator);
    read_if_there(section::kRankBias, read_rank_bias); // older files rank by the anchors alone
    read_if_there(section::kRegions, read_regions);    // without them queries look in all anchors
    read_if_there(section::kQuery, read_query);        // without it, one plane
    read_if_there(section::kRotation, read_rotation);  // without it, one part
    read_training(sections, model->record);
    model->usual_length = model->estimator.usual_length; // what it is for L2, if nothing else says
    read_if_there(section::kRecall, read_recall);
    model->finish();
    return model;
}

} // namespace faiss_vlc
