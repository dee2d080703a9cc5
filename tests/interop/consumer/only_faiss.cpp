// Knows FAISS alone and asks it for a VLC: works if faiss_vlc was plugged in from outside.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <typeinfo>
#include <vector>

#include <faiss/IndexPreTransform.h>
#include <faiss/clone_index.h>
#include <faiss/impl/FaissException.h>
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
        check_others();
    } catch (const std::exception& error) {
        expect(false, error.what());
    }
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
