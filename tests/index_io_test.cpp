// Trees with an IndexVLC inside: factory, FAISS's container, upgrade, clone.

#include <faiss_vlc/clone.h>
#include <faiss_vlc/factory.h>
#include <faiss_vlc/index_io.h>

#include <unistd.h>

#include <memory>

#include <faiss/IVFlib.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#include <gtest/gtest.h>

#include <faiss_vlc/IndexVLC.h>

#include "unit_test.h"

using namespace faiss_vlc;
using IndexPtr = std::unique_ptr<faiss::Index>;

namespace {

constexpr int kD = 16;

IndexVLC* vlc_of(faiss::Index& index) {
    return dynamic_cast<IndexVLC*>(faiss::ivflib::try_extract_index_ivf(&index));
}

void use_reference(faiss::Index& index) {
    if (IndexVLC* vlc = vlc_of(index)) {
        vlc->parameters.device = "reference";
        vlc->parameters.iterations = 4;
    }
}

IndexPtr make(const char* description, const std::vector<float>& x) {
    const int64_t n = int64_t(x.size()) / kD;
    IndexPtr index(faiss_vlc::index_factory(kD, description));
    use_reference(*index);
    index->train(n, x.data());
    if (std::string(description).rfind("IDMap", 0) == 0) {
        std::vector<int64_t> ids(n);
        for (int64_t i = 0; i < n; i++) {
            ids[i] = 1000 + 3 * i;
        }
        index->add_with_ids(n, x.data(), ids.data());
    } else {
        index->add(n, x.data());
    }
    return index;
}

std::pair<std::vector<float>, std::vector<int64_t>> search(const faiss::Index& index,
                                                           const std::vector<float>& x) {
    constexpr int kQueries = 20, kK = 5;
    std::vector<float> distances(kQueries * kK);
    std::vector<int64_t> labels(kQueries * kK);
    index.search(kQueries, x.data(), kK, distances.data(), labels.data());
    return {distances, labels};
}

const char* const kTrees[] = {"VLC8x4",          "VLC8b7",       "PCA8,VLC8x2",  "PCA8,VLC",
                              "IDMap,VLC8x2",    "IDMap2,VLC8",  "VLC8x2,RFlat", "VLC8x1.5,Refine(SQ8)",
                              "PCAR8,VLC8b6,RFlat"};

} // namespace

TEST(Factory, BuildsTrees) {
    const std::vector<float> x = clustered(400, kD, 8, 1);
    for (const char* description : kTrees) {
        SCOPED_TRACE(description);
        const IndexPtr index = make(description, x);
        EXPECT_TRUE(index->is_trained);
        EXPECT_EQ(index->ntotal, 400);
        EXPECT_GE(search(*index, x).second[0], 0);
    }
    IndexPtr index(faiss_vlc::index_factory(kD, "VLC12x1.5", faiss::METRIC_INNER_PRODUCT));
    const auto* vlc = dynamic_cast<IndexVLC*>(index.get());
    ASSERT_NE(vlc, nullptr);
    EXPECT_EQ(vlc->metric_type, faiss::METRIC_INNER_PRODUCT);
    EXPECT_EQ(vlc->parameters.m, 12);
    EXPECT_EQ(vlc->code_size, 3u + 2u); // 16 * 1.5 / 8 and the factors
    index.reset(faiss_vlc::index_factory(kD, "VLCb9"));
    EXPECT_EQ(dynamic_cast<IndexVLC&>(*index).code_size, 9u);
    index.reset(faiss_vlc::index_factory(kD, "IVF8,Flat"));
    EXPECT_EQ(vlc_of(*index), nullptr);
}

TEST(Factory, BadTokensNameTheGrammar) {
    for (const char* bad : {"VLC0", "VLC256x0", "VLC99999999999", "VLC256x4b8", "VLC256x9", "VLC8b2",
                            "VLCfoo", "IDMap,VLC-3", "VLC8x", "VLC8b", "VLC8x.5"}) {
        try {
            delete faiss_vlc::index_factory(kD, bad);
            ADD_FAILURE() << bad << " was taken";
        } catch (const faiss::FaissException& error) {
            EXPECT_NE(std::string(error.what()).find("VLC[<m>]"), std::string::npos) << error.what();
        }
    }
    EXPECT_THROW(faiss_vlc::index_factory(kD, "VLC4,VLC5"), faiss::FaissException);
    EXPECT_THROW(faiss_vlc::index_factory(kD, "nonsense"), faiss::FaissException);
}

TEST(IndexIO, TreesComeBackAndCloneAlike) {
    const std::vector<float> x = clustered(400, kD, 8, 1);
    const std::string path = testing::TempDir() + "vlc_io_" + std::to_string(getpid());
    for (const char* description : kTrees) {
        SCOPED_TRACE(description);
        const IndexPtr index = make(description, x);
        faiss_vlc::write_index(index.get(), path.c_str());
        const IndexPtr loaded(faiss_vlc::read_index(path.c_str()));
        EXPECT_EQ(search(*loaded, x), search(*index, x));

        faiss::VectorIOWriter writer;
        faiss_vlc::write_index(index.get(), &writer);
        faiss::VectorIOReader reader;
        reader.data = writer.data;
        const IndexPtr streamed(faiss_vlc::read_index(&reader));
        EXPECT_EQ(search(*streamed, x), search(*index, x));

        const IndexPtr copy(faiss_vlc::clone_index(index.get()));
        const auto before = search(*index, x);
        EXPECT_EQ(search(*copy, x), before);
        copy->reset();
        EXPECT_EQ(search(*index, x), before);
    }
    unlink(path.c_str());
}

TEST(IndexIO, StockFaissSearchesByPlainDecoding) {
    const std::vector<float> x = clustered(400, kD, 8, 1);
    const IndexPtr index = make("PCA8,VLC8x4", x);
    IndexVLC& vlc = *vlc_of(*index);
    vlc.nprobe = 3;
    faiss::VectorIOWriter writer;
    faiss::write_index(index.get(), &writer); // stock, all the way
    faiss::VectorIOReader reader;
    reader.data = writer.data;
    IndexPtr stock(faiss::read_index(&reader));
    EXPECT_EQ(vlc_of(*stock), nullptr);
    auto* flat_lists = faiss::ivflib::extract_index_ivf(stock.get());
    EXPECT_EQ(flat_lists->nprobe, 3u);

    // The same lists over decoded vectors, by hand.
    flat_lists->nprobe = flat_lists->nlist;
    std::vector<float> decoded(400 * 8);
    vlc.reconstruct_n(0, 400, decoded.data());
    faiss::IndexFlatL2 flat(8);
    flat.add(400, decoded.data());
    const auto met = search(*stock, x);
    faiss::VectorIOReader again;
    again.data = writer.data;
    IndexPtr upgraded(faiss_vlc::read_index(&again));
    std::vector<float> projected(20 * 8);
    auto* transform = dynamic_cast<faiss::IndexPreTransform*>(index.get());
    ASSERT_NE(transform, nullptr);
    transform->chain[0]->apply_noalloc(20, x.data(), projected.data());
    std::vector<float> distances(20 * 5);
    std::vector<int64_t> labels(20 * 5);
    flat.search(20, projected.data(), 5, distances.data(), labels.data());
    for (int i = 0; i < 100; i++) {
        EXPECT_NEAR(met.first[i], distances[i], 1e-3f * (1 + distances[i]));
    }
    // and what faiss_vlc reads from those bytes is the index itself
    EXPECT_EQ(search(*upgraded, x), search(*index, x));
    EXPECT_NE(vlc_of(*upgraded), nullptr);
}

TEST(IndexIO, AContainerThatContradictsItsPayloadIsRefused) {
    const std::vector<float> x = clustered(400, kD, 8, 1);
    IndexVLC index(kD, 8);
    use_reference(index);
    index.train(400, x.data());
    index.add(400, x.data());
    faiss::VectorIOWriter writer;
    faiss::write_index(&index, &writer);
    int thrown = 0, same = 0;
    const auto expected = search(index, x);
    // the outer fields: everything before the payload's magic
    size_t head = 0;
    while (head + 4 <= writer.data.size() && std::memcmp(&writer.data[head], "ilVC", 4) != 0) {
        head++;
    }
    ASSERT_LT(head, writer.data.size());
    for (size_t at = 0; at < head; at++) {
        faiss::VectorIOReader reader;
        reader.data = writer.data;
        reader.data[at] ^= 0x11;
        try {
            const IndexPtr loaded(faiss_vlc::read_index(&reader));
            auto* vlc = dynamic_cast<IndexVLC*>(loaded.get());
            if (vlc) {
                vlc->nprobe = index.nprobe; // the container's own, as is max_codes
                vlc->max_codes = 0;
                EXPECT_EQ(search(*vlc, x), expected) << "byte " << at;
            }
            same++;
        } catch (const std::exception&) {
            thrown++;
        }
    }
    EXPECT_GT(thrown, int(head) / 2);
}
