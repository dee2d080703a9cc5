// FAISS's container around our payload: damaged, contradictory, or with parts that don't fit.

#include <algorithm>
#include <cstring>

#include <faiss/IndexFlat.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/index_io.h>

#include <faiss_vlc/faiss_version.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;

namespace {

/// The first place of a text, which must be there.
size_t find(const Bytes& bytes, const std::string& text) {
    const auto at = std::search(bytes.begin(), bytes.end(), text.begin(), text.end());
    EXPECT_NE(at, bytes.end()) << text;
    return size_t(at - bytes.begin());
}

template <class T>
Bytes with(Bytes bytes, size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
    return bytes;
}

/// Where FAISS's fields lie when an IndexVLC is all there is.
struct Outer {
    explicit Outer(const Bytes& bytes)
        : payload(find(bytes, "ilVC") + 4), direct_map(payload - 4 - 9) {}
    size_t d = 4, ntotal = 8, trained = 32, metric = 33, nlist = 37, nprobe = 45, quantizer = 53;
    size_t floats = quantizer + 37; ///< number of floats of the quantizer
    size_t payload, direct_map;     ///< type, then the number of its entries
};

/// Newer versions notice by themselves, in their own words, before we do.
constexpr bool kFaissChecks = FAISS_VLC_FAISS_VERSION >= 11500;

} // namespace

TEST(Container, OuterFieldsMustMatchThePayload) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    IndexVLC index(kTreeD, quick(8, 8));
    index.train(400, x.data());
    index.add(400, x.data());
    const Bytes good = stock_written(index);
    const Outer at(good);
    const auto refused = [&](const Bytes& bytes, const char* part) {
        LEAKS_OF_FAISS;
        return throws([&] { read(bytes); }, part);
    };
    EXPECT_EQ(search(*read(good), x), search(index, x));
    EXPECT_TRUE(refused(with(good, at.ntotal, int64_t(399)), "ntotal is 399"));
    EXPECT_TRUE(refused(with(good, at.metric, int32_t(0)), "metric is 0"));
    EXPECT_TRUE(refused(with(good, at.trained, uint8_t(0)), "is_trained is 0"));
    EXPECT_TRUE(refused(with(good, at.trained, uint8_t(77)),
                        kFaissChecks ? "is_trained" : "is_trained is 77"));
    EXPECT_TRUE(refused(with(good, at.d, int32_t(15)), ""));     // FAISS notices
    EXPECT_TRUE(refused(with(good, at.nlist, uint64_t(9)), "")); // FAISS notices
    EXPECT_TRUE(refused(with(good, at.floats + 8 + 4, 1.5f), "quantizer differs"));
    EXPECT_TRUE(refused(with(good, at.direct_map, uint8_t(9)), "direct map"));
    EXPECT_TRUE(refused(with(good, at.direct_map, uint8_t(255)), "direct map"));

    const IndexPtr other = read(with(good, at.nprobe, uint64_t(2)));
    EXPECT_EQ(dynamic_cast<IndexVLC&>(*other).nprobe, 2u);
}

TEST(Container, EveryChangedByteThrowsOrChangesNothing) {
    const std::vector<float> x = clustered(100, 5, 3, 1);
    IndexVLC index(5, quick(3, 5));
    index.train(100, x.data());
    index.add(30, x.data());
    const Bytes good = stock_written(index);
    const Outer at(good);
    const Results expected = search(index, x);
    LEAKS_OF_FAISS;
    int refused = 0;
    for (size_t i = 0; i < good.size(); i++) {
        Bytes bad = good;
        bad[i] ^= 0x11;
        try {
            const IndexPtr loaded = read(bad);
            EXPECT_LT(i, at.payload);
            if (auto* vlc = dynamic_cast<IndexVLC*>(loaded.get())) {
                vlc->nprobe = index.nprobe; // the container's own: nothing else holds it
                EXPECT_EQ(search(*vlc, x), expected) << "byte " << i;
            }
        } catch (const faiss::FaissException&) {
            refused++;
        }
    }
    EXPECT_GT(refused, int(good.size()) - 100);
    for (size_t size = 0; size < good.size(); size++) {
        EXPECT_THROW(read(Bytes(good.begin(), good.begin() + size)), faiss::FaissException) << size;
    }
}

TEST(Container, IdsThatWrappersCannotTakeAreRefused) {
    const std::vector<float> x = clustered(100, kTreeD, 4, 1);
    // an IndexIDMap and an IndexRefine look results up in tables, unchecked
    auto* vlc = new IndexVLC(kTreeD, quick(4, 8));
    faiss::IndexIDMap map(vlc);
    map.own_fields = true;
    map.train(100, x.data());
    map.add_with_ids(100, x.data(), std::vector<int64_t>(100, 5).data());
    EXPECT_EQ(read(written(map))->ntotal, 100);
    std::vector<int64_t> ids(100);
    for (int i = 0; i < 100; i++) {
        ids[i] = i;
    }
    for (const int64_t bad : {int64_t(100), int64_t(-1), int64_t(1) << 40}) {
        ids[42] = bad;
        vlc->reset();
        vlc->add_with_ids(100, x.data(), ids.data());
        EXPECT_TRUE(throws([&] { read(written(map)); }, "expected 0 to 99")) << bad;
    }
    map.id_map.pop_back();
    { // FAISS 1.7.3 follows an IDMap2's ids to ntotal, whatever there is
        faiss::IndexIDMap2 map2;
        map2.d = kTreeD;
        map2.index = vlc;
        map2.own_fields = false;
        map2.is_trained = true;
        map2.ntotal = 100;
        for (const size_t count : {99, 1, 0}) {
            map2.id_map.assign(count, 7);
            EXPECT_TRUE(throws([&] { written(map2); }, "IDMap of 100 vectors has")) << count;
            const Bytes bytes = stock_written(map2); // which doesn't check
            EXPECT_TRUE(throws([&] { read(bytes); }, "IDMap of 100 vectors has")) << count;
            EXPECT_TRUE(throws([&] { read(with(bytes, 4, int32_t(1) << 30)); }, "dimensions"));
        }
    }
    EXPECT_TRUE(throws([&] { written(map); }, "IDMap of 100 vectors has 99 ids"));
    EXPECT_TRUE(throws([&] { read(stock_written(map)); }, "IDMap of 100 vectors has 99 ids"));

    faiss::IndexFlat flat(kTreeD);
    flat.add(99, x.data());
    faiss::IndexRefineFlat refine;
    refine.own_fields = refine.own_refine_index = false;
    refine.d = kTreeD;
    refine.ntotal = 100;
    refine.base_index = vlc;
    refine.refine_index = &flat;
    ids[42] = 42;
    vlc->reset();
    vlc->add_with_ids(100, x.data(), ids.data());
    EXPECT_TRUE(throws([&] { read(written(refine)); }, "expected 0 to 98"));
}

TEST(Container, DimensionsOfATreeMustAgree) {
    const std::vector<float> x = clustered(200, kTreeD, 4, 1);
    const IndexPtr tree = filled_tree(kTreeD, "PCA8,VLC4x4", x);
    auto& transform = dynamic_cast<faiss::IndexPreTransform&>(*tree);
    transform.chain[0]->d_out = 7;
    EXPECT_TRUE(throws([&] { read(written(*tree)); },
                       kFaissChecks ? "d_out=7 != sub-index d=8" : "8 dimensions where 7 arrive"));
    transform.chain[0]->d_out = 8;
    transform.chain[0]->d_in = 9;
    EXPECT_TRUE(throws([&] { read(written(*tree)); },
                       kFaissChecks ? "d_in=9 != index d=16" : "takes 9 dimensions, 16 arrive"));
    transform.chain[0]->d_in = 16;
    EXPECT_EQ(read(written(*tree))->ntotal, 200);
}
