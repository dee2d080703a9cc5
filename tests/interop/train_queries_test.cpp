// Training by queries, alone and in trees.

#include <faiss_vlc/train.h>

#include <cmath>
#include <string>

#include <faiss/IndexFlat.h>
#include <faiss/IndexPreTransform.h>

#include <faiss_vlc/factory.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;

namespace {

constexpr int kD = 16;

IndexPtr untrained(const char* description, int d = kD) {
    IndexPtr index(faiss_vlc::index_factory(d, description));
    if (IndexVLC* vlc = vlc_of(*index)) {
        give_test_tiers(*vlc);
    }
    return index;
}

std::vector<float> far_queries() {
    std::vector<float> queries = clustered(200, kD, 8, 2);
    for (float& component : queries) {
        component += 40;
    }
    return queries;
}

std::string fault_of(faiss::Index& index, const std::vector<float>& x,
                     const std::vector<float>& queries, int64_t n) {
    try {
        faiss_vlc::train(index, int64_t(x.size()) / kD, x.data(), n, queries.data());
    } catch (const faiss::FaissException& error) {
        return error.what();
    }
    return "";
}

} // namespace

TEST(TrainByQueries, TransformsAboveTakeThemAlong) {
    const std::vector<float> x = clustered(2000, kD, 8, 1), queries = far_queries();
    const IndexPtr tree = untrained("PCA8,VLC8b6");
    faiss_vlc::train(*tree, 2000, x.data(), 200, queries.data());
    auto& above = dynamic_cast<faiss::IndexPreTransform&>(*tree);

    // by hand: vectors and queries behind the transform
    const std::unique_ptr<const float[]> x8(above.apply_chain(2000, x.data()));
    const std::unique_ptr<const float[]> queries8(above.apply_chain(200, queries.data()));
    const IndexPtr alone = untrained("VLC8b6", 8);
    faiss_vlc::train(*alone, 2000, x8.get(), 200, queries8.get());
    EXPECT_TRUE(written(*above.index) == written(*alone));

    const IndexPtr without = untrained("VLC8b6", 8);
    without->train(2000, x8.get());
    EXPECT_FALSE(written(*above.index) == written(*without));
}

TEST(TrainByQueries, NothingIsKept) {
    const std::vector<float> x = clustered(2000, kD, 8, 1), queries = far_queries();
    const IndexPtr index = untrained("VLC8b6"), plain = untrained("VLC8b6");
    faiss_vlc::train(*index, 2000, x.data(), 200, queries.data());
    plain->train(2000, x.data());
    EXPECT_FALSE(written(*index) == written(*plain));
    index->train(2000, x.data());
    EXPECT_TRUE(written(*index) == written(*plain));
}

TEST(TrainByQueries, Faults) {
    const std::vector<float> x = clustered(2000, kD, 8, 1);
    std::vector<float> queries = far_queries();
    const IndexPtr index = untrained("VLC8b6"), other = untrained("IVF8,PQ4");
    EXPECT_NE(fault_of(*index, x, queries, 0).find("expected at least 1 query, got 0"),
              std::string::npos);
    EXPECT_NE(fault_of(*other, x, queries, 200).find("none is in the index"), std::string::npos);
    const IndexPtr tree = untrained("PCA8,VLC8b6");
    EXPECT_EQ(fault_of(*tree, x, queries, 200), "");
    queries[18] = NAN;
    EXPECT_NE(fault_of(*index, x, queries, 200).find("row 1, column 2"), std::string::npos);
    EXPECT_FALSE(index->is_trained);
}
