#include <faiss_vlc/cli/cli.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include <faiss/IVFlib.h>
#include <faiss/IndexIDMap.h>

#include <faiss_vlc/factory.h>
#include <faiss_vlc/index/devices.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/train.h>
#include <faiss_vlc/train/sample.h>

namespace faiss_vlc::cli {

namespace {

/// Floats that a training sample drawn from --emb may take: 512 MB, which training doubles.
constexpr int64_t kMaxSampleFloats = int64_t(1) << 27;

struct Arguments {
    VectorArgument emb, train, queries;
    std::string out, factory;
    VLCParameters parameters;
    faiss::MetricType metric = faiss::METRIC_L2;
    bool verbose = false;
};

/// Rows of the file, one out of each of `rows` equal parts, in the file's order.
Matrix<float> sample_rows(VectorStream& stream, int64_t rows, uint32_t seed) {
    Matrix<float> sample;
    sample.n = rows;
    sample.d = stream.d();
    sample.data.resize(size_t(rows) * sample.d);
    const auto part_begin = [&](int64_t i) { return int64_t(__int128(stream.n()) * i / rows); };
    const auto chosen = [&](int64_t i) {
        const int64_t begin = part_begin(i), size = part_begin(i + 1) - begin;
        return begin + int64_t(hash32(seed, uint32_t(i), uint32_t(i >> 32)) % uint64_t(size));
    };
    int64_t taken = 0;
    while (const int64_t count = stream.next()) {
        for (; taken < rows && chosen(taken) < stream.first() + count; taken++) {
            const float* row = stream.block() + (chosen(taken) - stream.first()) * sample.d;
            std::copy_n(row, sample.d, &sample.data[size_t(taken) * sample.d]);
        }
    }
    return sample;
}

/// The training set: of --train everything, of --emb what training would use of it.
Matrix<float> training_set(const Arguments& a, const VLCParameters& parameters, VectorStream& emb) {
    if (!a.train.path.empty()) {
        return read_all(a.train);
    }
    const int64_t m = parameters.m > 0 ? parameters.m : choose_anchors(emb.n(), emb.n());
    const int64_t useful = most_rows(m, emb.d(), parameters);
    const int64_t most = std::max(39 * m, kMaxSampleFloats / emb.d());
    Matrix<float> sample = sample_rows(emb, std::min({emb.n(), useful, most}), parameters.seed);
    emb.rewind();
    return sample;
}

/// The IndexVLC inside an index, or null.
IndexVLC* find_vlc(faiss::Index* index) {
    return dynamic_cast<IndexVLC*>(faiss::ivflib::try_extract_index_ivf(index));
}

/// An untrained index, whose anchors may be left to choose.
std::unique_ptr<faiss::Index> make_index(const Arguments& a, int d) {
    VLCParameters parameters = a.parameters;
    if (a.factory.empty()) {
        return std::make_unique<IndexVLC>(d, parameters, a.metric);
    }
    std::unique_ptr<faiss::Index> index(index_factory(d, a.factory.c_str(), a.metric));
    IndexVLC* vlc = find_vlc(index.get());
    if (!vlc) {
        fail("--factory %s: expected a VLC in it", a.factory.c_str());
    }
    parameters.m = vlc->parameters.m;
    parameters.bits_per_dim = vlc->parameters.bits_per_dim;
    parameters.bytes = vlc->parameters.bytes;
    parameters.second_bits = vlc->parameters.second_bits;
    parameters.second_bytes = vlc->parameters.second_bytes;
    vlc->parameters = parameters;
    return index;
}

void add_block(faiss::Index& index, const VectorStream& emb, int64_t count) {
    if (dynamic_cast<const faiss::IndexIDMap*>(&index)) { // takes no other vectors
        std::vector<int64_t> ids(count);
        std::iota(ids.begin(), ids.end(), emb.first());
        index.add_with_ids(count, emb.block(), ids.data());
    } else {
        index.add(count, emb.block());
    }
}

/// "16", or of two tiers "16+80".
std::string bytes_text(int first, int second) {
    return std::to_string(first) + (second > 0 ? "+" + std::to_string(second) : "");
}

Json run(Arguments a) {
    // What can go wrong before the work goes wrong first.
    require_writable(a.out);
    if (!a.parameters.checkpoint.empty()) {
        require_writable(a.parameters.checkpoint);
    }
    if (!a.parameters.resume.empty()) {
        file_size(a.parameters.resume); // is it there?
    }

    VectorStream emb(a.emb);
    a.train.d = a.queries.d = emb.d();
    const std::unique_ptr<faiss::Index> index = make_index(a, emb.d());
    IndexVLC& vlc = *find_vlc(index.get());
    vlc.verbose = a.verbose;
    const VLCParameters& p = a.parameters;
    const int d = emb.d();
    if (p.bytes > p.first_size(d) || p.second_bytes > p.second_size(d)) {
        fprintf(stderr, "vlc: %s bytes are more than 8 bits a dimension need: using %s\n",
                bytes_text(p.bytes, p.second_bytes).c_str(),
                bytes_text(p.first_size(d), p.second_size(d)).c_str());
    }
    // Held until the end, as preparing it takes time.
    const std::shared_ptr<const void> devices = hold_devices(a.parameters.device);

    Matrix<float> queries;
    if (!a.queries.path.empty()) {
        queries = read_all(a.queries);
        if (queries.n < 1) {
            fail("%s: expected at least 1 query, got none", a.queries.path.c_str());
        }
    }
    Matrix<float> sample = training_set(a, vlc.parameters, emb);
    const int64_t n_train = sample.n;
    if (vlc.parameters.m == 0) {
        vlc.parameters.m = choose_anchors(emb.n(), n_train);
    }
    if (n_train < vlc.parameters.m) {
        fail("%s: expected at least as many training vectors as anchors, got %lld for m = %d",
             (a.train.path.empty() ? a.emb : a.train).path.c_str(), (long long)n_train,
             vlc.parameters.m);
    }
    double start = seconds_now();
    if (queries.n > 0) {
        train(*index, n_train, sample.data.data(), queries.n, queries.data.data());
    } else {
        index->train(n_train, sample.data.data());
    }
    const double train_seconds = seconds_now() - start;
    sample.data = std::vector<float>();
    if (a.verbose) {
        printf("trained on %lld vectors with %s in %.2f s\n", (long long)n_train,
               vlc.trained_on.c_str(), train_seconds);
        fflush(stdout);
    }

    double add_seconds = 0;
    while (const int64_t count = emb.next()) {
        start = seconds_now();
        add_block(*index, emb, count);
        add_seconds += seconds_now() - start;
        if (a.verbose) {
            printf("added %lld of %lld vectors\n", (long long)index->ntotal, (long long)emb.n());
            fflush(stdout);
        }
    }
    check_interrupt();
    write_index(index.get(), a.out.c_str());

    Json json;
    json["index"] = a.out;
    json["n"] = index->ntotal;
    json["d"] = index->d;
    json["metric"] = metric_name(index->metric_type);
    json["m"] = vlc.nlist;
    json["code_bytes"] = vlc.code_size;
    if (vlc.model->second) {
        json["second_code_bytes"] = vlc.model->second->code_size();
    }
    json["nprobe"] = vlc.nprobe;
    json["training_vectors"] = n_train;
    json["iterations"] = vlc.model->record.iterations;
    json["device"] = vlc.trained_on;
    json["train_seconds"] = rounded(train_seconds);
    json["add_seconds"] = rounded(add_seconds);
    add_size(json, written_size(a.out), index->ntotal, index->d);
    return json;
}

void print(const Json& json) {
    printf("%s: %lld vectors of %d dimensions (%s), %d anchors, nprobe %d\n",
           json["index"].get<std::string>().c_str(), json["n"].get<long long>(),
           json["d"].get<int>(), json["metric"].get<std::string>().c_str(), json["m"].get<int>(),
           json["nprobe"].get<int>());
    printf("training   %.2f s on %lld vectors, %d iterations, with %s\n",
           json["train_seconds"].get<double>(), json["training_vectors"].get<long long>(),
           json["iterations"].get<int>(), json["device"].get<std::string>().c_str());
    printf("adding     %.2f s\n", json["add_seconds"].get<double>());
    print_size(json);
}

} // namespace

void add_index_command(CLI::App& app, Job& job) {
    auto* command = app.add_subcommand("index", "Train on vectors, compress them, write an index");
    auto a = std::make_shared<Arguments>();

    command->add_option("--emb", a->emb.path, "Vectors to index; streamed, may exceed memory")
            ->type_name("FILE")
            ->required();
    command->add_option("--out", a->out,
                        "The index; replaced only when the new one is complete. /dev/stdout is "
                        "taken, text then goes to stderr")
            ->type_name("FILE")
            ->required();
    command->add_option("--train", a->train.path,
                        "Vectors to train on (default: a sample of --emb)")
            ->type_name("FILE");
    command->add_option("--train-queries", a->queries.path,
                        "Queries like those to come, if they are unlike the vectors: training "
                        "makes its choices by them")
            ->type_name("FILE");
    command->add_option("--d", a->emb.d, "Dimensions; needed for raw files, else compared")
            ->type_name("D")
            ->check(CLI::Range(1, kMaxDim));
    add_dtype_option(*command, a->emb.dtype);
    command->add_option("--dataset", a->emb.dataset, "Dataset of an HDF5 file (default: train)")
            ->type_name("NAME");

    add_parameter_options(*command, a->parameters);
    command->add_option("--factory", a->factory,
                        "Or an index_factory string with a VLC in it, such as OPQ16_64,VLC256x4")
            ->type_name("STRING")
            ->excludes("--m")
            ->excludes("--bytes")
            ->excludes("--bits")
            ->group("Index");
    command->get_option("--bits")->excludes("--bytes");
    command->get_option("--every")->needs("--checkpoint");
    add_choice<faiss::MetricType>(*command, "--metric",
                                  [a](faiss::MetricType metric) { a->metric = metric; },
                                  "ip is the inner product (default: l2)",
                                  {{"l2", faiss::METRIC_L2}, {"ip", faiss::METRIC_INNER_PRODUCT}})
            ->group("Index");

    add_threads_option(*command, job);
    command->add_flag("--verbose", a->verbose,
                      "A line per iteration and block (to stderr with --json)");
    add_json_option(*command, job);
    command->callback([a, &job] {
        a->train.dtype = a->queries.dtype = a->emb.dtype;
        if (!a->parameters.checkpoint.empty() && a->parameters.checkpoint_every == 0) {
            a->parameters.checkpoint_every = 1;
        }
        job.outputs = {&a->out};
        job.run = [a] { return run(*a); };
        job.print = print;
    });
}

} // namespace faiss_vlc::cli
