// How fast an OpenCL device assigns vectors to anchors and trains, and where the time goes:
//
//   device_speed --device opencl:H100 assign --d 128,384 --m 1024,4096 --dots wgmma,portable
//   device_speed --device opencl:H100 train --n 1000000 --d 128 --m 4096 --iterations 20
//   device_speed --device opencl-all:H100 train --n 10000000 --d 128 --m 16384
//
// Kernels are timed by OpenCL events (of several devices those of the first), training by the clock
// from the sample in host memory to all results there. Prints tables, or one JSON object with
// --json.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/shared/devices_engine.h>
#include <faiss_vlc/train/stages/assign.h>
#include <faiss_vlc/tune/tune.h>
#include <opencl/assign.h>
#include <opencl/opencl_engine.h>

namespace faiss_vlc {
namespace {

using nlohmann::json;

double clock_seconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

/// New Devices, with or without events around kernels: nobody may hold the last ones any more.
std::vector<std::shared_ptr<Device>> open_all(const std::string& spec, bool profile) {
    setenv("VLC_OPENCL_PROFILE", profile ? "1" : "0", 1);
    std::vector<std::shared_ptr<Device>> devices = open_devices(spec);
    if (devices.empty()) {
        fail("no OpenCL device for '%s'", spec.c_str());
    }
    return devices;
}

KernelSet compile(std::shared_ptr<Device> device, int work_group, const std::string& dot) {
    if (dot.empty()) {
        return KernelSet::compile(std::move(device), work_group);
    }
    for (const Dot& usable : usable_dots(*device)) {
        if (dot == usable.name) {
            return KernelSet::compile(std::move(device), work_group, usable);
        }
    }
    fail("device '%s' has no way to multiply named %s", device->info().name.c_str(), dot.c_str());
}

/// The kernels of all devices that train together.
std::vector<KernelSet> compile_all(const std::vector<std::shared_ptr<Device>>& devices,
                                   int work_group, const std::string& dot) {
    std::vector<KernelSet> kernels(devices.size());
    at_once(int(devices.size()), [&](int i) { kernels[i] = compile(devices[i], work_group, dot); });
    return kernels;
}

std::unique_ptr<Engine> engine_of(const std::vector<KernelSet>& kernels) {
    std::vector<std::unique_ptr<Engine>> engines;
    for (const KernelSet& one : kernels) {
        engines.push_back(std::make_unique<OpenCLEngine>(one));
    }
    return engines.size() == 1 ? std::move(engines[0])
                               : std::make_unique<DevicesEngine>(std::move(engines));
}

/// Rows around random centres, int8 n x padded d.
std::vector<int8_t> clustered(int64_t n, int d, int centres, uint32_t seed) {
    const int dp = padded_dim(d);
    std::minstd_rand random(seed + 1);
    std::vector<int8_t> centre(size_t(centres) * d);
    for (int8_t& c : centre) {
        c = int8_t(int(random() % 121) - 60);
    }
    std::vector<int8_t> rows(size_t(n) * dp);
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        std::minstd_rand own(uint32_t(seed + 77 * i + 1));
        own.discard(3);
        const int8_t* from = &centre[size_t(own() % centres) * d];
        for (int k = 0; k < d; k++) {
            const int noise = int(own() % 31) + int(own() % 31) - 30;
            rows[size_t(i) * dp + k] = int8_t(from[k] + noise);
        }
    }
    return rows;
}

json describe(const DeviceInfo& info) {
    return {{"device", info.name}, {"driver", info.driver}, {"platform", info.platform}};
}

struct Options {
    std::string device;
    int work_group = 64;
    std::vector<std::string> dots;
    int64_t n = 262144;
    std::vector<int> d = {128}, m = {4096};
    int neighbours = 4;
    int repeat = 9;
    int iterations = 20;
    int candidates = VLCParameters().candidates;
    bool as_json = false;
};

/// Milliseconds of each kernel since `before`, most first.
std::vector<std::pair<std::string, double>> spent(const Device& device,
                                                  const std::map<std::string, double>& before) {
    std::vector<std::pair<std::string, double>> times;
    for (const auto& [name, seconds] : device.seconds()) {
        const auto at = before.find(name);
        const double ms = 1e3 * (seconds - (at == before.end() ? 0 : at->second));
        if (ms > 0) {
            times.emplace_back(name, ms);
        }
    }
    std::sort(times.begin(), times.end(),
              [](const auto& a, const auto& b) { return a.second > b.second; });
    return times;
}

json assign_speed(const Options& options) {
    const std::vector<std::shared_ptr<Device>> opened = open_all(options.device, true);
    if (opened.size() > 1) {
        fail("assign: expected one device, '%s' are %zu", options.device.c_str(), opened.size());
    }
    const std::shared_ptr<Device>& device = opened[0];
    json result = describe(device->info());
    result["n"] = options.n;
    result["neighbours"] = options.neighbours;
    if (!options.as_json) {
        printf("%s, driver %s; %lld vectors, %d neighbours, median of %d\n",
               device->info().name.c_str(), device->info().driver.c_str(), (long long)options.n,
               options.neighbours, options.repeat);
        printf("%-10s %5s %7s %10s %9s %12s\n", "dot", "d", "m", "ms", "TOP/s", "with packing");
    }
    std::vector<std::string> dots = options.dots;
    if (dots.empty()) {
        for (const Dot& dot : usable_dots(*device)) {
            dots.push_back(dot.name);
        }
    }
    const int64_t n = options.n;
    for (const int d : options.d) {
        const int dp = padded_dim(d);
        const int most = *std::max_element(options.m.begin(), options.m.end());
        const std::vector<int8_t> x = clustered(n, d, 1000, 1);
        const std::vector<int8_t> anchors = clustered(most, d, 1000, 1 << 20);
        std::vector<int32_t> norms(most), biases(most);
        for (int j = 0; j < most; j++) {
            for (int k = 0; k < dp; k++) {
                norms[j] += anchors[size_t(j) * dp + k] * anchors[size_t(j) * dp + k];
            }
            biases[j] = j % 1000 - 500;
        }
        Buffer rows = device->allocate<int8_t>(x.size(), "rows");
        device->write(rows, x.data(), x.size());
        Buffer anchor8 = device->allocate<int8_t>(anchors.size(), "anchors");
        device->write(anchor8, anchors.data(), anchors.size());
        Buffer norm = device->allocate<int32_t>(most, "norms");
        device->write(norm, norms.data(), norms.size() * sizeof(int32_t));
        Buffer bias = device->allocate<int32_t>(most, "biases");
        device->write(bias, biases.data(), biases.size() * sizeof(int32_t));
        Buffer row_constant = device->allocate<int32_t>(n, "row constants");
        Buffer label = device->allocate<int32_t>(n * options.neighbours, "labels");
        Buffer dist = device->allocate<int32_t>(n * options.neighbours, "distances");
        for (const std::string& dot : dots) {
            const KernelSet kernels = compile(device, options.work_group, dot);
            AssignStage stage(kernels);
            for (const int m : options.m) {
                AssignStage::Packed packed(*device, m, dp);
                Buffer constants =
                        device->allocate<int32_t>(AssignStage::constants_size(m), "constants");
                std::vector<double> alone, all;
                stage.row_constants(rows, int(n), dp, row_constant);
                for (int r = 0; r <= options.repeat; r++) {
                    const auto before = device->seconds();
                    stage.pack(anchor8, m, dp, packed);
                    stage.constants(norm, &bias, m, dp, constants);
                    stage.assign(rows, row_constant, {packed, constants, norm, m}, int(n), dp,
                                 options.neighbours, false, label, dist);
                    double ms = 0, sum = 0;
                    for (const auto& [name, time] : spent(*device, before)) {
                        sum += time;
                        ms = name.compare(0, 6, "assign") == 0 ? time : ms;
                    }
                    if (r > 0) {
                        alone.push_back(ms);
                        all.push_back(sum);
                    }
                }
                std::sort(alone.begin(), alone.end());
                std::sort(all.begin(), all.end());
                // exact, on some rows
                std::vector<int32_t> met(size_t(n) * options.neighbours);
                device->read(label, met.data(), met.size() * sizeof(int32_t));
                int64_t wrong = 0;
                for (int64_t i = 0; i < n; i += std::max<int64_t>(1, n / 50)) {
                    int32_t labels[kMaxNeighbours], dists[kMaxNeighbours];
                    assign_rows(1, &x[size_t(i) * dp],
                                {m, dp, anchors.data(), norms.data(), biases.data()},
                                {options.neighbours, labels, dists});
                    wrong += !std::equal(labels, labels + options.neighbours,
                                         &met[size_t(i) * options.neighbours]);
                }
                if (wrong > 0) {
                    fail("%s: %lld rows differ from the reference", dot.c_str(), (long long)wrong);
                }
                const double ms = alone[alone.size() / 2];
                const double tops = 2e-9 * double(n) * m * d / ms;
                result["assign"].push_back({{"dot", dot},
                                            {"d", d},
                                            {"m", m},
                                            {"ms", ms},
                                            {"tops", tops},
                                            {"ms_with_packing", all[all.size() / 2]}});
                if (!options.as_json) {
                    printf("%-10s %5d %7d %10.3f %9.1f %12.3f\n", dot.c_str(), d, m, ms, tops,
                           all[all.size() / 2]);
                    fflush(stdout);
                }
            }
        }
    }
    return result;
}

json train_speed(const Options& options) {
    const int d = options.d[0];
    Sample sample;
    sample.shape.n = sample.shape.n_train = options.n;
    sample.shape.d = d;
    sample.shape.dp = padded_dim(d);
    sample.shape.m = options.m[0];
    sample.shape.neighbours = options.neighbours;
    const std::vector<int8_t> rows = clustered(options.n, d, 3 * options.m[0], 7);
    sample.x8.assign(rows.begin(), rows.end());
    VLCParameters params;
    params.m = options.m[0];
    params.iterations = options.iterations;
    params.candidates = options.candidates;
    params.neighbours = options.neighbours;
    params.stop_changes = 0;
    const std::string dot = options.dots.empty() ? "" : options.dots[0];

    json result;
    std::vector<double> runs;
    {
        const std::vector<std::shared_ptr<Device>> devices = open_all(options.device, false);
        result = describe(devices[0]->info());
        const double start = clock_seconds();
        const std::vector<KernelSet> kernels = compile_all(devices, options.work_group, dot);
        result["device"] = engine_of(kernels)->name();
        result["dot"] = kernels[0].dot.name;
        result["compile_seconds"] = clock_seconds() - start;
        for (int r = 0; r < std::max(2, options.repeat); r++) {
            const double begin = clock_seconds();
            const std::unique_ptr<Engine> engine = engine_of(kernels);
            const Anchors anchors = anneal(*engine, sample, params, false);
            runs.push_back(clock_seconds() - begin);
            result["iterations"] = anchors.iterations;
        }
    }
    const double first = runs[0];
    std::sort(runs.begin() + 1, runs.end());
    const double median = runs[1 + (runs.size() - 1) / 2];
    result.update({{"n", options.n},
                   {"d", d},
                   {"m", params.m},
                   {"first_seconds", first},
                   {"seconds", median}});

    const std::vector<std::shared_ptr<Device>> devices = open_all(options.device, true);
    const std::unique_ptr<Engine> engine = engine_of(compile_all(devices, options.work_group, dot));
    const std::shared_ptr<Device>& device = devices[0];
    const auto before = device->seconds();
    anneal(*engine, sample, params, false);
    double sum = 0;
    for (const auto& entry : spent(*device, before)) {
        sum += entry.second;
    }
    if (!options.as_json) {
        printf("%s, driver %s, %s: %lld x %d, m = %d, %d iterations\n", engine->name().c_str(),
               device->info().driver.c_str(), std::string(result["dot"]).c_str(),
               (long long)options.n, d, params.m, int(result["iterations"]));
        printf("first run %.3f s, median of %zu more %.3f s (kernels %.3f s); compiling %.2f s\n",
               first, runs.size() - 1, median, 1e-3 * sum, double(result["compile_seconds"]));
    }
    for (const auto& [name, ms] : spent(*device, before)) {
        result["kernels"].push_back({{"name", name}, {"ms", ms}, {"share", ms / sum}});
        if (!options.as_json) {
            printf("  %-22s %9.3f ms %5.1f %%\n", name.c_str(), ms, 100 * ms / sum);
        }
    }
    return result;
}

/// All that IndexVLC::train does, from float vectors, by the host's part and the device's.
json index_speed(const Options& options) {
    const int d = options.d[0];
    const int dp = padded_dim(d);
    const std::vector<int8_t> rows = clustered(options.n, d, 3 * options.m[0], 7);
    std::vector<float> x(size_t(options.n) * d);
    for (int64_t i = 0; i < options.n; i++) {
        std::copy_n(&rows[size_t(i) * dp], d, &x[size_t(i) * d]);
    }
    VLCParameters params;
    params.m = options.m[0];
    params.iterations = options.iterations;
    params.candidates = options.candidates;
    params.neighbours = options.neighbours;
    params.stop_changes = 0;
    const std::vector<KernelSet> kernels =
            compile_all(open_all(options.device, false), options.work_group,
                        options.dots.empty() ? "" : options.dots[0]);
    json result = describe(kernels[0].device->info());
    result["device"] = engine_of(kernels)->name();
    std::vector<double> best;
    for (int r = 0; r < std::max(2, options.repeat); r++) {
        std::vector<double> times = {clock_seconds()};
        const Sample sample = draw_sample(options.n, d, x.data(), params);
        times.push_back(clock_seconds());
        const std::unique_ptr<Engine> engine = engine_of(kernels);
        const Anchors anchors = anneal(*engine, sample, params, false);
        times.push_back(clock_seconds());
        tune_model(sample, anchors, params, faiss::METRIC_L2);
        times.push_back(clock_seconds());
        if (r == 0 || times[3] - times[0] < best[3] - best[0]) {
            best = times;
        }
        result["iterations"] = anchors.iterations;
    }
    result.update({{"n", options.n},
                   {"d", d},
                   {"m", params.m},
                   {"sample_seconds", best[1] - best[0]},
                   {"anneal_seconds", best[2] - best[1]},
                   {"tune_seconds", best[3] - best[2]}});
    if (!options.as_json) {
        printf("%s, %s: %lld x %d float, m = %d, %d iterations: sample %.3f s, annealing %.3f s, "
               "tuning %.3f s\n",
               std::string(result["device"]).c_str(), kernels[0].dot.name, (long long)options.n, d,
               params.m, int(result["iterations"]), best[1] - best[0], best[2] - best[1],
               best[3] - best[2]);
    }
    return result;
}

} // namespace
} // namespace faiss_vlc

int main(int argc, char** argv) {
    faiss_vlc::Options options;
    CLI::App app("Speed of assignment and training on an OpenCL device");
    app.add_option("--device", options.device,
                   "auto | opencl:<part of a name> | opencl-all[:<part>]");
    app.add_option("--work-group", options.work_group, "64, 128 or 256");
    app.add_flag("--json", options.as_json, "one JSON object");
    app.require_subcommand(1);
    CLI::App* assign = app.add_subcommand("assign", "the kernel alone");
    CLI::App* train = app.add_subcommand("train", "the whole loop");
    CLI::App* index = app.add_subcommand("index", "training of an index, the host's part too");
    for (CLI::App* command : {assign, train, index}) {
        command->add_option("--n", options.n, "vectors");
        command->add_option("--d", options.d, "dimensions")->delimiter(',');
        command->add_option("--m", options.m, "anchors")->delimiter(',');
        command->add_option("--neighbours", options.neighbours, "anchors per vector, 1 to 4");
        command->add_option("--repeat", options.repeat, "runs");
        command->add_option("--dots", options.dots, "ways to multiply, all by default")
                ->delimiter(',');
    }
    for (CLI::App* command : {train, index}) {
        command->add_option("--iterations", options.iterations, "of the loop");
        command->add_option("--candidates", options.candidates, "per list of near anchors; 0: all");
    }
    CLI11_PARSE(app, argc, argv);
    try {
        const nlohmann::json result = assign->parsed()  ? faiss_vlc::assign_speed(options)
                                      : train->parsed() ? faiss_vlc::train_speed(options)
                                                        : faiss_vlc::index_speed(options);
        if (options.as_json) {
            printf("%s\n", result.dump(2).c_str());
        }
    } catch (const std::exception& error) {
        fprintf(stderr, "device_speed: %s\n", error.what());
        return 1;
    }
    return 0;
}
