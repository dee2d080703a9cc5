// In place of libFuzzer, for `make test`: short_run <seconds> <folder of seeds> mutates the seeds
// at random, without a look at coverage. The same seconds need not try the same inputs;
// VLC_FUZZ_SEED does.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

Bytes read_file(const std::filesystem::path& path) {
    Bytes bytes(std::filesystem::file_size(path));
    FILE* file = fopen(path.c_str(), "rb");
    if (!file || fread(bytes.data(), 1, bytes.size(), file) != bytes.size()) {
        fprintf(stderr, "cannot read %s\n", path.c_str());
        exit(1);
    }
    fclose(file);
    return bytes;
}

void mutate(Bytes& bytes, const Bytes& other, std::mt19937& random) {
    static const uint8_t kOdd[] = {0, 1, 0x7f, 0x80, 0xff};
    for (int changes = 1 + int(random() % 6); changes > 0 && !bytes.empty(); changes--) {
        // starts of files hold most of what can be wrong
        const size_t range = random() % 2 ? bytes.size() : std::min<size_t>(bytes.size(), 400);
        const size_t at = random() % range;
        switch (random() % 6) {
        case 0:
            bytes[at] ^= uint8_t(1 << random() % 8);
            break;
        case 1:
            bytes[at] = kOdd[random() % 5];
            break;
        case 2:
            bytes[at] = uint8_t(random());
            break;
        case 3:
            bytes.resize(at);
            break;
        case 4:
            bytes.insert(bytes.begin() + long(at), 1 + random() % 8, uint8_t(random()));
            break;
        default:
            if (other.size() > at) { // the rest of another file
                bytes.resize(at);
                bytes.insert(bytes.end(), other.begin() + long(at), other.end());
            }
        }
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: short_run <seconds> <folder of seeds>\n");
        return 2;
    }
    std::vector<Bytes> seeds;
    for (const auto& entry : std::filesystem::directory_iterator(argv[2])) {
        seeds.push_back(read_file(entry.path()));
        LLVMFuzzerTestOneInput(seeds.back().data(), seeds.back().size());
    }
    if (seeds.empty()) {
        fprintf(stderr, "no seeds in %s\n", argv[2]);
        return 1;
    }
    const char* given = std::getenv("VLC_FUZZ_SEED");
    const uint32_t seed =
            given ? uint32_t(std::strtoul(given, nullptr, 10)) : std::random_device{}();
    printf("VLC_FUZZ_SEED=%u\n", seed);
    fflush(stdout);
    std::mt19937 random(seed);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[1]));
    long runs = 0;
    while (std::chrono::steady_clock::now() < end) {
        Bytes bytes = seeds[random() % seeds.size()];
        mutate(bytes, seeds[random() % seeds.size()], random);
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
        runs++;
    }
    printf("%ld executions from %zu seeds\n", runs, seeds.size());
    return 0;
}
