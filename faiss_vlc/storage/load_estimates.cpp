#include <cmath>

#include <faiss_vlc/storage/load_sections.h>
#include <faiss_vlc/storage/sections.h>

namespace faiss_vlc {

namespace {

void read_rising(ByteReader& reader, const char* name, float* values) {
    for (int i = 0; i < kGammaSteps; i++) {
        values[i] = finite(reader, name);
        expect(values[i] > 0 && (i == 0 || values[i] >= values[i - 1]), reader, name, values[i],
               "above 0 and rising");
    }
}

} // namespace

void read_estimator(ByteReader r, Model& model) {
    Estimator& e = model.estimator;
    read_rising(r, "gamma", e.gamma);
    read_rising(r, "far", e.far);
    e.t1 = finite(r, "t1");
    e.t2 = finite(r, "t2");
    e.c = finite(r, "c");
    e.energy = finite(r, "energy");
    expect(e.energy > 0, r, "energy", e.energy, "above 0");
    e.most_distance = finite(r, "most distance");
    expect(e.most_distance >= 0, r, "most distance", e.most_distance, "0 or above");
    e.usual_length = finite(r, "usual length");
    expect(e.usual_length >= 0, r, "usual length", e.usual_length, "0 or above");
    expect(model.metric == faiss::METRIC_L2 || e.usual_length >= 1024, r, "usual length",
           e.usual_length, "1024 or above for inner products");
    e.kappa = finite(r, "kappa");
    expect(e.kappa > 0, r, "kappa", e.kappa, "above 0");
    model.default_nprobe = r.i32();
    expect(model.default_nprobe >= 1 && model.default_nprobe <= model.m, r, "default nprobe",
           model.default_nprobe, "1 to m");
    r.expect_end();
}

void read_query(ByteReader r, Model& model) {
    const uint32_t planes = r.u32();
    expect(planes == 2 && !model.layout.has_words(), r, "planes of a query", planes,
           "2, for codes of levels");
    r.expect_end();
    model.fine_queries = true;
}

void read_rotation(ByteReader r, Model& model) {
    const uint32_t parts = r.u32();
    expect(parts == 2, r, "parts of a component", parts, "2");
    r.expect_end();
    model.fine_rotation = true;
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

} // namespace faiss_vlc
