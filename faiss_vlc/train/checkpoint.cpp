#include <faiss_vlc/train/checkpoint.h>

#include <algorithm>
#include <cmath>

#include <xxhash.h>

#include <faiss_vlc/container/atomic_file.h>
#include <faiss_vlc/container/format.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/train/schedule.h>

namespace faiss_vlc {

namespace {

/// Values that training computes with: a forged one must not lead it astray.
template <class T>
void expect_within(const std::string& path, const char* what, const std::vector<T>& values, T low,
                   T high) {
    for (const T value : values) {
        if (value < low || value > high) {
            fail("%s: %s: %lld to %lld expected, %lld met", path.c_str(), what, (long long)low,
                 (long long)high, (long long)value);
        }
    }
}

} // namespace

uint64_t run_identity(const Sample& sample, const VLCParameters& params,
                      const ParameterTable& table) {
    ByteWriter writer;
    writer.i64(sample.shape.n);
    writer.i64(sample.shape.n_train);
    writer.i32(sample.shape8().d);
    writer.i32(sample.shape.m);
    writer.u64(XXH64(sample.x8.data(), sample.x8.size(), 0));
    if (!sample.queries.empty()) {
        writer.u64(XXH64(sample.queries.data(), sample.queries.size() * sizeof(float), 0));
    }
    for (const Parameter* one : of_loop(table)) {
        write_value(writer, one->get(params));
    }
    for (int t = 0; t < params.iterations; t++) { // builds may let the sample grow otherwise
        writer.i64(rows_of_iteration(sample.shape8(), params, t));
    }
    const std::vector<uint8_t> bytes = writer.take();
    return XXH64(bytes.data(), bytes.size(), 0);
}

void write_deciding(ByteWriter& writer, const VLCParameters& params, const ParameterTable& table) {
    for (const Parameter& one : table) {
        if (one.decides.result) {
            write_value(writer, one.get(params));
        }
    }
}

void write_checkpoint(const std::string& path, const Checkpoint& state) {
    ByteWriter writer;
    writer.u64(state.run);
    writer.i32(state.iteration);
    writer.i64(state.temperature);
    writer.i64(state.first_energy);
    writer.i64(state.best_held);
    writer.i32(state.patience);
    writer.i32(state.merges);
    writer.i32(state.splits);
    writer.i32(int32_t(state.pace));
    SectionWriter sections;
    sections.add("checkpoint", kRequired, writer.take());
    sections.add("anchor", kRequired, state.anchor.data(), state.anchor.size() * 4);
    sections.add("bias", kRequired, state.bias.data(), state.bias.size() * 4);
    sections.add("label", kRequired, state.label.data(), state.label.size() * 4);
    sections.add("energy", kRequired, state.energy.data(), state.energy.size() * 4);
    AtomicFile file(path);
    SinkTo<AtomicFile> sink(file);
    sections.write(sink);
    file.commit();
}

Checkpoint read_checkpoint(const std::string& path, const Sample& sample,
                           const VLCParameters& params, const ParameterTable& table) {
    const SectionReader sections(load_file(path),
                                 {"checkpoint", "anchor", "bias", "label", "energy"});
    sections.verify_all();
    ByteReader reader = sections.read("checkpoint");
    Checkpoint state;
    state.run = reader.u64();
    state.iteration = reader.i32();
    state.temperature = reader.i64();
    state.first_energy = reader.i64();
    state.best_held = reader.i64();
    state.patience = reader.i32();
    state.merges = reader.i32();
    state.splits = reader.i32();
    const int32_t pace = reader.i32();
    reader.expect_end();
    if (state.run != run_identity(sample, params, table)) {
        fail("%s: the checkpoint of another run: data or parameters differ", path.c_str());
    }
    expect_within(path, "pace", std::vector<int32_t>{pace}, 0, 1);
    state.pace = Pace(pace);
    const Shape shape = sample.shape8();
    const uint64_t anchors = checked_mul(shape.m, shape.dp, "components of the anchors");
    const int32_t* anchor = sections.view<int32_t>("anchor", anchors);
    const int32_t* bias = sections.view<int32_t>("bias", shape.m);
    const int32_t* label = sections.view<int32_t>("label", shape.n);
    state.anchor.assign(anchor, anchor + anchors);
    state.bias.assign(bias, bias + shape.m);
    state.label.assign(label, label + shape.n);

    expect_within(path, "iteration", std::vector<int32_t>{state.iteration}, 1, params.iterations);
    const float* energy = sections.view<float>("energy", state.iteration);
    state.energy.assign(energy, energy + state.iteration);
    for (const float e : state.energy) {
        if (!(e >= 0 && std::isfinite(e))) {
            fail("%s: energy of an iteration: 0 or above expected, %g met", path.c_str(),
                 double(e));
        }
    }
    expect_within<int64_t>(path, "temperature", {state.temperature}, 1, INT64_MAX);
    expect_within<int64_t>(path, "energy", {state.first_energy, state.best_held}, 0, INT64_MAX);
    const int32_t most =
            int32_t(std::min<int64_t>(int64_t(params.iterations) * shape.m, INT32_MAX - shape.m));
    expect_within(path, "iterations without gain", std::vector<int32_t>{state.patience}, 0,
                  params.iterations);
    expect_within(path, "merges or splits", std::vector<int32_t>{state.merges, state.splits}, 0,
                  most);
    expect_within(path, "component of an anchor", state.anchor, -kMaxAnchor, kMaxAnchor);
    expect_within(path, "bias", state.bias, -kMaxBias, kMaxBias);
    expect_within(path, "label", state.label, -1, shape.m - 1);
    const int64_t known = rows_of_iteration(shape, params, state.iteration - 1);
    if (*std::min_element(state.label.begin(), state.label.begin() + known) < 0) {
        fail("%s: expected a label for each of the first %lld rows, which iteration %d saw",
             path.c_str(), (long long)known, state.iteration - 1);
    }
    return state;
}

} // namespace faiss_vlc
