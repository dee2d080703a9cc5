// Knows FAISS alone and asks it for a VLC: works if faiss_vlc was plugged in from outside.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <typeinfo>
#include <vector>

#include <faiss/AutoTune.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/clone_index.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

namespace {

using IndexPtr = std::unique_ptr<faiss::Index>;

const int d = 16, n = 1000, k = 5;
std::vector<float> x;
int failures = 0;

void expect(bool holds, const std::string& what) {
    if (!holds) {
        std::printf("FAILED: %s\n", what.c_str());
        ++failures;
    }
}

bool is_vlc(const faiss::Index* index) {
    const auto* tree = dynamic_cast<const faiss::IndexPreTransform*>(index);
    const faiss::Index* inner = tree ? tree->index : index;
    return std::strstr(typeid(*inner).name(), "IndexVLC") != nullptr;
}

std::vector<int64_t> search(const faiss::Index& index) {
    std::vector<float> distances(n * k);
    std::vector<int64_t> labels(n * k);
    index.search(n, x.data(), k, distances.data(), labels.data());
    return labels;
}

/// Of the first query's neighbours.
float distance_of_fifth(const faiss::Index& index) {
    float distances[k];
    int64_t labels[k];
    index.search(1, x.data(), k, distances, labels);
    return distances[k - 1] * 0.9f;
}

struct Temporary {
    std::string path;
    Temporary() {
        char name[] = "/tmp/faiss_vlc_XXXXXX";
        close(mkstemp(name));
        path = name;
    }
    ~Temporary() { std::remove(path.c_str()); }
};

void check(const char* key) {
    IndexPtr index(faiss::index_factory(d, key));
    expect(is_vlc(index.get()), std::string("the factory makes ") + key);
    index->train(n, x.data());
    index->add(n, x.data());
    const std::vector<int64_t> expected = search(*index);
    const auto same = [&](faiss::Index* other, const char* how) {
        const IndexPtr owned(other);
        expect(is_vlc(other) && search(*other) == expected, std::string(key) + " after " + how);
    };

    same(faiss::clone_index(index.get()), "clone_index");
    const Temporary file;
    faiss::write_index(index.get(), file.path.c_str());
    same(faiss::read_index(file.path.c_str()), "write_index and read_index with a path");

    FILE* stream = std::fopen(file.path.c_str(), "wb");
    faiss::write_index(index.get(), stream);
    std::fclose(stream);
    stream = std::fopen(file.path.c_str(), "rb");
    same(faiss::read_index(stream), "write_index and read_index with a FILE");
    std::fclose(stream);

    faiss::VectorIOWriter writer;
    faiss::write_index(index.get(), &writer);
    faiss::VectorIOReader reader;
    reader.data = writer.data;
    same(faiss::read_index(&reader), "write_index and read_index in memory");
}

/// As servers use FAISS, Milvus for one: parameters by name, single queries on threads of their own
/// with parameters and a selector, and bytes in memory.
void check_server(const char* key) {
    IndexPtr index(faiss::index_factory(d, key, faiss::METRIC_INNER_PRODUCT));
    faiss::ParameterSpace().set_index_parameter(index.get(), "nprobe", 3);
    index->train(n, x.data());
    index->add(n, x.data());
    expect(dynamic_cast<const faiss::IndexIVF&>(*index).nprobe == 3, "nprobe by its name");
    faiss::VectorIOWriter writer;
    faiss::write_index(index.get(), &writer);
    faiss::VectorIOReader reader;
    reader.data = writer.data;
    const IndexPtr loaded(faiss::read_index(&reader));

    const faiss::IDSelectorRange upper(n / 2, n);
    faiss::SearchParametersIVF parameters;
    parameters.nprobe = 16;
    parameters.sel = const_cast<faiss::IDSelectorRange*>(&upper);
    const auto search_one_by_one = [&](const faiss::Index& in) {
        std::vector<float> distances(64 * k);
        std::vector<int64_t> labels(64 * k);
        std::vector<std::thread> threads;
        for (int first = 0; first < 4; first++) {
            threads.emplace_back([&, first] {
                for (int i = first; i < 64; i += 4) {
                    in.search(1, x.data() + i * d, k, &distances[i * k], &labels[i * k],
                              &parameters);
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        return labels;
    };
    const std::vector<int64_t> found = search_one_by_one(*index);
    expect(std::all_of(found.begin(), found.end(), [](int64_t id) { return id >= n / 2; }),
           "labels that the selector lets through");
    expect(search_one_by_one(*loaded) == found, "the same after loading");

    faiss::RangeSearchResult range(1);
    index->range_search(1, x.data(), distance_of_fifth(*index), &range, &parameters);
    expect(range.lims[1] > 0, "a range search");
}

void check_others() {
    const IndexPtr flat(faiss::index_factory(d, "PCA8,Flat"));
    flat->train(n, x.data());
    flat->add(n, x.data());
    const Temporary file;
    faiss::write_index(flat.get(), file.path.c_str());
    const IndexPtr read(faiss::read_index(file.path.c_str())),
            clone(faiss::clone_index(flat.get()));
    expect(search(*read) == search(*flat) && search(*clone) == search(*flat), "another index");
    try {
        IndexPtr(faiss::index_factory(d, "nonsense"));
        expect(false, "an exception for nonsense");
    } catch (const faiss::FaissException&) {
    }
}

} // namespace

int main() {
    setenv("VLC_DEVICE", "reference", 0);
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform;
    x.resize(n * d);
    for (float& value : x) {
        value = uniform(random);
    }
    try {
        check("VLC16x4");
        check("PCA8,VLC16x4");
        check_server("VLC16x4");
        check_others();
        expect(!is_vlc(IndexPtr(faiss::index_factory(d, "IVF16,PQ8")).get()), "an IVFPQ");
        setenv("VLC_FOR_IVFPQ", "1", 1);
        check("IVF16,PQ8");
        check("PCA8,IVF16,PQ8x4");
        check_others();
    } catch (const std::exception& error) {
        expect(false, error.what());
    }
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
