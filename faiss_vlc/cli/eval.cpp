#include <faiss_vlc/cli/cli.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/interrupt.h>

namespace faiss_vlc::cli {

namespace {

constexpr int kDepth = 100;              ///< that recall is reported to, whatever --k is
constexpr int64_t kSingleQueries = 1000; ///< that are timed for latency
constexpr double kRunSeconds = 0.1;      ///< that one measurement of speed takes at least

struct Arguments {
    std::string index;
    VectorArgument queries, emb;
    std::string gt, gt_dataset, search_device;
    int k = 100;
    std::vector<int> nprobes;
    int runs = 5;
};

struct Truth {
    Matrix<int64_t> labels;
    std::string source;
};

template <class Stream>
Matrix<int64_t> exact_neighbours(const Matrix<float>& queries, int64_t k, faiss::MetricType metric,
                                 Stream& stream) {
    ExactNeighbours exact(queries, k, metric);
    while (const int64_t count = stream.next()) {
        exact.add(count, stream.block());
    }
    return exact.labels();
}

Truth find_truth(const Arguments& a, LoadedIndex& loaded, const Matrix<float>& queries) {
    Truth truth;
    const faiss::Index& index = *loaded.index;
    const int64_t k =
            std::clamp<int64_t>(std::max(a.k, kDepth), 1, std::max<int64_t>(1, index.ntotal));
    if (!a.gt.empty()) {
        truth.labels = read_labels(a.gt, a.gt_dataset);
        truth.source = "file " + a.gt;
        if (truth.labels.n != queries.n) {
            fail("%s: expected neighbours of %lld queries, got %lld rows", a.gt.c_str(),
                 (long long)queries.n, (long long)truth.labels.n);
        }
    } else if (!a.emb.path.empty()) {
        VectorArgument argument = a.emb;
        argument.d = index.d;
        VectorStream stream(argument);
        if (stream.n() != index.ntotal) {
            fail("%s: expected the %lld vectors of the index, got %lld", a.emb.path.c_str(),
                 (long long)index.ntotal, (long long)stream.n());
        }
        truth.labels = exact_neighbours(queries, k, index.metric_type, stream);
        truth.source = "exact neighbours in " + a.emb.path;
    } else {
        DecodedVectors stream(loaded);
        truth.labels = exact_neighbours(queries, k, index.metric_type, stream);
        truth.source = "exhaustive search of the decoded vectors (not of the originals)";
    }
    return truth;
}

/// |found k and true k| / k, the mean over the queries.
double recall_at(int64_t k, const Matrix<int64_t>& truth, int64_t found_k,
                 const std::vector<int64_t>& found) {
    int64_t hits = 0;
    std::vector<int64_t> expected;
    for (int64_t q = 0; q < truth.n; q++) {
        expected.assign(&truth.data[size_t(q) * truth.d], &truth.data[size_t(q) * truth.d] + k);
        std::sort(expected.begin(), expected.end());
        expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
        for (int64_t i = 0; i < k; i++) {
            const int64_t label = found[q * found_k + i];
            hits += label >= 0 && std::binary_search(expected.begin(), expected.end(), label);
        }
    }
    return double(hits) / (double(k) * double(truth.n));
}

/// Of sorted values, the smallest that the share p does not exceed.
double percentile(const std::vector<double>& sorted, double p) {
    const size_t count = size_t(std::ceil(p * double(sorted.size())));
    return sorted[std::min(sorted.size(), std::max<size_t>(count, 1)) - 1];
}

std::vector<int64_t> depths(int64_t k) {
    std::vector<int64_t> result = {1, 10, 100, k};
    std::sort(result.begin(), result.end());
    result.erase(std::unique(result.begin(), result.end()), result.end());
    return result;
}

Json measure(const Arguments& a, LoadedIndex& loaded, const Matrix<float>& queries,
             const Truth& truth) {
    const faiss::Index& index = *loaded.index;
    const int64_t depth = std::max(a.k, kDepth);
    std::vector<float> distances(size_t(queries.n) * depth);
    std::vector<int64_t> labels(distances.size());
    index.search(queries.n, queries.data.data(), depth, distances.data(), labels.data());
    Json recall;
    for (const int64_t k : depths(a.k)) {
        // fewer vectors than k have no neighbours k deep
        if (k <= truth.labels.d) {
            recall[std::to_string(k)] = rounded(recall_at(k, truth.labels, depth, labels));
        }
    }

    const auto search = [&](int64_t first, int64_t count) {
        check_interrupt();
        const double start = seconds_now();
        index.search(count, &queries.data[size_t(first) * queries.d], a.k, distances.data(),
                     labels.data());
        return seconds_now() - start;
    };
    // A run lasts long enough for the clock and for the threads to wake up.
    search(0, queries.n);
    const int passes =
            1 + int(std::min(1000.0, kRunSeconds / std::max(1e-6, search(0, queries.n))));
    std::vector<double> seconds;
    for (int run = 0; run < a.runs; run++) {
        double total = 0;
        for (int pass = 0; pass < passes; pass++) {
            total += search(0, queries.n);
        }
        seconds.push_back(total / passes);
    }
    Json result;
    result["nprobe"] = loaded.ivf ? Json(loaded.ivf->nprobe) : Json(nullptr);
    result["recall"] = recall;
    std::sort(seconds.begin(), seconds.end());
    result["qps"] = rounded(double(queries.n) / percentile(seconds, 0.5));

    std::vector<double> latency;
    for (int64_t i = 0; i < std::min(queries.n, kSingleQueries); i++) {
        latency.push_back(search(i, 1) * 1e3);
    }
    std::sort(latency.begin(), latency.end());
    result["latency_ms"] = {{"p50", rounded(percentile(latency, 0.5))},
                            {"p90", rounded(percentile(latency, 0.9))},
                            {"p99", rounded(percentile(latency, 0.99))}};
    return result;
}

Json run(Arguments a) {
    LoadedIndex loaded = open_index(a.index);
    set_search_device(loaded, a.search_device);
    a.queries.d = loaded.index->d;
    if (a.queries.dataset.empty()) {
        a.queries.dataset = "test";
    }
    const Matrix<float> queries = read_all(a.queries);
    const Truth truth = find_truth(a, loaded, queries);

    Json json;
    json["index"] = a.index;
    json["n"] = loaded.index->ntotal;
    json["d"] = loaded.index->d;
    json["metric"] = metric_name(loaded.index->metric_type);
    json["queries"] = queries.n;
    json["k"] = a.k;
    json["truth"] = truth.source;
    json["threads"] = thread_count();
    if (!a.search_device.empty()) {
        json["search_device"] = a.search_device;
    }
    if (loaded.vlc) {
        json["simd"] = simd().name;
    }
    json["runs"] = a.runs;
    add_size(json, file_size(a.index), loaded.index->ntotal, loaded.index->d);
    Json results = Json::array();
    if (a.nprobes.empty()) {
        results.push_back(measure(a, loaded, queries, truth));
    }
    for (const int nprobe : a.nprobes) {
        set_nprobe(loaded, nprobe);
        results.push_back(measure(a, loaded, queries, truth));
    }
    json["results"] = results;
    const std::string refined_on = loaded.vlc ? loaded.vlc->refined_on() : "";
    if (!refined_on.empty()) {
        json["refined_on"] = refined_on;
    }
    return json;
}

void print(const Json& json) {
    printf("%s: %lld vectors of %d dimensions (%s), %lld queries, k %lld, %d threads\n",
           json["index"].get<std::string>().c_str(), json["n"].get<long long>(),
           json["d"].get<int>(), json["metric"].get<std::string>().c_str(),
           json["queries"].get<long long>(), json["k"].get<long long>(),
           json["threads"].get<int>());
    printf("truth: %s\n", json["truth"].get<std::string>().c_str());
    if (json.contains("refined_on")) {
        printf("refined on: %s\n", json["refined_on"].get<std::string>().c_str());
    }
    printf("\n%7s", "nprobe");
    const Json& results = json["results"];
    for (const auto& item : results[0]["recall"].items()) {
        printf("  %10s", ("recall@" + item.key()).c_str());
    }
    printf("  %10s  %8s  %8s  %8s\n", "queries/s", "p50 ms", "p90 ms", "p99 ms");
    for (const Json& result : results) {
        if (result["nprobe"].is_null()) {
            printf("%7s", "-");
        } else {
            printf("%7lld", result["nprobe"].get<long long>());
        }
        for (const auto& item : result["recall"].items()) {
            printf("  %10.4f", item.value().get<double>());
        }
        printf("  %10.0f", result["qps"].get<double>());
        for (const auto& item : result["latency_ms"].items()) {
            printf("  %8.3f", item.value().get<double>());
        }
        printf("\n");
    }
}

} // namespace

void add_eval_command(CLI::App& app, Job& job) {
    auto* command = app.add_subcommand("eval", "Measure recall, queries per second and latency");
    auto a = std::make_shared<Arguments>();
    command->add_option("--idx", a->index, "The index")->type_name("FILE")->required();
    command->add_option("--queries", a->queries.path, "Queries, float32 n x d")
            ->type_name("FILE")
            ->required();
    auto* gt = command->add_option("--gt", a->gt, "Their exact neighbours, best first")
                       ->type_name("FILE");
    command->add_option("--emb", a->emb.path,
                        "Or the indexed vectors, in which they are looked up; with neither, the "
                        "decoded vectors are searched instead")
            ->type_name("FILE")
            ->excludes(gt);
    command->add_option("--k", a->k, "Neighbours to search for (default: 100)")
            ->type_name("K")
            ->check(CLI::Range(1, kMaxResults));
    add_nprobe_option(*command, a->nprobes);
    add_search_device_option(*command, a->search_device);
    command->add_option("--runs", a->runs, "Searches of which the median speed counts (default: 5)")
            ->type_name("N")
            ->check(CLI::Range(1, 1000));
    add_dtype_option(*command, a->queries.dtype);
    command->add_option("--dataset", a->queries.dataset,
                        "HDF5 dataset of the queries (default: test; --gt's is neighbors)")
            ->type_name("NAME");
    add_threads_option(*command, job);
    add_json_option(*command, job);
    command->callback([a, &job] {
        a->emb.dtype = a->queries.dtype;
        job.run = [a] { return run(*a); };
        job.print = print;
    });
}

} // namespace faiss_vlc::cli
