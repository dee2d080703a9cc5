// The factory's VLC token, alone and in trees.

#include <faiss_vlc/factory.h>

#include <algorithm>
#include <cstdlib>
#include <typeinfo>
#include <utility>

#include <faiss/IndexFlat.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexRowwiseMinMax.h>
#include <faiss/IndexScalarQuantizer.h>

#include <faiss_vlc/faiss_version.h>
#include <tests/support/index_test.h>

using namespace faiss_vlc;

namespace {

struct Case {
    const char* token;
    int m;
    size_t code_size; // for 64 dimensions
};

} // namespace

TEST(Factory, TokenSaysAnchorsAndBytes) {
    for (const Case& c : std::initializer_list<Case>{{"VLC", 0, 18},
                                                     {"VLC256", 256, 18},
                                                     {"VLC1048576x0.125", 1048576, 3},
                                                     {"VLC256x4", 256, 34},
                                                     {"VLC256x8", 256, 66},
                                                     {"VLC256x1.5", 256, 14},
                                                     {"VLCx2", 0, 18},
                                                     {"VLCx0.25", 0, 4},
                                                     {"VLCb48", 0, 48},
                                                     {"VLC16b3", 16, 3},
                                                     {"VLC16b2", 16, 2},
                                                     {"VLC16b1", 16, 1},
                                                     {"VLC16b1block", 16, 1},
                                                     {"VLC16b3lattice", 16, 3},
                                                     {"VLC256x4block", 256, 34},
                                                     {"VLCblock", 0, 18},
                                                     {"VLC9lattice", 9, 18},
                                                     {"VLC16b99999", 16, 66},
                                                     {"VLC16b16+20", 16, 36},
                                                     {"VLCb16+4", 0, 20},
                                                     {"VLC16b16+20block", 16, 36},
                                                     {"VLC16b3+20lattice", 16, 23},
                                                     {"VLC256x1+4", 256, 10 + 35},
                                                     {"VLCx0.5+1.5lattice", 0, 6 + 15}}) {
        SCOPED_TRACE(c.token);
        const IndexPtr index(faiss_vlc::index_factory(64, c.token));
        const auto* vlc = dynamic_cast<const IndexVLC*>(index.get());
        ASSERT_NE(vlc, nullptr);
        EXPECT_EQ(vlc->d, 64);
        EXPECT_EQ(vlc->parameters.m, c.m);
        EXPECT_EQ(vlc->nlist, size_t(c.m));
        EXPECT_EQ(vlc->code_size, c.code_size);
        EXPECT_EQ(vlc->metric_type, faiss::METRIC_L2);
        EXPECT_FALSE(vlc->is_trained);
    }
}

TEST(Factory, BadTokensNameTheGrammar) {
    for (const char* bad : {"VLC0",          "VLC0x4",
                            "VLC256x0",      "VLC99999999999",
                            "VLC1048577",    "VLC256x4b8",
                            "VLC256b8x4",    "VLC256x9",
                            "VLC256x8.01",   "VLC256x0.1",
                            "VLC8b2lattice", "VLC8b0",
                            "VLC8b1lattice", "VLC8b0block",
                            "VLC8blocks",    "VLC8blockb4",
                            "VLC8b",         "VLC8latticeblock",
                            "VLC8b999999",   "VLCfoo",
                            "IDMap,VLC-3",   "VLC8x",
                            "VLC8b",         "VLC8x.5",
                            "VLC8x1.",       "VLC8x1e0",
                            "VLC 8",         "VLC8 ",
                            "VLC8x4fs",      "VLC8.5",
                            "PCA8,VLC8x4np", "VLC8,Refine(VLC8y2)",
                            "VLC8x+4",       "VLC8b16+0",
                            "VLC8b16+1",     "VLC8b16+3",
                            "VLC8b0+80",     "VLC8b2+80lattice",
                            "VLC8x1+0",      "VLC8x0+1",
                            "VLC8x1+9",      "VLC8x1+0.1",
                            "VLC8b16+",      "VLC8x1+",
                            "VLC8+4",        "VLC8b+4",
                            "VLC8b16+8+8",   "VLC8x1+b8",
                            "VLC8b8+x4",     "VLC8b16block+8",
                            "VLC8b16+-8",    "VLC8b16+999999"}) {
        EXPECT_TRUE(throws([&] { delete faiss_vlc::index_factory(16, bad); },
                           "expected VLC[<m>][x<bits>[+<bits>]|b<bytes>[+<bytes>]]"))
                << bad;
    }
}

TEST(Factory, AQuantizerOfOnesOwnIsRefused) {
    for (const char* bad :
         {"VLC64_HNSW32", "PCA8,VLC64x4_HNSW", "VLC64(IVF8,Flat)", "VLC64x4(HNSW32)"}) {
        EXPECT_TRUE(throws([&] { delete faiss_vlc::index_factory(16, bad); },
                           "VLC takes no quantizer, as it ranks its anchors itself"))
                << bad;
    }
    EXPECT_TRUE(throws([] { delete faiss_vlc::index_factory(16, "IDMap,VLC64x4_HNSW32,RFlat"); },
                       "expected 'VLC64x4', got 'VLC64x4_HNSW32,RFlat'"));
}

TEST(Factory, AnInvertedFileAroundItIsRefused) {
    const char* pairs[][2] = {{"IVF64,VLC", "VLC64"},
                              {"PCA8,IVF64,VLC16x4", "VLC64x4"},
                              {"IVF64_HNSW32,VLCb8,RFlat", "VLC64b8"},
                              {"IVF64(HNSW8),VLC8x1.5", "VLC64x1.5"}};
    for (const auto& [bad, good] : pairs) {
        EXPECT_TRUE(throws([&] { delete faiss_vlc::index_factory(16, bad); },
                           "expected '" + std::string(good) + "', got '" + bad + "'"))
                << bad;
    }
}

TEST(Factory, TokensWhereNothingFitsAreRefused) {
    // the message holds the description as it was given
    for (const char* bad : {"VLC4,VLC5", "IVF8,VLC4", "HNSW8,VLC4", "NSG8,VLC4", "VLC4,Flat",
                            "VLC4,nonsense", "Residual8,VLC4", "(VLC4", "PQ1x1VLC4,VLC4"}) {
        EXPECT_TRUE(throws([&] { delete faiss_vlc::index_factory(16, bad); }, bad)) << bad;
    }
    EXPECT_TRUE(throws([] { delete faiss_vlc::index_factory(16, nullptr); }, "null"));
    EXPECT_TRUE(throws([] { delete faiss_vlc::index_factory(0, "VLC4"); }, "dimension"));
    EXPECT_TRUE(throws([] { delete faiss_vlc::index_factory(-1, "IDMap,VLC4"); }, "dimension"));
    EXPECT_TRUE(throws([] { delete faiss_vlc::index_factory(20000, "VLC4"); }, "16384"));
    EXPECT_TRUE(throws([] { delete faiss_vlc::index_factory(16, "VLC4", faiss::METRIC_L1); },
                       "METRIC_L2"));
}

// They would use up the stack.
TEST(Factory, EndlessDescriptionsAreRefused) {
    for (const char* start : {"VLC4", "IVF8,Flat", "IVF4,PQ2x4"}) {
        const std::string bad = start + std::string(2000000, '1');
        EXPECT_TRUE(throws([&] { delete faiss_vlc::index_factory(16, bad.c_str()); },
                           "at most 1000 characters, got " + std::to_string(bad.size())))
                << start;
    }
}

TEST(Factory, EverythingElseIsFaiss) {
    const IndexPtr flat(faiss_vlc::index_factory(16, "IVF8,Flat", faiss::METRIC_INNER_PRODUCT));
    EXPECT_EQ(typeid(*flat), typeid(faiss::IndexIVFFlat));
    EXPECT_EQ(flat->metric_type, faiss::METRIC_INNER_PRODUCT);
    const IndexPtr pq(faiss_vlc::index_factory(16, "IVF8,PQ1x1"));
    EXPECT_EQ(typeid(*pq), typeid(faiss::IndexIVFPQ));
    EXPECT_THROW(faiss_vlc::index_factory(16, "nonsense"), faiss::FaissException);
    for (const char* zero : {"PQ0", "IVF4,PQ0", "IVF4,PQ00x4", "OPQ0_8,VLC4", "IVF4,PQ0+8"}) {
        EXPECT_THROW(faiss_vlc::index_factory(16, zero), faiss::FaissException) << zero;
    }
    for (const char* wide :
         {"PQ1x188", "IMI2x540,PQ2", "RR8,PQ1x25", "IVF4,PQ2x64np", "RQ2x0060", "PRQ2x2x99"}) {
        EXPECT_THROW(faiss_vlc::index_factory(16, wide), faiss::FaissException) << wide;
    }
    for (const char* fine : {"PQ2x12", "IMI2x5,PQ2", "PQ8x4fs", "PRQ2x100x4", "RQ100x4"}) {
        EXPECT_NO_THROW(delete faiss_vlc::index_factory(16, fine)) << fine;
    }
}

TEST(Factory, TreesTrainAddAndSearch) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const faiss::MetricType metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const char* description : kTrees) {
            SCOPED_TRACE(description);
            const IndexPtr index = tree_of(kTreeD, description, metric);
            EXPECT_FALSE(index->is_trained);
            EXPECT_EQ(index->d, kTreeD);
            EXPECT_EQ(index->metric_type, metric);
            const IndexPtr filled = filled_tree(kTreeD, description, x, metric);
            EXPECT_TRUE(filled->is_trained);
            EXPECT_EQ(filled->ntotal, 400);
            const IndexVLC* vlc = vlc_of(*filled);
            ASSERT_NE(vlc, nullptr);
            EXPECT_EQ(vlc->ntotal, 400);
            EXPECT_GT(vlc->nlist, 1u);
            // most vectors find themselves; inner products needn't
            if (metric == faiss::METRIC_L2) {
                const Results found = search(*filled, x, 10);
                int hits = 0;
                for (int i = 0; i < 400; i++) {
                    const bool mapped = std::string(description).find("IDMap") != std::string::npos;
                    const int64_t self = mapped ? 1000 + 3 * i : i;
                    for (int r = 0; r < 10; r++) {
                        hits += found.label[i * 10 + r] == self;
                    }
                }
                EXPECT_GT(hits, 200);
            }
        }
    }
}

TEST(Factory, DimensionFollowsTheTransformation) {
    const IndexPtr index = tree_of(kTreeD, "PCA8,VLC4x4");
    const IndexVLC* vlc = vlc_of(*index);
    ASSERT_NE(vlc, nullptr);
    EXPECT_EQ(vlc->d, 8);
    EXPECT_EQ(vlc->code_size, size_t(6 + vlc->parameters.second_size(8)));
}

TEST(Factory, BehindAnOptimizedRotation) {
    // as many vectors as keep FAISS from warning of each of its iterations
    const std::vector<float> x = clustered(10000, 8, 8, 1);
    const IndexPtr index = tree_of(8, "OPQ2_4,VLC16x8");
    auto* opq = dynamic_cast<faiss::OPQMatrix*>(
            dynamic_cast<faiss::IndexPreTransform&>(*index).chain[0]);
    ASSERT_NE(opq, nullptr);
    opq->niter = opq->niter_pq = opq->niter_pq_0 = 1;
    index->train(10000, x.data());
    index->add(10000, x.data());
    EXPECT_EQ(vlc_of(*index)->d, 4);
    const std::vector<float> some(x.begin(), x.begin() + 100 * 8);
    const Results found = search(*index, some, 100);
    int hits = 0;
    for (int i = 0; i < 100; i++) {
        hits += std::count(&found.label[i * 100], &found.label[i * 100] + 100, i);
    }
    EXPECT_GT(hits, 90);
}

TEST(Factory, TwoTokensInOneTree) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    const IndexPtr index(faiss_vlc::index_factory(kTreeD, "VLC8x1,Refine(VLC4x8)"));
    auto* refine = dynamic_cast<faiss::IndexRefine*>(index.get());
    ASSERT_NE(refine, nullptr);
    auto* base = dynamic_cast<IndexVLC*>(refine->base_index);
    auto* exact = dynamic_cast<IndexVLC*>(refine->refine_index);
    ASSERT_TRUE(base && exact);
    EXPECT_EQ(base->parameters.m, 8);
    EXPECT_EQ(exact->parameters.m, 4);
    make_quick(*base);
    make_quick(*exact);
    index->train(400, x.data());
    index->add(400, x.data());
    EXPECT_GE(search(*index, x).label[0], 0);
}

TEST(Factory, AsAQuantizer) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    const IndexPtr index(faiss_vlc::index_factory(kTreeD, "IVF32(VLC2x8),Flat"));
    auto* ivf = dynamic_cast<faiss::IndexIVFFlat*>(index.get());
    ASSERT_NE(ivf, nullptr);
    auto* vlc = dynamic_cast<IndexVLC*>(ivf->quantizer);
    ASSERT_NE(vlc, nullptr);
    make_quick(*vlc);
    index->train(400, x.data());
    EXPECT_EQ(vlc->ntotal, 32);
    index->add(400, x.data());
    ivf->nprobe = 4;
    const Results found = search(*index, x, 1);
    EXPECT_EQ(found.label[7], 7);
}

TEST(Factory, MinMaxIsACodec) {
    const IndexPtr index(faiss_vlc::index_factory(kTreeD, "MinMax,VLC4x8"));
    auto* rows = dynamic_cast<faiss::IndexRowwiseMinMax*>(index.get());
    ASSERT_NE(rows, nullptr);
    make_quick(dynamic_cast<IndexVLC&>(*rows->index));
    const std::vector<float> x = clustered(200, kTreeD, 4, 1);
    index->train(200, x.data());
    Bytes codes(200 * index->sa_code_size());
    std::vector<float> decoded(x.size());
    index->sa_encode(200, x.data(), codes.data());
    index->sa_decode(200, codes.data(), decoded.data());
    double error = 0, energy = 0;
    for (size_t i = 0; i < x.size(); i++) {
        error += (x[i] - decoded[i]) * (x[i] - decoded[i]);
        energy += x[i] * x[i];
    }
    EXPECT_LT(error, 0.01 * energy);
}

TEST(Factory, KeysOfIvfpq) {
    for (const auto& [key, expected] : std::initializer_list<std::pair<const char*, const char*>>{
                 {"IVF1024,PQ32", "VLC1024b32"},
                 {"IVF1024,PQ32x8", "VLC1024b32"},
                 {"IVF1024,PQ32np", "VLC1024b32"},
                 {"IVF1024,PQ5x4", "VLC1024b3"},
                 {"IVF1024,PQ16x12", "VLC1024b24"},
                 {"IVF1024,PQ64x4fs", "VLC1024b32"},
                 {"IVF1024,PQ64x4fsr", "VLC1024b32"},
                 {"IVF1024,PQ64x4fs_64", "VLC1024b32"},
                 {"IVF64k,PQ32", "VLC65536b32"},
                 {"IVF1M,PQ32", "VLC1048576b32"},
                 {"OPQ32,IVF1024,PQ32", "VLC1024b32"},
                 {"OPQ32_64,IVF1024,PQ32", "VLC1024b32"},
                 {"IVF65536_HNSW32,PQ32", "VLC65536b32"},
                 {"OPQ8_32,IVF16_HNSW,PQ8x4fs", "VLC16b4"},
                 {"IVF1024,PQ32,RFlat", "VLC1024b32,RFlat"},
                 {"PCA64,IVF16,PQ8", "PCA64,VLC16b8"},
                 {"IDMap,IVF16,PQ8", "IDMap,VLC16b8"},
                 {"IVF16,PQ8,Refine(IVF16,PQ16)", "VLC16b8,Refine(VLC16b16)"},
                 // what no VLC stands in for
                 {"IVF2M,PQ32", "IVF2M,PQ32"},
                 {"IVF0,PQ32", "IVF0,PQ32"},
                 {"IVF99999999,PQ32", "IVF99999999,PQ32"},
                 {"IVF16,PQ8+4", "IVF16,PQ8+4"},
                 {"IVF16(PCA8),PQ8", "IVF16(PCA8),PQ8"},
                 {"IMI2x5,PQ8", "IMI2x5,PQ8"},
                 {"OPQ8,PQ8", "OPQ8,PQ8"},
                 {"XIVF16,PQ8", "XIVF16,PQ8"},
                 {"IVF16,Flat", "IVF16,Flat"},
                 {"IVF16,SQ8", "IVF16,SQ8"},
                 {"PQ8", "PQ8"},
                 {"VLC16b8", "VLC16b8"},
                 {"", ""}}) {
        EXPECT_EQ(vlc_for_ivfpq(key), expected);
    }
}

TEST(Factory, StandsInForIvfpq) {
    const char* key = "OPQ4,IVF8,PQ4x8";
    const auto has_vlc = [&](faiss::MetricType metric) {
        const IndexPtr index(faiss_vlc::index_factory(16, key, metric));
        const auto* vlc = dynamic_cast<const IndexVLC*>(index.get());
        return vlc && vlc->nlist == 8 && vlc->code_size == 4 && vlc->metric_type == metric;
    };
    EXPECT_FALSE(names_vlc(key));
    EXPECT_FALSE(has_vlc(faiss::METRIC_L2));
    setenv("VLC_FOR_IVFPQ", "1", 1);
    EXPECT_TRUE(names_vlc(key));
    EXPECT_TRUE(has_vlc(faiss::METRIC_L2));
    EXPECT_TRUE(has_vlc(faiss::METRIC_INNER_PRODUCT));
    EXPECT_FALSE(has_vlc(faiss::METRIC_L1)); // which is FAISS's affair
    setenv("VLC_FOR_IVFPQ", "0", 1);
    EXPECT_FALSE(names_vlc(key));
    setenv("VLC_FOR_IVFPQ", "yes", 1);
    EXPECT_TRUE(throws([&] { has_vlc(faiss::METRIC_L2); },
                       "VLC_FOR_IVFPQ: expected 1 or 0, got 'yes'"));
    stand_in_for_ivfpq(false); // rules over the environment
    EXPECT_FALSE(has_vlc(faiss::METRIC_L2));
    stand_in_for_ivfpq(true);
    EXPECT_TRUE(has_vlc(faiss::METRIC_L2));
    EXPECT_TRUE(names_vlc("VLC8"));
    EXPECT_FALSE(names_vlc("IVF8,Flat"));
    EXPECT_THROW(faiss_vlc::index_factory(16, "IVF4,PQ0"), faiss::FaissException);
    stand_in_for_ivfpq(false);
    unsetenv("VLC_FOR_IVFPQ");
}

TEST(Factory, OwnLists) {
    EXPECT_NO_THROW(delete faiss_vlc::index_factory(16, "IDMap,VLC4", faiss::METRIC_L2, true));
    EXPECT_TRUE(throws([] { faiss_vlc::index_factory(16, "IDMap,VLC4", faiss::METRIC_L2, false); },
                       "own_invlists = false for 'IDMap,VLC4': expected true"));
    const auto stock = [] {
        return IndexPtr(faiss_vlc::index_factory(16, "IVF4,PQ4", faiss::METRIC_L2, false));
    };
#if FAISS_VLC_HAS_OWN_INVLISTS
    for (const bool on : {false, true}) { // no VLC stands in for one without lists
        stand_in_for_ivfpq(on);
        EXPECT_EQ(dynamic_cast<faiss::IndexIVFPQ&>(*stock()).invlists, nullptr);
    }
    stand_in_for_ivfpq(false);
#else
    EXPECT_TRUE(throws([&] { stock(); }, "has no such argument"));
#endif
}
