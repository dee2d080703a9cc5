#include <faiss_vlc/cli/cli.h>

#include <cstdio>

#include <faiss_vlc/container/format.h>

namespace faiss_vlc::cli {

namespace {

Json run(const std::string& path) {
    Json json;
    json["index"] = path;
    json["file_bytes"] = file_size(path);
    if (is_payload(path)) {
        const SectionReader sections(load_file(path));
        sections.verify_all();
        char fingerprint[17];
        snprintf(fingerprint, sizeof fingerprint, "%016llx",
                 (unsigned long long)sections.fingerprint());
        json["format_version"] = sections.version();
        json["sections"] = sections.sections().size();
        json["fingerprint"] = fingerprint;
    }
    // beyond checksums: loading validates the contents
    const LoadedIndex loaded = open_index(path);
    json["n"] = loaded.index->ntotal;
    json["d"] = loaded.index->d;
    json["ok"] = true;
    return json;
}

void print(const Json& json) {
    printf("%s: intact, %lld vectors of %d dimensions, %lld bytes\n",
           json["index"].get<std::string>().c_str(), json["n"].get<long long>(),
           json["d"].get<int>(), json["file_bytes"].get<long long>());
}

} // namespace

void add_verify_command(CLI::App& app, Job& job) {
    auto* command = app.add_subcommand("verify", "Check every checksum of an index and load it");
    auto path = std::make_shared<std::string>();
    command->add_option("--idx", *path, "The index")->type_name("FILE")->required();
    add_json_option(*command, job);
    command->callback([path, &job] {
        job.run = [path] { return run(*path); };
        job.print = print;
    });
}

} // namespace faiss_vlc::cli
