// A checkpoint that training resumes from: raw first, then with its checksums made right.

#include <tests/fuzz/fuzz.h>

#include <unistd.h>

#include <cstdio>

#include <faiss_vlc/train/reference_engine.h>

#include <tests/fuzz/checkpoint_input.h>

namespace {

void resume(const Bytes& bytes) {
    static const CheckpointedRun run;
    static const std::string path = "/dev/shm/vlc_fuzz_" + std::to_string(getpid()) + ".checkpoint";
    FILE* file = fopen(path.c_str(), "wb");
    if (!file) {
        return;
    }
    if (!bytes.empty()) { // fwrite takes no null
        fwrite(bytes.data(), 1, bytes.size(), file);
    }
    fclose(file);
    faiss_vlc::VLCParameters params = run.params;
    params.resume = path;
    attempt([&] {
        faiss_vlc::ReferenceEngine engine;
        faiss_vlc::anneal(engine, run.sample, params, false);
    });
    unlink(path.c_str());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes bytes(data, data + size);
    resume(bytes);
    reseal(bytes.data(), bytes.size());
    resume(bytes);
    return 0;
}
