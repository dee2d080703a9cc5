// Indexes and trees in files: our format, FAISS's container, what stock FAISS makes of it, upgrade.

#include <faiss_vlc/index_io.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include <faiss/IndexFlat.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexShards.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>
#include <faiss/invlists/InvertedListsIOHook.h>

#include <faiss_vlc/container/format.h>
#include <faiss_vlc/faiss_version.h>
#include <faiss_vlc/interop/decoded_lists.h>
#include <faiss_vlc/search/lists.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

IndexPtr stock_read(const Bytes& bytes) {
    faiss::VectorIOReader reader = reader_of(bytes);
    return IndexPtr(faiss::read_index(&reader));
}

class IndexFiles : public testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "vlc-index-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { fs::remove_all(folder_); }
    std::string path(const char* name) const { return (folder_ / name).string(); }
    size_t files() const {
        return size_t(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
    }
    fs::path folder_;
};

} // namespace

TEST_F(IndexFiles, TreesComeBack) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const char* description : kTrees) {
        SCOPED_TRACE(description);
        const IndexPtr index = filled_tree(kTreeD, description, x);
        const Results expected = search(*index, x);
        const bool alone = dynamic_cast<IndexVLC*>(index.get()) != nullptr;

        faiss_vlc::write_index(index.get(), path("tree").c_str());
        EXPECT_EQ(files(), 1u);
        const Bytes bytes = written(*index);
        EXPECT_EQ(fs::file_size(path("tree")), bytes.size());
        EXPECT_EQ(has_magic(bytes.data(), bytes.size()), alone);

        IndexPtr loaded(faiss_vlc::read_index(path("tree").c_str()));
        EXPECT_TRUE(typeid(*loaded) == typeid(*index) ||
                    typeid(*loaded) == typeid(faiss::IndexRefineFlat));
        EXPECT_EQ(search(*loaded, x), expected);
        EXPECT_EQ(written(*loaded), bytes);
        if (!alone) {
            EXPECT_EQ(search(*read(stock_written(*index)), x), expected);
        }
        loaded = read(bytes);
        EXPECT_EQ(search(*loaded, x), expected);
        // as good as new
        if (std::string(description).find("IDMap") == std::string::npos) {
            vlc_of(*loaded)->parameters.device = "reference";
            loaded->add(400, x.data());
            index->add(400, x.data());
            EXPECT_EQ(search(*loaded, x), search(*index, x));
        }
    }
}

TEST_F(IndexFiles, UntrainedTreesKeepTheirParameters) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const char* description : kTrees) {
        SCOPED_TRACE(description);
        const IndexPtr index = tree_of(kTreeD, description);
        const IndexPtr loaded = read(written(*index));
        EXPECT_FALSE(loaded->is_trained);
        IndexVLC* vlc = vlc_of(*loaded);
        ASSERT_NE(vlc, nullptr);
        EXPECT_EQ(vlc->code_size, vlc_of(*index)->code_size);
        EXPECT_EQ(vlc->parameters.m, vlc_of(*index)->parameters.m);
        make_quick(*vlc);
        loaded->train(400, x.data());
        EXPECT_TRUE(loaded->is_trained);
    }
    // stock code sees nothing of them, and says so
    const IndexPtr index = tree_of(kTreeD, "PCA8,VLC8x4");
    EXPECT_TRUE(throws([&] { stock_written(*index); }, "faiss_vlc::write_index"));
}

TEST_F(IndexFiles, SeveralIndexesInOneStream) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    const IndexPtr a = filled_tree(kTreeD, "VLC8x4", x);
    const IndexPtr b = filled_tree(kTreeD, "IDMap,VLC8x2", x);
    const IndexPtr c = filled_tree(kTreeD, "IVF8,Flat", x);
    faiss::VectorIOWriter writer;
    for (const IndexPtr* index : {&a, &b, &c, &a}) {
        faiss_vlc::write_index(index->get(), &writer);
    }
    {
        std::ofstream out(path("all"), std::ios::binary);
        out.write(reinterpret_cast<const char*>(writer.data.data()), writer.data.size());
    }
    faiss::VectorIOReader memory = reader_of(writer.data);
    faiss::FileIOReader file(path("all").c_str());
    for (faiss::IOReader* reader : std::initializer_list<faiss::IOReader*>{&memory, &file}) {
        for (const IndexPtr* index : {&a, &b, &c, &a}) {
            const IndexPtr loaded(faiss_vlc::read_index(reader));
            EXPECT_EQ(search(*loaded, x), search(**index, x));
        }
    }
}

TEST_F(IndexFiles, NamedPipes) {
    const std::vector<float> x = clustered(200, kTreeD, 8, 1);
    for (const char* description : {"VLC8x4", "IDMap,VLC8x4"}) {
        const IndexPtr index = filled_tree(kTreeD, description, x);
        const Bytes bytes = written(*index);
        ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
        std::thread other([&] {
            std::ofstream out(path("pipe"), std::ios::binary);
            out.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        });
        const IndexPtr loaded(faiss_vlc::read_index(path("pipe").c_str()));
        other.join();
        EXPECT_EQ(search(*loaded, x), search(*index, x));
        unlink(path("pipe").c_str());
    }
}

TEST_F(IndexFiles, BadFilesAndTargets) {
    EXPECT_TRUE(throws([&] { faiss_vlc::read_index(path("missing").c_str()); }, "missing"));
    std::ofstream(path("empty")).flush();
    EXPECT_TRUE(throws([&] { faiss_vlc::read_index(path("empty").c_str()); }, "empty"));
    EXPECT_TRUE(throws([&] { faiss_vlc::read_index(folder_.c_str()); }, folder_.string()));
    std::ofstream(path("text")) << "This is no index at all.";
    EXPECT_THROW(faiss_vlc::read_index(path("text").c_str()), faiss::FaissException);
    std::ofstream(path("short")) << "\x89VL";
    EXPECT_THROW(faiss_vlc::read_index(path("short").c_str()), faiss::FaissException);
    const char* const no_path = nullptr;
    EXPECT_TRUE(throws([&] { faiss_vlc::read_index(no_path); }, "null"));
    faiss::IOReader* const no_reader = nullptr;
    EXPECT_TRUE(throws([&] { faiss_vlc::read_index(no_reader); }, "null"));
    EXPECT_TRUE(throws([&] { faiss_vlc::write_index(nullptr, path("x").c_str()); }, "null"));
    EXPECT_TRUE(throws([&] { upgrade(nullptr); }, "null"));

    // a failing write leaves neither the target nor a temporary
    const IndexPtr unwritable(new faiss::IndexShards(kTreeD));
    std::ofstream(path("kept")) << "old";
    const size_t before = files();
    EXPECT_ANY_THROW(faiss_vlc::write_index(unwritable.get(), path("kept").c_str()));
    EXPECT_ANY_THROW(faiss_vlc::write_index(unwritable.get(), path("new").c_str()));
    EXPECT_EQ(files(), before);
    EXPECT_EQ(fs::file_size(path("kept")), 3u);
}

TEST(IndexIO, OtherIndexesAreFaissBytes) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const char* description : {"Flat", "IVF8,SQ8", "PCA8,Flat", "HNSW8,Flat"}) {
        const IndexPtr index = filled_tree(kTreeD, description, x);
        EXPECT_EQ(written(*index), stock_written(*index));
        EXPECT_EQ(search(*read(written(*index)), x), search(*index, x));
    }
}

TEST(IndexIO, HooksAreRegisteredOnce) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([] { register_hooks(); });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    using Hook = faiss::InvertedListsIOHook;
    EXPECT_EQ(Hook::lookup_classname(typeid(VLCInvertedLists).name())->key, "ilVC");
    EXPECT_EQ(Hook::lookup_classname(typeid(DecodedLists).name())->key, "ilVC");
    testing::internal::CaptureStdout();
    Hook::print_callbacks();
    const std::string table = testing::internal::GetCapturedStdout();
    const std::string name = typeid(DecodedLists).name();
    EXPECT_EQ(table.find(name), table.rfind(name));
    EXPECT_NE(table.find(name), std::string::npos);
}

TEST(StockFaiss, SearchesByPlainDecoding) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const faiss::MetricType metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index(kTreeD, quick(8, 8), metric);
        index.train(400, x.data());
        index.add(400, x.data());
        index.nprobe = 3;
        const IndexPtr stock = stock_read(stock_written(index));
        ASSERT_EQ(typeid(*stock), typeid(faiss::IndexIVFFlat));
        auto& ivf = dynamic_cast<faiss::IndexIVFFlat&>(*stock);
        EXPECT_EQ(ivf.nprobe, 3u);
        EXPECT_EQ(ivf.code_size, kTreeD * sizeof(float));

        // the same lists over decoded vectors, held by FAISS itself
        faiss::IndexFlat quantizer(kTreeD, metric);
        quantizer.add(8, dynamic_cast<faiss::IndexFlat*>(ivf.quantizer)->get_xb());
        faiss::IndexIVFFlat decoded(&quantizer, kTreeD, 8, metric);
        const VLCInvertedLists& lists = index.lists();
        for (size_t j = 0; j < 8; j++) {
            for (size_t i = 0; i < lists.list_size(j); i++) {
                std::vector<float> vector(kTreeD);
                index.reconstruct_from_offset(int64_t(j), int64_t(i), vector.data());
                decoded.invlists->add_entry(j, lists.id(j, i),
                                            reinterpret_cast<const uint8_t*>(vector.data()));
            }
        }
        decoded.is_trained = true;
        decoded.ntotal = 400;
        for (const size_t nprobe : {1, 3, 8}) {
            ivf.nprobe = decoded.nprobe = nprobe;
            EXPECT_EQ(search(ivf, x), search(decoded, x));
        }

        // reconstruction, ids and single entries
        ivf.make_direct_map(true);
        std::vector<float> a(400 * kTreeD), b(400 * kTreeD);
        ivf.reconstruct_n(0, 400, a.data());
        index.reconstruct_n(0, 400, b.data());
        EXPECT_EQ(a, b);
        EXPECT_EQ(ivf.invlists->get_single_id(2, 0), lists.get_single_id(2, 0));
        const faiss::InvertedLists::ScopedCodes one(ivf.invlists, 2, 0), all(ivf.invlists, 2);
        EXPECT_EQ(std::memcmp(one.codes, all.codes, kTreeD * sizeof(float)), 0);
    }
}

TEST(StockFaiss, WritesIntoTheLists) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    IndexVLC index(kTreeD, quick(8, 12));
    index.train(400, x.data());
    index.add(300, x.data());
    IndexPtr stock = stock_read(stock_written(index));
    auto& ivf = dynamic_cast<faiss::IndexIVFFlat&>(*stock);

    // what stays keeps its codes, factors included
    EXPECT_EQ(ivf.remove_ids(faiss::IDSelectorRange(0, 77)), 77u);
    const IndexPtr removed = read(stock_written(ivf));
    EXPECT_EQ(removed->ntotal, 223);
    const VLCInvertedLists& before = index.lists();
    const VLCInvertedLists& after = vlc_of(*removed)->lists();
    int kept = 0;
    for (size_t j = 0; j < 8; j++) {
        for (size_t i = 0; i < after.list_size(j); i++) {
            EXPECT_GE(after.id(j, i), 77);
            for (size_t from = 0; from < before.list_size(j); from++) {
                if (before.id(j, from) == after.id(j, i)) {
                    const faiss::InvertedLists::ScopedCodes a(&before, j, from), b(&after, j, i);
                    EXPECT_EQ(std::memcmp(a.codes, b.codes, index.code_size), 0);
                    kept++;
                }
            }
        }
    }
    EXPECT_EQ(kept, 223);

    // what is added is encoded, and its ids may get wider meanwhile
    std::vector<int64_t> ids(100);
    for (int i = 0; i < 100; i++) {
        ids[i] = (int64_t(i) << 30) + 1000;
    }
    ivf.add_with_ids(100, x.data() + 300 * kTreeD, ids.data());
    EXPECT_EQ(ivf.ntotal, 323);
    const IndexPtr grown = read(stock_written(ivf));
    EXPECT_EQ(grown->ntotal, 323);
    const std::vector<float> added(x.begin() + 300 * kTreeD, x.end());
    ivf.nprobe = dynamic_cast<IndexVLC&>(*grown).nprobe = 8;
    const Results found = search(*grown, added, 1), plain = search(ivf, added, 1);
    int hits = 0, plain_hits = 0;
    for (int i = 0; i < 100; i++) {
        hits += found.label[i] == ids[i];
        plain_hits += plain.label[i] == ids[i];
    }
    EXPECT_GT(hits, 90);
    EXPECT_GT(plain_hits, 90);

    ivf.reset();
    EXPECT_EQ(read(stock_written(ivf))->ntotal, 0);
    ivf.add(400, x.data());
    ivf.make_direct_map(true);
    std::vector<int64_t> keys = {5, 17, 200};
    ivf.update_vectors(3, keys.data(), x.data());
    std::vector<float> vector(kTreeD);
    for (int i = 0; i < 3; i++) {
        ivf.reconstruct(keys[i], vector.data());
        EXPECT_LT(true_distance(kTreeD, vector.data(), &x[i * kTreeD]), 1.0);
    }
    stock.reset(upgrade(stock.release()));
    EXPECT_EQ(stock->ntotal, 400);
    EXPECT_EQ(dynamic_cast<IndexVLC&>(*stock).direct_map.type, faiss::DirectMap::Array);
}

TEST(StockFaiss, WhatItReadCanBeWrittenAndUpgraded) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const char* description : kTrees) {
        SCOPED_TRACE(description);
        const IndexPtr index = filled_tree(kTreeD, description, x);
        vlc_of(*index)->nprobe = 5;
        const Results expected = search(*index, x);
        IndexPtr stock = stock_read(stock_written(*index));
        EXPECT_EQ(vlc_of(*stock), nullptr);
        stock = stock_read(stock_written(*stock));
        EXPECT_EQ(search(*read(written(*stock)), x), expected);
        stock.reset(upgrade(stock.release()));
        EXPECT_EQ(search(*stock, x), expected);
        stock.reset(upgrade(stock.release())); // nothing left to do
        EXPECT_EQ(search(*stock, x), expected);
    }
}

TEST(StockFaiss, SettingsOfTheContainerArrive) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    IndexVLC index(kTreeD, quick(8, 8));
    index.train(400, x.data());
    index.add(400, x.data());
    index.nprobe = 4;
    index.max_codes = 1234;
    IndexPtr stock = stock_read(stock_written(index));
    auto& ivf = dynamic_cast<faiss::IndexIVFFlat&>(*stock);
    ivf.nprobe = 6;
    ivf.set_direct_map_type(faiss::DirectMap::Hashtable);
    stock.reset(upgrade(stock.release()));
    const auto& vlc = dynamic_cast<const IndexVLC&>(*stock);
    EXPECT_EQ(vlc.nprobe, 6u);
    EXPECT_EQ(vlc.direct_map.type, faiss::DirectMap::Hashtable);
    EXPECT_EQ(vlc.direct_map.hashtable.size(), 400u);

    // in a tree, through our own functions
    const IndexPtr tree = filled_tree(kTreeD, "IDMap,VLC8x4", x);
    IndexVLC& inner = *vlc_of(*tree);
    inner.nprobe = 2;
    inner.max_codes = 77;
    inner.parameters.iterations = 9;
    inner.make_direct_map(true);
    const IndexPtr again = read(written(*tree));
    const IndexVLC& met = *vlc_of(*again);
    EXPECT_EQ(met.nprobe, 2u);
    EXPECT_EQ(met.max_codes, 77u);
    EXPECT_EQ(met.parameters.iterations, 9);
    EXPECT_EQ(met.direct_map.type, faiss::DirectMap::Array);
}

TEST(StockFaiss, KeepsTheParametersOfTheTraining) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    VLCParameters params = quick(8, 8);
    params.iterations = 5;
    params.candidates = 3;
    params.first_share = 0.5f;
    params.step = 1.25f;
    params.rank_bias = 0.125f;
    IndexVLC index(kTreeD, params);
    index.train(400, x.data());
    index.add(400, x.data());
    // stock FAISS shows the lists alone to be written
    const IndexPtr again = read(stock_written(index));
    const VLCParameters& met = vlc_of(*again)->parameters;
    EXPECT_EQ(met.iterations, 5);
    EXPECT_EQ(met.candidates, 3);
    EXPECT_EQ(met.first_share, 0.5f);
    EXPECT_EQ(met.step, 1.25f);
    EXPECT_EQ(met.rank_bias, 0.125f);
    EXPECT_EQ(written(*again), written(index));
}

TEST(StockFaiss, MembersOfShardsAreUpgradedInPlace) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const bool owned : {true, false}) {
        std::vector<IndexPtr> members, stock;
        faiss::IndexShards expected(kTreeD);
        auto* group = new faiss::IndexShards(kTreeD);
        for (int i = 0; i < 3; i++) {
            members.push_back(filled_tree(kTreeD, "VLC8x2", x));
            expected.addIndex(members.back().get());
            stock.push_back(stock_read(stock_written(*members.back())));
            group->addIndex(stock.back().get());
        }
        group->FAISS_VLC_OWN_INDICES = owned;
        for (IndexPtr& member : stock) {
            if (owned) {
                member.release();
            }
        }
        const IndexPtr result(upgrade(group));
        EXPECT_EQ(result.get(), group);
        for (int i = 0; i < 3; i++) {
            // what others own is theirs to upgrade
            EXPECT_EQ(dynamic_cast<IndexVLC*>(group->at(i)) != nullptr, owned);
        }
        if (owned) {
            EXPECT_EQ(search(*group, x), search(expected, x));
        }
    }
}
