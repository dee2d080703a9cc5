#include <faiss_vlc/cli_internal.h>

#include <algorithm>
#include <cstdio>

#include <faiss_vlc/error.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/integer_math.h>
#include <faiss_vlc/train.h>
#include <opencl/device.h>

namespace faiss_vlc::cli {

namespace {

/// Floats that a training sample drawn from --emb may take: 512 MB, which training doubles.
constexpr int64_t kMaxSampleFloats = int64_t(1) << 27;

struct Arguments {
    VectorArgument emb, train;
    std::string out;
    VLCParameters parameters;
    faiss::MetricType metric = faiss::METRIC_L2;
    int every = 0;
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
Matrix<float> training_set(const Arguments& a, VectorStream& emb) {
    VectorArgument train = a.train;
    if (!train.path.empty()) {
        train.d = emb.d();
        return read_all(train);
    }
    const int64_t m = a.parameters.m > 0 ? a.parameters.m : choose_anchors(emb.n(), emb.n());
    const int64_t useful = m * a.parameters.max_points_per_anchor;
    const int64_t most = std::max(m, kMaxSampleFloats / emb.d());
    const int64_t rows = std::min({emb.n(), useful, most});
    Matrix<float> sample = sample_rows(emb, rows, a.parameters.seed);
    emb.rewind();
    return sample;
}

Json run(Arguments a) {
    VLCParameters& parameters = a.parameters;
    if (parameters.checkpoint.empty() != (a.every == 0)) {
        // one alone is completed below or meaningless
        if (parameters.checkpoint.empty()) {
            fail("--every %d needs --checkpoint, the file to write", a.every);
        }
        a.every = 1;
    }
    parameters.checkpoint_every = a.every;
    // What can go wrong without reading a byte goes wrong first.
    require_writable(a.out);
    if (!is_auto_device(parameters.device)) {
        open_device(parameters.device);
    }

    VectorStream emb(a.emb);
    parameters.check(emb.d());
    const Matrix<float> sample = training_set(a, emb);
    if (parameters.m == 0) {
        parameters.m = choose_anchors(emb.n(), sample.n);
    }
    IndexVLC index(emb.d(), parameters, a.metric);
    if (parameters.bytes > index.code_size) {
        fprintf(stderr, "vlc: %d bytes are more than 8 bits a dimension need: using %d\n",
                parameters.bytes, int(index.code_size));
    }
    index.verbose = a.verbose;

    double start = seconds_now();
    index.train(sample.n, sample.data.data());
    const double train_seconds = seconds_now() - start;
    if (a.verbose) {
        printf("trained on %lld vectors with %s in %.2f s\n", (long long)sample.n,
               index.trained_on.c_str(), train_seconds);
        fflush(stdout);
    }

    double add_seconds = 0;
    while (const int64_t count = emb.next()) {
        start = seconds_now();
        index.add(count, emb.block());
        add_seconds += seconds_now() - start;
        if (a.verbose) {
            printf("added %lld of %lld vectors\n", (long long)index.ntotal, (long long)emb.n());
            fflush(stdout);
        }
    }
    write_index(&index, a.out.c_str());

    Json json;
    json["index"] = a.out;
    json["n"] = index.ntotal;
    json["d"] = index.d;
    json["metric"] = metric_name(index.metric_type);
    json["m"] = index.nlist;
    json["code_bytes"] = index.code_size;
    json["nprobe"] = index.nprobe;
    json["training_vectors"] = sample.n;
    json["iterations"] = index.model->record.iterations;
    json["device"] = index.trained_on;
    json["train_seconds"] = rounded(train_seconds);
    json["add_seconds"] = rounded(add_seconds);
    add_size(json, file_size(a.out), index.ntotal, index.d);
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
    VLCParameters& p = a->parameters;

    command->add_option("--emb", a->emb.path, "Vectors to index; streamed, may exceed memory")
            ->type_name("FILE")->required();
    command->add_option("--out", a->out, "The index; replaced only when the new one is complete")
            ->type_name("FILE")->required();
    command->add_option("--train", a->train.path, "Vectors to train on (default: a sample of --emb)")
            ->type_name("FILE");
    command->add_option("--d", a->emb.d, "Dimensions; needed for raw files, else compared")
            ->type_name("D")->check(CLI::Range(1, 4096));
    add_dtype_option(*command, a->emb.dtype);
    command->add_option("--dataset", a->emb.dataset, "Dataset of an HDF5 file (default: train)")
            ->type_name("NAME");

    command->add_option("--m", p.m, "Anchors, i.e. lists (default: about 4 sqrt(n))")
            ->type_name("M")->check(CLI::Range(1, 1 << 20))->group("Index");
    auto* bytes = command->add_option("--bytes", p.bytes,
                                      "Bytes per vector, 2 of factors included, ids not")
                          ->type_name("B")->check(CLI::Range(kFactorBytes + 1, 1 << 20))
                          ->group("Index");
    command->add_option("--bits", p.bits_per_dim, "Or code bits per dimension (default: 2)")
            ->type_name("b")->check(CLI::Range(0.125, 8.0))->excludes(bytes)->group("Index");
    command->add_option("--metric", a->metric, "l2 or ip, the inner product (default: l2)")
            ->type_name("l2|ip")->group("Index")
            ->transform(CLI::Transformer(std::map<std::string, faiss::MetricType>{
                    {"l2", faiss::METRIC_L2}, {"ip", faiss::METRIC_INNER_PRODUCT}}));
    add_choice(*command, "--frame", p.frame, "Axes of the codes (default: principal)",
               {{"principal", FrameKind::principal}, {"identity", FrameKind::identity}})
            ->group("Index");
    add_choice(*command, "--anchors", p.grid, "How anchors are stored (default: int8)",
               {{"int8", AnchorGrid::int8}, {"float16", AnchorGrid::float16}})
            ->group("Index");

    command->add_option("--device", p.device,
                        "auto, reference or opencl:<part of a name> (default: $VLC_DEVICE, else "
                        "auto); see vlc info --devices")
            ->type_name("NAME")->group("Training");
    command->add_option("--seed", p.seed, "Seed of the sample (default: 1234)")
            ->type_name("S")->group("Training");
    command->add_option("--iterations", p.iterations, "At most (default: 15)")
            ->type_name("N")->check(CLI::Range(1, 10000))->group("Training");
    add_choice(*command, "--robust", p.robust, "What outliers weigh (default: huber)",
               {{"huber", Robust::huber}, {"trim", Robust::trim}, {"none", Robust::none}})
            ->group("Training");
    command->add_option("--work-group", p.work_group, "64, 128 or 256 work-items (default: 64)")
            ->type_name("W")->check(CLI::IsMember({64, 128, 256}))->group("Training");
    command->add_option("--checkpoint", p.checkpoint, "Where to keep the state of training")
            ->type_name("FILE")->group("Training");
    command->add_option("--every", a->every, "Iterations between checkpoints (default: 1)")
            ->type_name("N")->check(CLI::Range(1, 10000))->group("Training");
    command->add_option("--resume", p.resume,
                        "Checkpoint to go on from, with the same data and options")
            ->type_name("FILE")->group("Training");
    command->add_option("--dump", p.dump, "Folder for every intermediate of a small run, as .npy")
            ->type_name("DIR")->group("Training");

    add_threads_option(*command, job);
    command->add_flag("--verbose", a->verbose,
                      "A line per iteration and block (to stderr with --json)");
    add_json_option(*command, job);
    command->callback([a, &job] {
        a->train.dtype = a->emb.dtype;
        a->train.dataset = a->emb.dataset;
        job.run = [a] { return run(*a); };
        job.print = print;
    });
}

} // namespace faiss_vlc::cli
