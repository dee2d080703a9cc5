// Deep copies of indexes and trees.

#include <faiss_vlc/clone.h>

#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexReplicas.h>
#include <faiss/IndexShards.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>

#include <faiss_vlc/faiss_version.h>
#include <faiss_vlc/interop/decoded_lists.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;

namespace {

IndexPtr clone(const faiss::Index& index) {
    return IndexPtr(faiss_vlc::clone_index(&index));
}

void add_more(faiss::Index& index, const char* description, const std::vector<float>& x) {
    const int64_t n = int64_t(x.size()) / index.d;
    if (std::string(description).find("IDMap") != std::string::npos) {
        const std::vector<int64_t> ids(n, 7);
        index.add_with_ids(n, x.data(), ids.data());
    } else {
        index.add(n, x.data());
    }
}

} // namespace

TEST(Clone, TreesAreCopiedWhole) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const char* description : kTrees) {
        SCOPED_TRACE(description);
        IndexPtr index = filled_tree(kTreeD, description, x);
        const IndexPtr copy = clone(*index);
        const Results before = search(*index, x);
        const Bytes bytes = written(*index);
        EXPECT_EQ(typeid(*copy), typeid(*index));
        EXPECT_EQ(search(*copy, x), before);
        EXPECT_EQ(written(*copy), bytes);

        add_more(*copy, description, x);
        EXPECT_EQ(copy->ntotal, 800);
        EXPECT_EQ(search(*index, x), before);
        EXPECT_EQ(written(*index), bytes);
        copy->reset();
        EXPECT_EQ(search(*index, x), before);

        // and the copy lives on alone
        const IndexPtr last = clone(*index);
        index.reset();
        EXPECT_EQ(search(*last, x), before);
    }
}

TEST(Clone, UntrainedTreesTrainAlike) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const char* description : {"VLC8x4", "VLC8x2,RFlat", "IDMap2,VLC8"}) {
        SCOPED_TRACE(description);
        const IndexPtr index = tree_of(kTreeD, description);
        const IndexPtr copy = clone(*index);
        EXPECT_FALSE(copy->is_trained);
        copy->train(400, x.data());
        EXPECT_TRUE(copy->is_trained);
        EXPECT_FALSE(index->is_trained);
        index->train(400, x.data());
        EXPECT_EQ(written(*copy), written(*index));
    }
}

TEST(Clone, DirectMapsAreCopied) {
    const std::vector<float> x = clustered(200, kTreeD, 4, 1);
    IndexVLC index(kTreeD, quick(4, 6));
    index.train(200, x.data());
    index.add(200, x.data());
    index.set_direct_map_type(faiss::DirectMap::Hashtable);
    const IndexPtr copy = clone(index);
    std::vector<int64_t> ids(100);
    for (int i = 0; i < 100; i++) {
        ids[i] = i;
    }
    copy->remove_ids(faiss::IDSelectorArray(100, ids.data()));
    EXPECT_EQ(copy->ntotal, 100);
    std::vector<float> a(kTreeD), b(kTreeD);
    EXPECT_EQ(index.ntotal, 200);
    index.reconstruct(50, a.data());
    index.reconstruct(150, a.data());
    copy->reconstruct(150, b.data());
    EXPECT_EQ(a, b);
    EXPECT_THROW(copy->reconstruct(50, b.data()), faiss::FaissException);
}

TEST(Clone, ShardsAndReplicas) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const bool threaded : {false, true}) {
        faiss::IndexShards shards(kTreeD, threaded);
        faiss::IndexReplicas replicas(kTreeD, threaded);
        shards.FAISS_VLC_OWN_INDICES = replicas.FAISS_VLC_OWN_INDICES = true;
        for (int i = 0; i < 3; i++) {
            shards.addIndex(tree_of(kTreeD, "VLC4x4").release());
            replicas.addIndex(tree_of(kTreeD, "IDMap,VLC4x4").release());
        }
        shards.train(400, x.data());
        shards.add(400, x.data());
        replicas.train(400, x.data());
        for (const faiss::Index* group : std::initializer_list<faiss::Index*>{&shards, &replicas}) {
            const IndexPtr copy = clone(*group);
            EXPECT_EQ(typeid(*copy), typeid(*group));
            EXPECT_EQ(copy->ntotal, group->ntotal);
            EXPECT_EQ(copy->is_trained, group->is_trained);
            EXPECT_EQ(search(*copy, x), search(*group, x));
        }
        const IndexPtr copy = clone(shards);
        copy->reset();
        EXPECT_EQ(shards.at(1)->ntotal, 133);
    }
}

TEST(Clone, AsAQuantizerAndWhatStockFaissRead) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    const IndexPtr ivf(faiss_vlc::index_factory(kTreeD, "IVF32(VLC2x8),Flat"));
    make_quick(dynamic_cast<IndexVLC&>(*dynamic_cast<faiss::IndexIVF&>(*ivf).quantizer));
    ivf->train(400, x.data());
    ivf->add(400, x.data());
    EXPECT_EQ(search(*clone(*ivf), x), search(*ivf, x));

    const IndexPtr tree = filled_tree(kTreeD, "IDMap,VLC8x4", x);
    faiss::VectorIOReader reader = reader_of(written(*tree));
    IndexPtr stock(faiss::read_index(&reader));
    const Results before = search(*stock, x);
    IndexPtr copy = clone(*stock);
    stock.reset();
    EXPECT_EQ(search(*copy, x), before);
    copy.reset(upgrade(copy.release()));
    EXPECT_EQ(search(*copy, x), search(*tree, x));
}

TEST(Clone, WhatCannotBeClonedThrows) {
    EXPECT_TRUE(throws([] { faiss_vlc::clone_index(nullptr); }, "null"));
}
