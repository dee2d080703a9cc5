// How fast an OpenCL device searches an index, against the CPU, and where the time goes:
//
//   vlc index --emb base.npy --m 2048 --bytes 32 --out x.vlc
//   device_search --device opencl:H100 --idx x.vlc --queries query.npy --nprobe 8,32,128
//
// Results are compared with the CPU's each time. Kernels are timed by OpenCL events in a run of
// their own. Prints a table, or one JSON object with --json. An index of two tiers is also searched
// on the device and refined by the CPU:
//
//   vlc index --emb base.npy --m 2048 --bytes 16 --second-bytes 112 --out y.vlc

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/index/device_kind.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/vectors/vector_file.h>
#include <opencl/device.h>
#include <opencl/search.h>

namespace faiss_vlc {
namespace {

using nlohmann::json;

struct Options {
    std::string device, index, queries;
    std::vector<int> nprobe = {8};
    int k = 10;
    int64_t batch = 10000;
    int repeat = 9;
    bool as_json = false;
};

double clock_seconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

struct Results {
    std::vector<float> distances;
    std::vector<int64_t> labels;
};

/// Searches `repeat` times after one that doesn't count; the median of the seconds.
double search(const IndexVLC& index, const Matrix<float>& x, int k, int repeat, Results& results) {
    results.distances.assign(size_t(x.n) * k, 0);
    results.labels.assign(results.distances.size(), 0);
    std::vector<double> seconds;
    for (int r = 0; r <= repeat; r++) {
        const double start = clock_seconds();
        index.search(x.n, x.data.data(), k, results.distances.data(), results.labels.data());
        if (r > 0) {
            seconds.push_back(clock_seconds() - start);
        }
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds[seconds.size() / 2];
}

constexpr char kByCpu[] = "refined by the CPU, ";

/// The device of what follows kByCpu, which only searches.
class SearchAlone final : public DeviceSearch {
public:
    explicit SearchAlone(const std::string& spec)
        : spec_(spec), device_(spec.substr(sizeof(kByCpu) - 1)) {}
    const std::string& spec() const override { return spec_; }
    size_t search(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists,
                  const SearchBatch& batch, int nprobe, int width,
                  std::vector<int64_t>& left) override {
        return device_.search(model, lists, batch, nprobe, width, left);
    }

private:
    std::string spec_;
    OpenCLSearch device_;
};

class SearchAloneKind final : public DeviceKind {
public:
    std::unique_ptr<DeviceSearch> make_search(const std::string& device) const override {
        return device.rfind(kByCpu, 0) == 0 ? std::make_unique<SearchAlone>(device) : nullptr;
    }
};

/// A copy of the index that searches on the device, opened with or without events.
std::unique_ptr<IndexVLC> on_device(const IndexVLC& index, const std::string& device,
                                    bool profile) {
    setenv("VLC_OPENCL_PROFILE", profile ? "1" : "0", 1);
    auto copy = std::make_unique<IndexVLC>(index);
    copy->search_device = device;
    return copy;
}

/// Seconds of a search there, whose results have to be the CPU's. refined_on: see IndexVLC.
double search_there(const IndexVLC& index, const Matrix<float>& x, const std::string& device,
                    const Options& options, const Results& expected, std::string& refined_on) {
    const auto copy = on_device(index, device, false);
    Results met;
    const double seconds = search(*copy, x, options.k, options.repeat, met);
    if (met.labels != expected.labels || met.distances != expected.distances) {
        fail("nprobe %d: the device's results differ from the CPU's", int(index.nprobe));
    }
    refined_on = copy->refined_on();
    return seconds;
}

json measure(IndexVLC& index, const Matrix<float>& x, int nprobe, const Options& options) {
    index.nprobe = size_t(nprobe);
    Results expected, met;
    const int cores = omp_get_max_threads();
    omp_set_num_threads(1);
    const double one_core = search(index, x, options.k, std::max(1, options.repeat / 3), expected);
    omp_set_num_threads(cores);
    const double all_cores = search(index, x, options.k, options.repeat, expected);
    const double n = double(x.n);
    json result = {
            {"nprobe", nprobe}, {"one_core_qps", n / one_core}, {"all_cores_qps", n / all_cores}};
    std::string refined_on;
    const double device = search_there(index, x, options.device, options, expected, refined_on);
    result["device_qps"] = n / device;
    result["device_ms"] = 1e3 * device;
    if (!refined_on.empty()) { // there are two tiers
        result["refined_on"] = refined_on;
        const double by_cpu =
                search_there(index, x, kByCpu + options.device, options, expected, refined_on);
        result["cpu_refines_qps"] = n / by_cpu;
        result["cpu_refines_ms"] = 1e3 * by_cpu;
    }
    json kernels = json::object();
    {
        const auto copy = on_device(index, options.device, true);
        search(*copy, x, options.k, 1, met);
        const std::shared_ptr<Device> opened = open_device(options.device);
        const auto before = opened->seconds();
        search(*copy, x, options.k, 1, met); // twice
        for (const auto& [name, seconds] : opened->seconds()) {
            const auto at = before.find(name);
            kernels[name] = 1e3 / 2 * (seconds - (at == before.end() ? 0 : at->second));
        }
    }
    result["kernels_ms"] = kernels;
    return result;
}

json run(const Options& options) {
    const std::unique_ptr<faiss::Index> file(faiss_vlc::read_index(options.index.c_str()));
    auto* index = dynamic_cast<IndexVLC*>(file.get());
    if (!index) {
        fail("%s: expected an IndexVLC", options.index.c_str());
    }
    Matrix<float> x = read_vectors(options.queries);
    if (x.d != index->d || x.n == 0) {
        fail("%s: expected vectors of %d dimensions, got %lld of %d", options.queries.c_str(),
             index->d, (long long)x.n, x.d);
    }
    x.n = std::min(x.n, options.batch);
    x.data.resize(size_t(x.n) * x.d);
    DeviceInfo info; // nobody holds the device meanwhile
    if (const std::shared_ptr<Device> device = open_device(options.device)) {
        info = device->info();
    } else {
        fail("no OpenCL device for '%s'", options.device.c_str());
    }
    json result = {{"device", info.name},
                   {"driver", info.driver},
                   {"simd", simd().name},
                   {"cores", omp_get_max_threads()},
                   {"vectors", index->ntotal},
                   {"d", index->d},
                   {"lists", index->nlist},
                   {"code_size", index->code_size},
                   {"batch", x.n},
                   {"k", options.k}};
    if (!options.as_json) {
        printf("%s, driver %s; CPU: %s, %d cores; %lld x %d, %zu lists, %zu bytes, batch %lld, k "
               "%d\n",
               info.name.c_str(), info.driver.c_str(), simd().name, omp_get_max_threads(),
               (long long)index->ntotal, index->d, index->nlist, index->code_size, (long long)x.n,
               options.k);
        printf("%7s %14s %14s %14s %8s %8s\n", "nprobe", "one core, q/s", "all cores", "device",
               "ratio", "ms");
    }
    result["search"] = json::array();
    for (const int nprobe : options.nprobe) {
        const json one = measure(*index, x, nprobe, options);
        result["search"].push_back(one);
        if (!options.as_json) {
            const double device_qps = one["device_qps"], one_core = one["one_core_qps"];
            printf("%7d %14.0f %14.0f %14.0f %8.1f %8.3f\n", nprobe, one_core,
                   double(one["all_cores_qps"]), device_qps, device_qps / one_core,
                   double(one["device_ms"]));
            if (one.contains("refined_on")) {
                const double by_cpu = one["cpu_refines_qps"];
                printf("        refined on %s; where the CPU refines %.0f q/s, %.3f ms\n",
                       std::string(one["refined_on"]).c_str(), by_cpu,
                       double(one["cpu_refines_ms"]));
            }
            for (const auto& entry : one["kernels_ms"].items()) {
                printf("          %-18s %8.3f ms\n", entry.key().c_str(), double(entry.value()));
            }
            fflush(stdout);
        }
    }
    return result;
}

} // namespace
} // namespace faiss_vlc

int main(int argc, char** argv) {
    faiss_vlc::Options options;
    CLI::App app("Speed of search on an OpenCL device, against the CPU");
    app.add_option("--device", options.device, "opencl:<part of a name>")->required();
    app.add_option("--idx", options.index, "an IndexVLC")->required();
    app.add_option("--queries", options.queries, "vectors")->required();
    app.add_option("--nprobe", options.nprobe, "lists to search")->delimiter(',');
    app.add_option("--k", options.k, "neighbours");
    app.add_option("--batch", options.batch, "queries at once, at most");
    app.add_option("--repeat", options.repeat, "runs, of which the median counts");
    app.add_flag("--json", options.as_json, "one JSON object");
    CLI11_PARSE(app, argc, argv);
    try {
        const faiss_vlc::RegisteredKind search_alone(
                std::make_shared<faiss_vlc::SearchAloneKind>());
        const nlohmann::json result = faiss_vlc::run(options);
        if (options.as_json) {
            printf("%s\n", result.dump(2).c_str());
        }
    } catch (const std::exception& error) {
        fprintf(stderr, "device_search: %s\n", error.what());
        return 1;
    }
    return 0;
}
