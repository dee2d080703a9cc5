// A small search engine: embed texts, index them, search with a filter, save, go on tomorrow.
//
//     build/release/examples/pipeline [folder]
//
// In a project of one's own: find_package(faiss_vlc REQUIRED), link faiss_vlc::faiss_vlc.

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <faiss/IndexIVF.h>
#include <faiss/impl/IDSelector.h>
#include <faiss_vlc/factory.h>
#include <faiss_vlc/index_io.h>

namespace {

constexpr int kDimensions = 64;
const std::vector<std::string> kWords = {
        "river",  "mountain", "harbour", "orchard", "library", "engine",  "violin", "bakery",
        "sings",  "sleeps",   "grows",   "melts",   "opens",   "turns",   "waits",  "shines",
        "old",    "new",      "quiet",   "golden",  "broken",  "distant", "gentle", "dawn",
        "winter", "sea",      "snow",    "rain",    "bridge"};

using Text = std::vector<std::string>;

struct Document {
    int64_t id;
    int year;
    Text text;
};

std::vector<Document> documents(int n) {
    std::mt19937 random(1);
    std::vector<Document> result;
    for (int i = 0; i < n; i++) {
        Document document{int64_t(i) * 10 + 7, 1990 + int(random() % 35), {}};
        for (int word = 0; word < 5; word++) {
            document.text.push_back(kWords[random() % kWords.size()]);
        }
        result.push_back(document);
    }
    return result;
}

/// The text as the normalized sum of its words' random vectors: put a real model here.
void embed(const Text& text, float* out) {
    std::fill_n(out, kDimensions, 0.0f);
    for (const std::string& word : text) {
        uint32_t seed = 17;
        for (char c : word) {
            seed = seed * 31 + uint8_t(c);
        }
        std::mt19937 random(seed);
        for (int i = 0; i < kDimensions; i++) {
            out[i] += float(random()) / 4294967296.0f - 0.5f;
        }
    }
    float norm = 0;
    for (int i = 0; i < kDimensions; i++) {
        norm += out[i] * out[i];
    }
    for (int i = 0; i < kDimensions; i++) {
        out[i] /= std::sqrt(norm);
    }
}

bool check(bool holds, const char* what) {
    if (!holds) {
        std::printf("expected %s\n", what);
    }
    return holds;
}

bool run(const std::string& folder) {
    const std::vector<Document> corpus = documents(5000);
    std::vector<float> vectors(corpus.size() * kDimensions);
    std::vector<int64_t> ids, recent;
    for (size_t i = 0; i < corpus.size(); i++) {
        embed(corpus[i].text, &vectors[i * kDimensions]);
        ids.push_back(corpus[i].id);
        if (corpus[i].year >= 2015) {
            recent.push_back(corpus[i].id);
        }
    }

    // Index: 64 anchors, 24 bytes a vector.
    std::unique_ptr<faiss::Index> index(
            faiss_vlc::index_factory(kDimensions, "VLC64b24", faiss::METRIC_INNER_PRODUCT));
    index->train(corpus.size(), vectors.data());
    index->add_with_ids(corpus.size(), vectors.data(), ids.data());

    // Search, among recent documents only.
    const Text question = {"golden", "violin", "sings", "bridge", "dawn"};
    std::vector<float> query(kDimensions);
    embed(question, query.data());
    const faiss::IDSelectorBatch selector(recent.size(), recent.data());
    faiss::SearchParametersIVF params;
    params.nprobe = 16;
    params.sel = const_cast<faiss::IDSelectorBatch*>(&selector);
    const int k = 5;
    float scores[k];
    int64_t found[k];
    index->search(1, query.data(), k, scores, found, &params);
    bool fine = true;
    for (int i = 0; i < k; i++) {
        fine &= check(found[i] >= 0, "5 results");
        const Document& document = corpus[size_t(found[i]) / 10];
        fine &= check(document.year >= 2015, "recent documents");
        std::printf("%.3f  %d ", scores[i], document.year);
        for (const std::string& word : document.text) {
            std::printf(" %s", word.c_str());
        }
        std::printf("\n");
    }

    // Save; another process, or the same one tomorrow, goes on.
    const std::string path = folder + "/texts.vlc";
    faiss_vlc::write_index(index.get(), path.c_str());
    index.reset(faiss_vlc::read_index(path.c_str()));
    index->remove_ids(selector);
    const int64_t fresh = 1;
    index->add_with_ids(1, query.data(), &fresh);
    index->search(1, query.data(), 1, scores, found);
    fine &= check(found[0] == fresh, "what was added to be found");
    fine &= check(size_t(index->ntotal) == corpus.size() - recent.size() + 1,
                  "recent documents gone");
    std::printf("%lld documents after the update\n", (long long)index->ntotal);
    return fine;
}

} // namespace

int main(int argc, char** argv) {
    return run(argc > 1 ? argv[1] : ".") ? 0 : 1;
}
