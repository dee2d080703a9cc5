#include <faiss_vlc/cli/cli.h>

#include <cstdio>

namespace faiss_vlc::cli {

namespace {

struct Arguments {
    std::string index, out;
};

Json run(const Arguments& a) {
    LoadedIndex loaded = open_index(a.index);
    const int64_t n = loaded.index->ntotal;
    const int d = loaded.index->d;
    const auto out = create_vectors(a.out, DType::f32, d, n);
    DecodedVectors vectors(loaded);
    while (const int64_t count = vectors.next()) {
        out->append(vectors.block(), count);
    }
    out->close();

    Json json;
    json["vectors"] = a.out;
    json["n"] = n;
    json["d"] = d;
    json["file_bytes"] = written_size(a.out);
    return json;
}

void print(const Json& json) {
    printf("%s: %lld vectors of %d dimensions", json["vectors"].get<std::string>().c_str(),
           json["n"].get<long long>(), json["d"].get<int>());
    if (!json["file_bytes"].is_null()) {
        printf(", %lld bytes", json["file_bytes"].get<long long>());
    }
    printf("\n");
}

} // namespace

void add_decode_command(CLI::App& app, Job& job) {
    auto* command = app.add_subcommand("decode", "Decompress: write the vectors in id order");
    auto a = std::make_shared<Arguments>();
    command->add_option("--idx", a->index, "The index")->type_name("FILE")->required();
    command->add_option("--out", a->out,
                        "The vectors: .npy (float32, n x d) or .fvecs; /dev/stdout takes .npy")
            ->type_name("FILE")
            ->required();
    add_threads_option(*command, job);
    add_json_option(*command, job);
    command->callback([a, &job] {
        job.outputs = {&a->out};
        job.run = [a] { return run(*a); };
        job.print = print;
    });
}

} // namespace faiss_vlc::cli
