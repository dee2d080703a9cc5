// An IDMap over an IndexVLC: what it removes and merges, and the files of what is left.

#include <faiss/IndexIDMap.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>

#include <faiss_vlc/clone.h>
#include <faiss_vlc/search/lists.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;
using Map = faiss::DirectMap::Type;

namespace {

constexpr int kD = 16;
constexpr int64_t kCount = 400;

const std::vector<float>& base() {
    static const std::vector<float> x = clustered(kCount, kD, 20, 5);
    return x;
}

const float* row(int64_t i) {
    return &base()[i * kD];
}

const IndexVLC& trained() {
    static const std::unique_ptr<IndexVLC> index = [] {
        auto made = std::make_unique<IndexVLC>(kD, quick(9, 14));
        made->train(kCount, base().data());
        made->nprobe = made->nlist;
        return made;
    }();
    return *index;
}

/// Rows and their labels.
struct Rows {
    std::vector<int64_t> rows, labels;

    void take(int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++) {
            rows.push_back(i);
            labels.push_back(5000 + (i * 7919) % 100000);
        }
    }
    template <class Gone>
    void drop(Gone gone) {
        size_t kept = 0;
        for (size_t i = 0; i < rows.size(); i++) {
            if (!gone(labels[i])) {
                rows[kept] = rows[i];
                labels[kept++] = labels[i];
            }
        }
        rows.resize(kept);
        labels.resize(kept);
    }
};

template <class IDMap>
IDMap over(IndexVLC& index, const Rows& rows) {
    IDMap map(&index);
    for (size_t i = 0; i < rows.rows.size(); i++) {
        map.add_with_ids(1, row(rows.rows[i]), &rows.labels[i]);
    }
    return map;
}

/// It answers as one that was filled with these rows at once, and so does what comes out of files.
void expect_holds(const faiss::IndexIDMap& map, const Rows& rows) {
    ASSERT_EQ(map.ntotal, int64_t(rows.rows.size()));
    ASSERT_EQ(map.id_map, rows.labels);
    IndexVLC inner(trained());
    const auto fresh = over<faiss::IndexIDMap2>(inner, rows);
    const Results wanted = search(fresh, base(), 7);
    ASSERT_EQ(search(map, base(), 7), wanted);
    const IndexPtr again = read(written(map));
    ASSERT_EQ(search(*again, base(), 7), wanted);
    ASSERT_EQ(vlc_of(*again)->direct_map.type,
              vlc_of(const_cast<faiss::IndexIDMap&>(map))->direct_map.type);
    if (const auto* both_ways = dynamic_cast<const faiss::IndexIDMap2*>(&map)) {
        both_ways->check_consistency();
        for (const int64_t label : rows.labels) {
            std::vector<float> a(kD), b(kD);
            both_ways->reconstruct(label, a.data());
            fresh.reconstruct(label, b.data());
            ASSERT_EQ(a, b) << label;
        }
    }
}

struct Odd : faiss::IDSelector {
    bool is_member(int64_t id) const override { return id % 2 != 0; }
};

/// Of a tree that ends in an IndexVLC.
void forget_added(faiss::Index& tree) {
    if (auto* vlc = dynamic_cast<IndexVLC*>(&tree)) {
        vlc->lists().added = AddedRows();
    }
    each_child(tree, [](faiss::Index*& child, bool) { forget_added(*child); });
}

template <class IDMap>
void remove_and_go_on(Map type) {
    Rows rows;
    rows.take(0, 300);
    IndexVLC inner(trained());
    auto map = over<IDMap>(inner, rows);
    inner.set_direct_map_type(type);
    const auto drop = [&](const faiss::IDSelector& selector) {
        std::set<int64_t> gone; // beforehand, as selectors may look at rows.labels
        std::copy_if(rows.labels.begin(), rows.labels.end(), std::inserter(gone, gone.end()),
                     [&](int64_t label) { return selector.is_member(label); });
        ASSERT_EQ(map.remove_ids(selector), gone.size());
        rows.drop([&](int64_t label) { return gone.count(label) > 0; });
        expect_holds(map, rows);
    };
    drop(faiss::IDSelectorArray(1, &rows.labels[299])); // the last
    drop(faiss::IDSelectorArray(1, rows.labels.data()));
    drop(faiss::IDSelectorRange(20000, 60000));
    drop(faiss::IDSelectorBatch(40, rows.labels.data() + 20));
    rows.take(300, 350);
    for (size_t i = rows.rows.size() - 50; i < rows.rows.size(); i++) {
        map.add_with_ids(1, row(rows.rows[i]), &rows.labels[i]);
    }
    expect_holds(map, rows);
    drop(Odd());
    drop(faiss::IDSelectorRange(-5, 5));      // none
    drop(faiss::IDSelectorRange(0, 1 << 30)); // all
    rows.take(350, 353);
    for (size_t i = 0; i < 3; i++) {
        map.add_with_ids(1, row(rows.rows[i]), &rows.labels[i]);
    }
    expect_holds(map, rows);
}

} // namespace

TEST(IDMap, RemovesAndGoesOn) {
    for (const Map type : {Map::NoMap, Map::Array, Map::Hashtable}) {
        remove_and_go_on<faiss::IndexIDMap>(type);
        ASSERT_FALSE(HasFatalFailure()) << type;
        remove_and_go_on<faiss::IndexIDMap2>(type);
        ASSERT_FALSE(HasFatalFailure()) << type;
    }
}

TEST(IDMap, RemovesThroughATransformAndFromAMappedFile) {
    Rows rows;
    rows.take(0, 300);
    {
        const IndexPtr tree = tree_of(kD, "IDMap2,PCA12,VLC8x6");
        tree->train(kCount, base().data());
        const IndexPtr fresh(faiss_vlc::clone_index(tree.get()));
        tree->add_with_ids(300, base().data(), rows.labels.data());
        tree->remove_ids(Odd());
        rows.drop([](int64_t label) { return label % 2 != 0; });
        for (size_t i = 0; i < rows.rows.size(); i++) {
            fresh->add_with_ids(1, row(rows.rows[i]), &rows.labels[i]);
        }
        EXPECT_EQ(search(*tree, base()), search(*fresh, base()));
        forget_added(*tree); // of which one has seen more
        forget_added(*fresh);
        EXPECT_EQ(written(*tree), written(*fresh));
    }
    const std::string path = testing::TempDir() + "vlc-id-map-" + std::to_string(getpid());
    {
        IndexVLC whole(trained());
        whole.add(300, base().data());
        faiss_vlc::write_index(&whole, path.c_str());
    }
    const IndexPtr mapped(faiss_vlc::read_index(path.c_str(), faiss::IO_FLAG_MMAP));
    auto& inner = dynamic_cast<IndexVLC&>(*mapped);
    faiss::IndexIDMap map; // its constructor wants an empty index
    map.d = kD;
    map.index = &inner;
    map.is_trained = true;
    map.ntotal = 300;
    Rows all;
    all.take(0, 300);
    map.id_map = all.labels;
    map.remove_ids(faiss::IDSelectorArray(1, &all.labels[7]));
    const int64_t gone = all.labels[7];
    all.drop([&](int64_t label) { return label == gone; });
    inner.nprobe = inner.nlist;
    expect_holds(map, all);
    size_t lent = 0;
    for (size_t j = 0; j < inner.nlist; j++) {
        lent += inner.lists().is_lent(j);
    }
    EXPECT_EQ(lent, inner.nlist - 1); // codes of the other lists stay in the file
    unlink(path.c_str());
}

TEST(IDMap, RemovesNothingWhereIdsAreNoPositions) {
    Rows rows;
    rows.take(0, 50);
    const auto refuses = [&](faiss::IndexIDMap& map, IndexVLC& inner, const char* part) {
        const Bytes before = written(inner);
        const std::vector<int64_t> labels = map.id_map;
        EXPECT_TRUE(throws([&] { map.remove_ids(faiss::IDSelectorRange(0, 20000)); }, part));
        EXPECT_EQ(written(inner), before);
        EXPECT_EQ(map.id_map, labels);
    };
    // ids given below the map: one that is no position, one that is there already
    for (const int64_t id : {int64_t(70), int64_t(-3), int64_t(8)}) {
        IndexVLC inner(trained());
        auto map = over<faiss::IndexIDMap>(inner, rows);
        inner.add_with_ids(1, row(60), &id);
        map.id_map.push_back(99);
        map.ntotal++;
        refuses(map, inner, id == 8 ? "got 8 again" : "expected ids 0 to 50");
    }
    // vectors that the map knows nothing of
    IndexVLC inner(trained());
    auto map = over<faiss::IndexIDMap>(inner, rows);
    inner.add(1, row(60));
    refuses(map, inner, "it has 50 labels, the IndexVLC 51 vectors");
    // which no reader would take, so that no writer does
    EXPECT_TRUE(throws([&] { written(map); }, "saving: the IndexVLC holds id 50"));
}

TEST(IDMap, OwnIdsStayWhereThereIsNone) {
    IndexVLC index(trained());
    index.add(100, base().data());
    EXPECT_EQ(index.remove_ids(faiss::IDSelectorRange(0, 50)), 50u);
    std::vector<float> vector(kD);
    index.reconstruct(99, vector.data());
    EXPECT_THROW(index.reconstruct(0, vector.data()), faiss::FaissException);
}

TEST(IDMap, MergesTables) {
    for (const char* description : {"IDMap,VLC8x6", "IDMap2,VLC8x6", "IDMap,PCA12,VLC8x6"}) {
        SCOPED_TRACE(description);
        const IndexPtr empty = tree_of(kD, description);
        empty->train(kCount, base().data());
        const auto holding = [&](int64_t first, int64_t last) {
            Rows rows;
            rows.take(first, last);
            IndexPtr index(faiss_vlc::clone_index(empty.get()));
            index->add_with_ids(last - first, row(first), rows.labels.data());
            return index;
        };
        const IndexPtr expected = holding(0, 250);
        const IndexPtr a = holding(0, 100), b = holding(100, 180),
                       c = read(written(*holding(180, 250)));
        a->merge_from(*b, 0);
        a->merge_from(*c, 0);
        EXPECT_EQ(b->ntotal, 0);
        EXPECT_EQ(search(*a, base()), search(*expected, base()));
        EXPECT_EQ(written(*a), written(*expected));
        a->remove_ids(Odd());
        expected->remove_ids(Odd());
        EXPECT_EQ(search(*a, base()), search(*expected, base()));
    }
    // made by FAISS's constructor
    IndexVLC one(trained()), other(trained());
    Rows rows, more;
    rows.take(0, 100);
    more.take(100, 130);
    auto map = over<faiss::IndexIDMap2>(one, rows);
    auto second = over<faiss::IndexIDMap2>(other, more);
    mark_id_maps(map);
    map.merge_from(second, 0);
    rows.take(100, 130);
    expect_holds(map, rows);
}

TEST(IDMap, MergingByItselfKeepsIds) {
    IndexVLC a(trained()), b(trained());
    a.add(10, row(0));
    b.add(10, row(10));
    a.merge_from(b, 0); // two vectors for each id: as IndexIVF
    EXPECT_TRUE(a.lists().ids_below(10));
    EXPECT_EQ(a.ntotal, 20);
}

TEST(DirectMap, AnArrayThatFaissRefusedIsNotSaved) {
    IndexVLC index(trained());
    const std::vector<int64_t> ids = {3, 1 << 20};
    index.add_with_ids(2, row(0), ids.data());
    EXPECT_THROW(index.set_direct_map_type(Map::Array), faiss::FaissException);
    ASSERT_EQ(index.direct_map.type, Map::Array); // it keeps it all the same
    faiss::VectorIOWriter stock;
    faiss::write_index(&index, &stock);
    for (const Bytes& bytes : {written(index), stock.data}) {
        const IndexPtr again = read(bytes);
        EXPECT_EQ(vlc_of(*again)->direct_map.type, Map::NoMap);
        EXPECT_EQ(search(*again, base()), search(index, base()));
    }
}
