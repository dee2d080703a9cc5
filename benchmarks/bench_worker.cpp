// What the Python programs beside this file measure, for any index that this library can read or
// make. Each measurement is one JSON object on a line.
//
//   bench_worker search --idx FILE --queries FILE --gt FILE
//       waits on stdin for lines "nprobe threads batch seconds": searches until so many seconds are
//       over, batch queries at a time (0: all at once)
//   bench_worker add --idx FILE --emb FILE --block ROWS
//       empties the index and adds the vectors again, ROWS at a time
//   bench_worker train --emb FILE --m M --iterations N --out anchors.npy
//       trains the anchors alone, on every vector given

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <faiss/IVFlib.h>
#include <faiss/IndexIVF.h>
#include <nlohmann/json.hpp>
#include <omp.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/engine.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/simd.h>
#include <faiss_vlc/train.h>
#include <faiss_vlc/vector_file.h>

namespace {

using Json = nlohmann::ordered_json;

constexpr int kK = 10;

struct Arguments {
    std::string index, emb, queries, gt, out;
    int64_t block = 65536;
    int m = 1024;
    faiss_vlc::VLCParameters parameters;
};

double seconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

void answer(const Json& json) {
    printf("%s\n", json.dump().c_str());
    fflush(stdout);
}

/// |found 10 and true 10| / 10, the mean over the queries.
double recall(const std::vector<int64_t>& found, const faiss_vlc::Matrix<int64_t>& truth) {
    int64_t hits = 0;
    for (int64_t i = 0; i < truth.n; i++) {
        const int64_t* row = &found[i * kK];
        for (int j = 0; j < kK; j++) {
            hits += std::find(row, row + kK, truth.data[i * truth.d + j]) != row + kK;
        }
    }
    return double(hits) / double(truth.n * kK);
}

/// A line of /proc/self/status in bytes.
int64_t memory(const char* field) {
    std::ifstream status("/proc/self/status");
    std::string line;
    while (std::getline(status, line)) {
        if (line.rfind(field, 0) == 0) {
            return std::stoll(line.substr(line.find(':') + 1)) * 1024;
        }
    }
    return 0;
}

/// Sets the peak that the kernel reports as VmHWM to what is in use now.
void reset_peak() {
    std::ofstream("/proc/self/clear_refs") << 5;
}

void search(const Arguments& a) {
    std::unique_ptr<faiss::Index> index(faiss_vlc::read_index(a.index.c_str()));
    faiss::IndexIVF* ivf = faiss::ivflib::extract_index_ivf(index.get());
    const auto queries = faiss_vlc::read_vectors(a.queries);
    const auto truth = faiss_vlc::read_labels(a.gt);
    std::vector<float> distances(queries.n * kK);
    std::vector<int64_t> labels(queries.n * kK);
    Json ready;
    ready["n"] = index->ntotal;
    ready["code_size"] = ivf->code_size;
    ready["lists"] = ivf->nlist;
    ready["simd"] = faiss_vlc::simd().name;
    if (const auto* vlc = dynamic_cast<faiss_vlc::IndexVLC*>(ivf)) {
        ready["memory"] = vlc->memory();
    }
    answer(ready);

    std::map<int, double> reached; // recall of an nprobe
    int nprobe, threads;
    int64_t batch;
    double limit;
    while (std::cin >> nprobe >> threads >> batch >> limit) {
        omp_set_num_threads(threads);
        ivf->nprobe = nprobe;
        const auto run = [&](int64_t first, int64_t count) {
            index->search(count, &queries.data[first * queries.d], kK, &distances[first * kK],
                          &labels[first * kK]);
        };
        if (reached.count(nprobe) == 0) {
            run(0, queries.n);
            reached[nprobe] = recall(labels, truth);
        } else { // warms up
            run(0, std::min<int64_t>(queries.n, 100));
        }
        const int64_t step = batch > 0 ? batch : queries.n;
        int64_t done = 0;
        const double start = seconds();
        double now = start;
        for (int64_t first = 0; now - start < limit || done < step; first += step) {
            if (first + step > queries.n) {
                first = 0;
            }
            run(first, step);
            done += step;
            now = seconds();
        }
        answer({{"nprobe", nprobe},
                {"recall", reached[nprobe]},
                {"qps", double(done) / (now - start)}});
    }
}

void add(const Arguments& a) {
    std::unique_ptr<faiss::Index> index(faiss_vlc::read_index(a.index.c_str()));
    index->reset();
    auto reader = faiss_vlc::open_vectors(a.emb);
    std::vector<float> x(a.block * reader->d());
    // Once before the clock starts: the device's kernels are compiled, threads are there.
    const int64_t warm = std::min<int64_t>(reader->read(a.block, x.data()), 1000);
    index->add(warm, x.data());
    index->reset();
    reader->seek(0);
    reset_peak();
    const int64_t before = memory("VmRSS");
    double total = 0;
    while (const int64_t count = reader->read(a.block, x.data())) {
        const double start = seconds();
        index->add(count, x.data());
        total += seconds() - start;
    }
    Json json = {{"n", index->ntotal}, {"seconds", total}, {"block", a.block}};
    json["block_bytes"] = x.size() * sizeof(float);
    json["grown"] = memory("VmRSS") - before;
    json["peak"] = memory("VmHWM") - before;
    if (const auto* vlc = dynamic_cast<faiss_vlc::IndexVLC*>(index.get())) {
        json["memory"] = vlc->memory();
    }
    answer(json);
}

void train(Arguments a) {
    auto& parameters = a.parameters;
    const auto x = faiss_vlc::read_vectors(a.emb);
    // Every vector takes part in every iteration, none is held out.
    parameters.m = a.m;
    parameters.max_points_per_anchor = int((x.n + a.m - 1) / a.m);
    parameters.held_out = 0;
    parameters.stop_changes = -1;
    double start = seconds();
    const auto engine = faiss_vlc::make_engine(parameters.device, parameters.work_group);
    Json json = {{"device", engine->name()}, {"open_seconds", seconds() - start}};
    start = seconds();
    const auto sample = faiss_vlc::draw_sample(x.n, x.d, x.data.data(), parameters);
    json["sample_seconds"] = seconds() - start;
    const auto anchors = faiss_vlc::anneal(*engine, sample, parameters, false);
    json["seconds"] = seconds() - start;
    json["iterations"] = anchors.iterations;
    if (!a.out.empty()) {
        auto file = faiss_vlc::create_vectors(a.out, faiss_vlc::DType::f32, x.d, a.m);
        std::vector<float> row(x.d);
        for (int j = 0; j < a.m; j++) {
            sample.lattice.decode_anchor(&anchors.anchor[size_t(j) * sample.shape.dp], row.data());
            file->append(row.data(), 1);
        }
        file->close();
    }
    answer(json);
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app("Measurements for the programs in benchmarks/");
    app.require_subcommand(1);
    Arguments a;
    auto* s = app.add_subcommand("search");
    s->add_option("--idx", a.index)->required();
    s->add_option("--queries", a.queries)->required();
    s->add_option("--gt", a.gt)->required();
    auto* d = app.add_subcommand("add");
    d->add_option("--idx", a.index)->required();
    d->add_option("--emb", a.emb)->required();
    d->add_option("--block", a.block);
    auto* t = app.add_subcommand("train");
    t->add_option("--emb", a.emb)->required();
    t->add_option("--m", a.m)->required();
    t->add_option("--iterations", a.parameters.iterations)->required();
    t->add_option("--out", a.out);
    t->add_option("--size-bias", a.parameters.size_bias);
    t->add_option("--random-bias", a.parameters.random_bias);
    t->add_option("--neighbours", a.parameters.neighbours);
    t->add_option("--device", a.parameters.device);
    CLI11_PARSE(app, argc, argv);
    try {
        if (s->parsed()) {
            search(a);
        } else if (d->parsed()) {
            add(a);
        } else {
            train(a);
        }
    } catch (const std::exception& error) {
        fprintf(stderr, "bench_worker: %s\n", error.what());
        return 1;
    }
    return 0;
}
