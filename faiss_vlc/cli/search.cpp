#include <faiss_vlc/cli/cli.h>

#include <algorithm>
#include <cstdio>

#include <faiss/index_io.h>

#include <faiss_vlc/index_io.h>
#include <faiss_vlc/lib/error.h>

namespace faiss_vlc::cli {

namespace {

struct Arguments {
    std::string index;
    VectorArgument queries;
    int k = 10;
    std::vector<int> nprobe;
    std::string out, distances, search_device;
    int io_flags = 0;
};

Json run(Arguments a) {
    LoadedIndex loaded = open_index(a.index, a.io_flags);
    const faiss::Index& index = *loaded.index;
    if (!a.nprobe.empty()) {
        set_nprobe(loaded, a.nprobe.front());
    }
    set_search_device(loaded, a.search_device);
    a.queries.d = index.d;
    if (a.queries.dataset.empty()) {
        a.queries.dataset = "test";
    }
    VectorStream queries(a.queries);
    const auto labels_out = create_vectors(a.out, DType::i64, a.k, queries.n());
    std::unique_ptr<VectorWriter> distances_out;
    if (!a.distances.empty()) {
        distances_out = create_vectors(a.distances, DType::f32, a.k, queries.n());
    }

    // k results can be much larger than a query
    const int64_t most = std::max<int64_t>(1, rows_per_block(a.k));
    std::vector<float> distances;
    std::vector<int64_t> labels;
    double seconds = 0;
    while (const int64_t count = queries.next()) {
        for (int64_t first = 0; first < count; first += most) {
            const int64_t part = std::min(most, count - first);
            distances.resize(size_t(part) * a.k);
            labels.resize(distances.size());
            const double start = seconds_now();
            index.search(part, queries.block() + first * index.d, a.k, distances.data(),
                         labels.data());
            seconds += seconds_now() - start;
            labels_out->append(labels.data(), part);
            if (distances_out) {
                distances_out->append(distances.data(), part);
            }
        }
    }
    if (distances_out) {
        distances_out->close();
    }
    labels_out->close();

    Json json;
    json["labels"] = a.out;
    json["distances"] = a.distances.empty() ? Json(nullptr) : Json(a.distances);
    json["queries"] = queries.n();
    json["k"] = a.k;
    json["nprobe"] = loaded.ivf ? Json(loaded.ivf->nprobe) : Json(nullptr);
    json["metric"] = metric_name(index.metric_type);
    const std::string refined_on = loaded.vlc ? loaded.vlc->refined_on() : "";
    if (!refined_on.empty()) {
        json["refined_on"] = refined_on;
    }
    json["seconds"] = rounded(seconds);
    json["qps"] = rounded(double(queries.n()) / std::max(seconds, 1e-9));
    return json;
}

void print(const Json& json) {
    printf("%s: %lld nearest of %lld queries in %.3f s (%.0f queries/s)\n",
           json["labels"].get<std::string>().c_str(), json["k"].get<long long>(),
           json["queries"].get<long long>(), json["seconds"].get<double>(),
           json["qps"].get<double>());
}

} // namespace

void add_search_command(CLI::App& app, Job& job) {
    auto* command = app.add_subcommand("search", "Find the nearest vectors of queries");
    auto a = std::make_shared<Arguments>();
    command->add_option("--idx", a->index, "The index")->type_name("FILE")->required();
    command->add_option("--queries", a->queries.path, "Queries; streamed")
            ->type_name("FILE")
            ->required();
    command->add_option(
                   "--out", a->out,
                   "Labels, best first, -1 where there are none: .npy (int64, n x k) or .ivecs; "
                   "/dev/stdout takes .npy")
            ->type_name("FILE")
            ->required();
    command->add_option("--distances", a->distances,
                        "Their distances (l2: squared): .npy (float32, n x k) or .fvecs")
            ->type_name("FILE");
    command->add_option("--k", a->k, "Neighbours (default: 10)")
            ->type_name("K")
            ->check(CLI::Range(1, kMaxResults));
    add_nprobe_option(*command, a->nprobe)->expected(1);
    add_search_device_option(*command, a->search_device);
    add_choice<int>(
            *command, "--mmap", [a](int flags) { a->io_flags = flags; },
            "What stays in the index's file: none, its second tier of codes, or all ids and codes "
            "(default: none)",
            {{"none", 0}, {"second", IO_FLAG_MMAP_SECOND}, {"all", faiss::IO_FLAG_MMAP}});
    add_dtype_option(*command, a->queries.dtype);
    command->add_option("--dataset", a->queries.dataset, "HDF5 dataset (default: test)")
            ->type_name("NAME");
    add_threads_option(*command, job);
    add_json_option(*command, job);
    command->callback([a, &job] {
        if (a->distances == a->out) {
            throw CLI::ValidationError("--distances", "expected another file than --out");
        }
        job.outputs = {&a->out, &a->distances};
        job.run = [a] { return run(*a); };
        job.print = print;
    });
}

} // namespace faiss_vlc::cli
