// What the Python programs beside this file measure, for any index that this library can read or
// make. Each measurement is one JSON object on a line.
//
//   bench_worker search --idx FILE --queries FILE --gt FILE [--filter NAME,BITS,GT] [--save FILE]
//       waits on stdin for lines "nprobe threads batch seconds [k [filter]]": searches until so
//       many seconds are over, batch queries at a time (0: all at once); a filter is a bit for each
//       id
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
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include <CLI/CLI.hpp>
#include <faiss/IVFlib.h>
#include <faiss/IndexIVF.h>
#include <faiss/impl/IDSelector.h>
#include <malloc.h>
#include <nlohmann/json.hpp>
#include <omp.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/index/devices.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/vectors/vector_file.h>

namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
    std::string index, emb, queries, gt, out, save;
    std::vector<std::string> filters;
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

/// |found k and true k| / k, the mean over the queries.
double recall(const std::vector<int64_t>& found, const faiss_vlc::Matrix<int64_t>& truth, int k) {
    int64_t hits = 0;
    for (int64_t i = 0; i < truth.n; i++) {
        const int64_t* row = &found[i * k];
        for (int j = 0; j < k; j++) {
            hits += std::find(row, row + k, truth.data[i * truth.d + j]) != row + k;
        }
    }
    return double(hits) / double(truth.n * k);
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

/// What a search may find, and what it should find then.
struct Filter {
    std::vector<uint8_t> bits;
    std::unique_ptr<faiss::IDSelectorBitmap> selector; ///< null: everything
    faiss_vlc::Matrix<int64_t> truth;
};

/// NAME,BITS,GT: a .npy of one row, 8 ids a byte, and the neighbours among those ids.
std::pair<std::string, Filter> read_filter(const std::string& text) {
    const size_t first = text.find(','), second = text.find(',', first + 1);
    if (second == std::string::npos) {
        faiss_vlc::fail("--filter: expected NAME,BITS,GT, met '%s'", text.c_str());
    }
    Filter filter;
    const auto bits = faiss_vlc::read_vectors(text.substr(first + 1, second - first - 1));
    filter.bits.assign(bits.data.begin(), bits.data.end());
    filter.selector =
            std::make_unique<faiss::IDSelectorBitmap>(filter.bits.size(), filter.bits.data());
    filter.truth = faiss_vlc::read_labels(text.substr(second + 1));
    return {text.substr(0, first), std::move(filter)};
}

/// The value below which a share of the times lies, in microseconds.
double quantile(std::vector<double> times, double share) {
    const auto at = times.begin() + int64_t(share * double(times.size() - 1));
    std::nth_element(times.begin(), at, times.end());
    return 1e6 * *at;
}

struct Request {
    int nprobe = 1, threads = 1, k = 10;
    int64_t batch = 0;
    double limit = 0;
    std::string filter = "all";
};

/// The index's answers to one request after the other.
class Searcher {
public:
    Searcher(const faiss::Index& index, const Arguments& a)
        : index_(index), queries_(faiss_vlc::read_vectors(a.queries)) {
        filters_["all"].truth = faiss_vlc::read_labels(a.gt);
        for (const std::string& text : a.filters) {
            filters_.insert(read_filter(text));
        }
    }

    Json answer(const Request& r) {
        const auto found = filters_.find(r.filter);
        if (found == filters_.end()) {
            faiss_vlc::fail("no --filter named '%s'", r.filter.c_str());
        }
        if (r.k < 1 || r.k > found->second.truth.d) {
            faiss_vlc::fail("k: expected 1 to %d, met %d", found->second.truth.d, r.k);
        }
        omp_set_num_threads(r.threads);
        faiss::SearchParametersIVF params;
        params.nprobe = r.nprobe;
        params.sel = found->second.selector.get();
        distances_.resize(queries_.n * r.k);
        labels_.resize(queries_.n * r.k);
        const auto run = [&](int64_t first, int64_t count) {
            index_.search(count, &queries_.data[first * queries_.d], r.k, &distances_[first * r.k],
                          &labels_[first * r.k], &params);
        };
        const auto [reached, is_new] = reached_.insert({{r.nprobe, r.k, r.filter}, 0});
        if (is_new) {
            run(0, queries_.n);
            reached->second = recall(labels_, found->second.truth, r.k);
        } else { // warms up
            run(0, std::min<int64_t>(queries_.n, 100));
        }
        const int64_t step = r.batch > 0 ? r.batch : queries_.n;
        int64_t done = 0, first = 0;
        std::vector<double> times;
        const double start = seconds();
        for (double now = start; now - start < r.limit || done < step;) {
            run(first, step);
            done += step;
            first = first + 2 * step > queries_.n ? 0 : first + step;
            const double end = seconds();
            times.push_back(end - now);
            now = end;
        }
        double total = 0;
        for (double time : times) {
            total += time;
        }
        Json json = {{"nprobe", r.nprobe}, {"recall", reached->second}};
        json["qps"] = double(done) / total;
        if (r.batch == 1) {
            json["p50_us"] = quantile(times, 0.5);
            json["p99_us"] = quantile(times, 0.99);
        }
        return json;
    }

private:
    const faiss::Index& index_;
    faiss_vlc::Matrix<float> queries_;
    std::map<std::string, Filter> filters_;
    std::map<std::tuple<int, int, std::string>, double> reached_; ///< recalls
    std::vector<float> distances_;
    std::vector<int64_t> labels_;
};

void search(const Arguments& a) {
    const int64_t before = memory("VmRSS");
    double start = seconds();
    std::unique_ptr<faiss::Index> index(faiss_vlc::read_index(a.index.c_str()));
    const double open_seconds = seconds() - start;
    const int64_t grown = memory("VmRSS") - before;
    faiss::IndexIVF* ivf = faiss::ivflib::extract_index_ivf(index.get());
    Json ready;
    ready["n"] = index->ntotal;
    ready["code_size"] = ivf->code_size;
    ready["lists"] = ivf->nlist;
    ready["simd"] = faiss_vlc::simd().name;
    ready["open_seconds"] = open_seconds;
    ready["grown"] = grown;
    if (const auto* vlc = dynamic_cast<faiss_vlc::IndexVLC*>(ivf)) {
        ready["memory"] = vlc->memory();
    }
    if (!a.save.empty()) {
        start = seconds();
        faiss_vlc::write_index(index.get(), a.save.c_str());
        ready["save_seconds"] = seconds() - start;
    }
    Searcher searcher(*index, a);
    answer(ready);
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        Request r;
        words >> r.nprobe >> r.threads >> r.batch >> r.limit >> r.k >> r.filter;
        answer(searcher.answer(r));
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
    malloc_trim(0); // else the lists grow into what the full index has left behind
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
    malloc_trim(0);
    json["grown"] = memory("VmRSS") - before;
    json["peak"] = memory("VmHWM") - before; // last: a page more in use is one more at the peak
    if (const auto* vlc = dynamic_cast<faiss_vlc::IndexVLC*>(index.get())) {
        json["memory"] = vlc->memory();
    }
    answer(json);
}

void train(Arguments a) {
    auto& parameters = a.parameters;
    const auto x = faiss_vlc::read_vectors(a.emb);
    // Every vector is in the sample, none is held out.
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
    s->add_option("--filter", a.filters);
    s->add_option("--save", a.save);
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
    t->add_option("--candidates", a.parameters.candidates);
    t->add_option("--first-share", a.parameters.first_share);
    t->add_option("--start-temperature", a.parameters.start_temperature);
    t->add_option("--step", a.parameters.step);
    t->add_option("--robust", a.parameters.robust);
    t->add_option("--seed", a.parameters.seed);
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
