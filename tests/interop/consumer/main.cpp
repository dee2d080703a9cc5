// Uses faiss::IndexFlat and faiss_vlc::IndexVLC side by side and checks that both run on one copy
// of FAISS.

#include <cstdio>
#include <random>
#include <vector>

#include <dlfcn.h>

#include <faiss/IndexFlat.h>
#include <faiss/impl/FaissException.h>
#include <faiss/utils/distances.h>
#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/index_io.h>

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
    if (!holds) {
        std::printf("FAILED: %s\n", what);
        ++failures;
    }
}

// If the shared library is in this process, the FAISS that it sees must be the program's.
void expect_one_faiss() {
    void* library = dlopen("libfaiss_vlc.so.0.1", RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) {
        return;
    }
    std::printf("shared library loaded\n");
    for (const char* symbol :
         {"_ZN5faiss31distance_compute_blas_thresholdE", "_ZTIN5faiss5IndexE"}) {
        void* theirs = dlsym(library, symbol);
        expect(theirs == nullptr || theirs == dlsym(RTLD_DEFAULT, symbol), symbol);
    }
    dlclose(library);
}

// What one side throws the other side catches.
void expect_exceptions_to_pass() {
    try {
        faiss_vlc::read_index(static_cast<const char*>(nullptr));
    } catch (const faiss::FaissException& error) {
        expect(error.msg == "read_index: expected a path, got null", "the message of an exception");
        return;
    } catch (...) {
    }
    expect(false, "a FaissException of the library is one for the program");
}

} // namespace

int main() {
    expect_one_faiss();
    expect_exceptions_to_pass();

    const int d = 16;
    const int n = 2000;
    const int k = 10;
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform;
    std::vector<float> x(n * d);
    for (float& value : x) {
        value = uniform(random);
    }

    faiss::IndexFlat flat(d);
    flat.add(n, x.data());
    faiss_vlc::IndexVLC vlc(d, 16, 8, faiss::METRIC_L2);
    vlc.nprobe = 16;
    faiss::Index* index = &vlc;
    index->train(n, x.data());
    index->add(n, x.data());
    expect(index->ntotal == n, "all vectors were added");

    const int queries = 100;
    std::vector<float> distances(queries * k);
    std::vector<int64_t> expected(queries * k), found(queries * k);
    flat.search(queries, x.data(), k, distances.data(), expected.data());
    index->search(queries, x.data(), k, distances.data(), found.data());
    int same = 0;
    for (int query = 0; query < queries; ++query) {
        for (int i = 0; i < k; ++i) {
            for (int j = 0; j < k; ++j) {
                same += found[query * k + i] == expected[query * k + j];
            }
        }
    }
    std::printf("recall@%d %.3f\n", k, double(same) / (queries * k));
    expect(same > queries * k * 8 / 10, "most of the exact neighbours are found");
    return failures == 0 ? 0 : 1;
}
