// The demo's peer: IndexIVFPQ of the FAISS that this project is built with. Reads .npy, writes its
// index file, prints one JSON object. The same threads, queries and repetitions as `vlc eval`.

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include <CLI/CLI.hpp>
#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/index_io.h>
#include <faiss/utils/utils.h>
#include <nlohmann/json.hpp>
#include <omp.h>

#include <faiss_vlc/vectors/vector_file.h>

namespace {

double seconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

/// The number of sub-quantizers of one byte nearest to the bytes that are wanted.
int legal_size(int d, int wanted) {
    int best = 1;
    for (int m = 1; m <= d; m++) {
        if (d % m == 0 && std::abs(m - wanted) < std::abs(best - wanted)) {
            best = m;
        }
    }
    return best;
}

double recall(const std::vector<int64_t>& found, const faiss_vlc::Matrix<int64_t>& truth, int k) {
    int64_t hits = 0;
    for (int64_t i = 0; i < truth.n; i++) {
        for (int j = 0; j < k; j++) {
            const int64_t* row = &found[i * k];
            hits += std::find(row, row + k, truth.data[i * truth.d + j]) != row + k;
        }
    }
    return double(hits) / double(truth.n * k);
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app("IndexIVFPQ beside vlc");
    std::string emb, queries_path, gt, out;
    int nlist = 256, bytes = 32, threads = 0;
    constexpr int kK = 10, kRuns = 5;
    std::vector<int> nprobes;
    app.add_option("--emb", emb)->required();
    app.add_option("--queries", queries_path)->required();
    app.add_option("--gt", gt)->required();
    app.add_option("--out", out)->required();
    app.add_option("--m", nlist);
    app.add_option("--bytes", bytes);
    app.add_option("--threads", threads);
    app.add_option("--nprobe", nprobes)->delimiter(',')->required();
    CLI11_PARSE(app, argc, argv);
    try {
        if (threads > 0) {
            omp_set_num_threads(threads);
        }
        const auto base = faiss_vlc::read_vectors(emb);
        const auto queries = faiss_vlc::read_vectors(queries_path);
        const auto truth = faiss_vlc::read_labels(gt);
        faiss::IndexFlatL2 quantizer(base.d);
        faiss::IndexIVFPQ index(&quantizer, base.d, nlist, legal_size(base.d, bytes), 8);
        nlohmann::ordered_json json;
        double start = seconds();
        index.train(base.n, base.data.data());
        json["train_seconds"] = seconds() - start;
        start = seconds();
        index.add(base.n, base.data.data());
        json["add_seconds"] = seconds() - start;
        faiss::write_index(&index, out.c_str());
        struct stat info = {};
        stat(out.c_str(), &info);
        json["bytes_per_vector"] = double(info.st_size) / double(base.n);
        json["percent_of_float32"] = 100.0 * double(info.st_size) / (4.0 * double(base.n) * base.d);
        json["faiss"] = std::to_string(FAISS_VERSION_MAJOR) + "." +
                        std::to_string(FAISS_VERSION_MINOR) + "." +
                        std::to_string(FAISS_VERSION_PATCH);
        json["faiss_compile_options"] = faiss::get_compile_options();
        json["code_size"] = index.code_size;
        for (int nprobe : nprobes) {
            index.nprobe = nprobe;
            std::vector<float> distances(queries.n * kK);
            std::vector<int64_t> labels(queries.n * kK);
            std::vector<double> times;
            for (int run = 0; run <= kRuns; run++) {
                start = seconds();
                index.search(queries.n, queries.data.data(), kK, distances.data(), labels.data());
                times.push_back(seconds() - start);
            }
            std::sort(times.begin() + 1, times.end()); // the first warms up
            json["results"].push_back({{"nprobe", nprobe},
                                       {"recall@10", recall(labels, truth, kK)},
                                       {"qps", double(queries.n) / times[1 + kRuns / 2]}});
        }
        printf("%s\n", json.dump(1).c_str());
    } catch (const std::exception& error) {
        fprintf(stderr, "demo_ivfpq: %s\n", error.what());
        return 1;
    }
    return 0;
}
