#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <faiss_vlc/parameters.h>
#include <faiss_vlc/vectors/vector_file.h>

/// What the tests of the stages share.

/// Random numbers that are the same with every standard library.
class Random {
public:
    explicit Random(uint64_t seed) : bits_(seed) {}

    uint64_t bits() { return bits_(); }
    /// Within [low, high].
    int64_t between(int64_t low, int64_t high) {
        return low + int64_t(bits_() % uint64_t(high - low + 1));
    }
    /// Within [0, 1).
    double unit() { return double(bits_() >> 11) * 0x1p-53; }
    /// About normal, variance 1.
    double normal() {
        double sum = -6;
        for (int i = 0; i < 12; i++) {
            sum += unit();
        }
        return sum;
    }

    template <class T>
    std::vector<T> values(size_t count, int64_t low, int64_t high) {
        std::vector<T> out(count);
        for (T& v : out) {
            v = T(between(low, high));
        }
        return out;
    }
    std::vector<float> normals(size_t count, double scale = 1, double offset = 0) {
        std::vector<float> out(count);
        for (float& v : out) {
            v = float(offset + scale * normal());
        }
        return out;
    }

private:
    std::mt19937_64 bits_;
};

/// The codec that tests of whole indexes use where any would do: VLC_TEST_CODEC=block runs them
/// with words.
inline faiss_vlc::Codec test_codec() {
    const char* wanted = std::getenv("VLC_TEST_CODEC");
    return wanted && !std::strcmp(wanted, "block") ? faiss_vlc::Codec::block
                                                   : faiss_vlc::Codec::automatic;
}

/// The bytes of a second tier of codes that tests of whole indexes use where any would do:
/// VLC_TEST_SECOND=12 runs them with two tiers.
inline int test_second_bytes() {
    const char* wanted = std::getenv("VLC_TEST_SECOND");
    return wanted ? std::atoi(wanted) : 0;
}

/// n x d around `centres` random centres: row i belongs to centre i % centres. Dimensions are of
/// unequal strength, as in real data.
inline std::vector<float> clustered(int64_t n, int d, int centres, uint64_t seed,
                                    double spread = 0.3) {
    Random random(seed);
    const std::vector<float> centre = random.normals(size_t(centres) * d);
    std::vector<float> x(size_t(n) * d);
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < d; k++) {
            x[i * d + k] = centre[(i % centres) * d + k] +
                           float(spread * random.normal() / (1 + 4.0 * k / d));
        }
    }
    return x;
}

/// Squared distance, or minus the inner product: smaller is nearer.
inline double true_distance(int d, const float* a, const float* b, bool inner_product = false) {
    double sum = 0;
    for (int k = 0; k < d; k++) {
        const double u = double(a[k]) - b[k];
        sum += inner_product ? -double(a[k]) * b[k] : u * u;
    }
    return sum;
}

/// The real descriptors of tests/data/sift20k.
inline faiss_vlc::Matrix<float> sift(const char* name, int64_t rows = -1) {
    return faiss_vlc::read_vectors(std::string(VLC_TEST_DATA) + "/sift20k/" + name, {}, rows);
}

/// FNV-1a over bytes, to compare results of processes.
inline uint64_t digest(const void* data, size_t bytes, uint64_t hash = 0xcbf29ce484222325u) {
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3u;
    }
    return hash;
}

/// Runs one test of this executable in a process of its own, with VAR=value set. Returns what the
/// test gave to report(), or "failed".
inline std::string run_child(const std::string& test, const std::string& setting) {
    char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (length < 0) {
        return "failed";
    }
    path[length] = 0;
    const std::string command = setting + " VLC_TEST_CHILD=1 '" + path +
                                "' --gtest_also_run_disabled_tests --gtest_filter='" + test +
                                "' 2>&1";
    FILE* pipe = popen(command.c_str(), "r");
    if (!pipe) {
        return "failed";
    }
    std::string output;
    char part[4096];
    while (fgets(part, sizeof(part), pipe)) {
        output += part;
    }
    if (pclose(pipe) != 0) {
        fprintf(stderr, "%s", output.c_str());
        return "failed";
    }
    const size_t begin = output.find("REPORT<");
    const size_t end = output.find(">REPORT");
    return begin == std::string::npos || end == std::string::npos
                   ? "failed"
                   : output.substr(begin + 7, end - begin - 7);
}

inline void report(const std::string& text) {
    printf("REPORT<%s>REPORT\n", text.c_str());
}
