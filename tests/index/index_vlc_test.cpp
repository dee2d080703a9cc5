// IndexVLC: making, training and filling one.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <faiss/IndexFlat.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/io.h>

#include <faiss_vlc/index_io.h>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>

#include <tests/support/index_vlc_test.h>

namespace faiss_vlc {
namespace {

/// Payload of an index as training left it, as a file would have it.
std::vector<uint8_t> bytes_of(const IndexVLC& index) {
    IndexVLC copy(index);
    copy.refine_k = 0; // trained() sets it
    faiss::VectorIOWriter writer;
    write_index(&copy, &writer);
    return writer.data;
}

// FAISS's settings of k-means count as if they were set in the parameters.
TEST(ClusteringParameters, CountWhereTheyHaveACounterpart) {
    VLCParameters p = small();
    p.iterations = VLCParameters().iterations;
    const auto trained_with = [&](auto change) {
        IndexVLC index(kDim, p);
        change(index);
        index.train(kCount, base().data());
        return bytes_of(index);
    };
    const auto plain = trained_with([](IndexVLC&) {});
    const auto cp = trained_with([](IndexVLC& index) { index.cp.niter = 3; });
    EXPECT_NE(cp, plain);
    EXPECT_EQ(cp, trained_with([](IndexVLC& index) { index.parameters.iterations = 3; }));
    EXPECT_EQ(trained_with([](IndexVLC& index) { index.cp.seed = 99; }),
              trained_with([](IndexVLC& index) { index.parameters.seed = 99; }));
    EXPECT_EQ(trained_with([](IndexVLC& index) { index.cp.max_points_per_centroid = 45; }),
              trained_with([](IndexVLC& index) { index.parameters.max_points_per_anchor = 45; }));
    // both set, to the same
    EXPECT_EQ(cp, trained_with([](IndexVLC& index) {
                  index.cp.niter = index.parameters.iterations = 3;
              }));
    // a copy has them too, and a file of an untrained index keeps them as parameters
    IndexVLC untrained(kDim, p);
    untrained.cp.niter = 3;
    IndexVLC copy(untrained);
    copy.train(kCount, base().data());
    EXPECT_EQ(bytes_of(copy), cp);
    IndexVLC set(kDim, p);
    set.parameters.iterations = 3;
    EXPECT_EQ(bytes_of(untrained), bytes_of(set));
}

TEST(ClusteringParameters, ContradictionsAndNonsenseAreErrors) {
    IndexVLC index(kDim, small()); // has 6 iterations
    index.cp.niter = 7;
    EXPECT_MESSAGE(index.train(kCount, base().data()), "cp.niter is 7");
    EXPECT_MESSAGE(index.train(kCount, base().data()), "parameters.iterations is 6");
    EXPECT_FALSE(index.is_trained);
    index.cp.niter = VLCParameters().iterations;
    index.cp.seed = -1;
    EXPECT_MESSAGE(index.train(kCount, base().data()), "cp.seed");
    index.cp.seed = 1234;
    index.cp.max_points_per_centroid = 0;
    EXPECT_MESSAGE(index.train(kCount, base().data()), "max_points_per_anchor");
    index.cp.max_points_per_centroid = 256;
    index.train(kCount, base().data());
    EXPECT_EQ(bytes_of(index), bytes_of(trained()));
}

TEST(ClusteringParameters, WhatHasNoCounterpartIsNamed) {
    const auto said = [](auto change) {
        IndexVLC index(kDim, small());
        change(index);
        testing::internal::CaptureStderr();
        index.train(kCount, base().data());
        EXPECT_EQ(bytes_of(index), bytes_of(trained()));
        return testing::internal::GetCapturedStderr();
    };
    EXPECT_EQ(said([](IndexVLC&) {}), "");
    EXPECT_EQ(said([](IndexVLC& index) { index.cp.min_points_per_centroid = 1; }), "");
    faiss::IndexFlatL2 flat(kDim);
    const std::string all = said([&](IndexVLC& index) {
        index.cp.nredo = 3;
        index.cp.spherical = index.cp.int_centroids = index.cp.frozen_centroids = true;
        index.cp.update_index = true;
        index.clustering_index = &flat;
        index.quantizer_trains_alone = 2;
    });
    for (const char* name : {"cp.nredo", "cp.spherical", "cp.int_centroids", "cp.frozen_centroids",
                             "cp.update_index", "clustering_index", "quantizer_trains_alone"}) {
        EXPECT_NE(all.find(name), std::string::npos) << all;
    }
    EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 1);
}

TEST(Constructor, SetsFieldsAndDefaults) {
    const IndexVLC plain(kDim);
    EXPECT_EQ(plain.d, kDim);
    EXPECT_EQ(plain.metric_type, faiss::METRIC_L2);
    EXPECT_FALSE(plain.is_trained);
    EXPECT_EQ(plain.ntotal, 0);
    EXPECT_EQ(plain.code_size, size_t(kDim * 2 / 8 + 2));
    const IndexVLC four(kDim, 7, 4, faiss::METRIC_INNER_PRODUCT);
    EXPECT_EQ(four.nlist, 7u);
    EXPECT_EQ(four.code_size, size_t(kDim * 4 / 8 + 2));
    EXPECT_EQ(four.metric_type, faiss::METRIC_INNER_PRODUCT);
    VLCParameters bytes = small();
    bytes.bytes = 9;
    EXPECT_EQ(IndexVLC(kDim, bytes).code_size, size_t(9 + test_second_bytes()));
}

TEST(Constructor, ChoosesTheNumberOfAnchors) {
    IndexVLC index(kDim, small(0));
    index.train(kCount, base().data());
    EXPECT_EQ(index.nlist, size_t(kCount / 39)); // fewer than 4 sqrt(n) = 152
    EXPECT_EQ(index.quantizer->ntotal, idx_t(index.nlist));
}

TEST(Constructor, NamesWhatIsWrong) {
    const auto with = [](auto change) {
        VLCParameters p = small();
        change(p);
        IndexVLC index(kDim, p);
    };
    EXPECT_MESSAGE(IndexVLC(0), "d:");
    EXPECT_MESSAGE(IndexVLC(-3), "d:");
    EXPECT_MESSAGE(IndexVLC(16385), "d:");
    EXPECT_MESSAGE(IndexVLC(8, -1), "m:");
    EXPECT_MESSAGE(IndexVLC(8, 4, 0), "bits_per_dim");
    EXPECT_MESSAGE(IndexVLC(8, 4, 9), "bits_per_dim");
    EXPECT_MESSAGE(IndexVLC(8, 4, NAN), "bits_per_dim");
    EXPECT_MESSAGE(IndexVLC(8, 4, 2, faiss::METRIC_L1), "METRIC_L2");
    EXPECT_MESSAGE(with([](auto& p) { p.bytes = -1; }), "bytes");
    EXPECT_MESSAGE(with([](auto& p) { p.bytes = 2, p.codec = Codec::lattice; }),
                   "bytes: expected more than the 2");
    EXPECT_MESSAGE(with([](auto& p) { p.codec = Codec(3); }), "codec");
    EXPECT_MESSAGE(with([](auto& p) { p.work_group = 100; }), "work_group");
    EXPECT_MESSAGE(with([](auto& p) { p.iterations = 0; }), "iterations");
    EXPECT_MESSAGE(with([](auto& p) { p.neighbours = 5; }), "neighbours");
    EXPECT_MESSAGE(with([](auto& p) { p.held_out = 0.6f; }), "held_out");
    EXPECT_MESSAGE(with([](auto& p) { p.kappa = NAN; }), "kappa");
    EXPECT_MESSAGE(with([](auto& p) { p.tilt = NAN; }), "tilt");
    EXPECT_MESSAGE(with([](auto& p) { p.checkpoint_every = 2; }), "checkpoint");
    EXPECT_MESSAGE(with([](auto& p) { p.end_temperature = 1; }), "end_temperature");
}

TEST(Train, RefusesWhatItCannotUse) {
    IndexVLC index(kDim, small());
    EXPECT_MESSAGE(index.train(19, base().data()), "m = 20");
    EXPECT_MESSAGE(index.train(0, base().data()), "0");
    std::vector<float> bad = base();
    for (float v : {float(NAN), float(INFINITY), -float(INFINITY)}) {
        bad[777 * kDim + 5] = v;
        EXPECT_MESSAGE(index.train(kCount, bad.data()), "777");
        EXPECT_FALSE(index.is_trained);
        EXPECT_EQ(index.model, nullptr);
    }
    index.parameters.device = "opencl:no such device";
    EXPECT_MESSAGE(index.train(kCount, base().data()), "no such device");
    EXPECT_FALSE(index.is_trained);
}

TEST(Train, UntrainedDoesNothing) {
    IndexVLC index(kDim, small());
    std::vector<float> x(kDim), out(kDim);
    idx_t label;
    std::vector<uint8_t> code(64);
    EXPECT_MESSAGE(index.add(1, x.data()), "trained");
    EXPECT_MESSAGE(index.search(1, x.data(), 1, out.data(), &label), "trained");
    EXPECT_MESSAGE(index.reconstruct(0, out.data()), "trained");
    EXPECT_MESSAGE(index.sa_encode(1, x.data(), code.data()), "trained");
    EXPECT_MESSAGE(index.sa_decode(1, code.data(), out.data()), "trained");
    faiss::RangeSearchResult result(1);
    EXPECT_MESSAGE(index.range_search(1, x.data(), 1, &result), "trained");
}

TEST(Train, ResetAndRetrain) {
    IndexVLC index = filled();
    EXPECT_MESSAGE(index.train(kCount, base().data()), "empty");
    EXPECT_EQ(index.ntotal, kCount);
    index.reset();
    EXPECT_EQ(index.ntotal, 0);
    EXPECT_TRUE(index.is_trained);
    const Results none = search(index, 3);
    EXPECT_EQ(std::count(none.label.begin(), none.label.end(), -1), idx_t(none.label.size()));
    index.add(kCount, base().data());
    EXPECT_TRUE(search(index, 10) == search(filled(), 10));
    index.reset();
    index.parameters.m = 5;
    index.parameters.bits_per_dim = 8;
    index.train(kCount, base().data());
    EXPECT_EQ(index.nlist, 5u);
    EXPECT_EQ(index.code_size, size_t(kDim + 2 + test_second_bytes()));
    EXPECT_LE(index.nprobe, 5u);
    index.add(kCount, base().data());
    const auto all = probing(5);
    // At 8 bits the 7-bit mantissa of the length limits recall, not the codes: about .9 here.
    EXPECT_GT(recall(search(index, 10, &all), 10, base(), false), 0.85);
}

TEST(Train, ChoosesNprobeUnlessSet) {
    IndexVLC index(kDim, small(60));
    index.parameters.coverage = 1;
    index.train(kCount, base().data());
    EXPECT_GT(index.nprobe, 1u);
    EXPECT_EQ(index.nprobe, size_t(index.model->default_nprobe));
    index.parameters.coverage = 0.1f;
    index.parameters.m = 4;
    index.train(kCount, base().data());
    EXPECT_EQ(index.model->default_nprobe, 1);
    EXPECT_EQ(index.nprobe, size_t(index.model->default_nprobe)); // not the first training's
    IndexVLC set(kDim, small(60));
    set.parameters.coverage = 1;
    EXPECT_EQ(set.nprobe, 0u);
    for (const size_t nprobe : {1, 7}) {
        set.nprobe = nprobe;
        set.train(kCount, base().data());
        EXPECT_GT(set.model->default_nprobe, 1);
        EXPECT_EQ(set.nprobe, nprobe);
    }
}

TEST(Train, SameForAnyThreadCount) {
    const int threads = omp_get_max_threads();
    IndexVLC one(kDim, small()), many(kDim, small());
    omp_set_num_threads(1);
    one.train(kCount, base().data());
    one.add(kCount, base().data());
    const Results from_one = search(one, 10);
    omp_set_num_threads(7);
    many.train(kCount, base().data());
    many.add(kCount, base().data());
    const Results from_many = search(many, 10);
    omp_set_num_threads(threads);
    EXPECT_TRUE(one.model->same_as(*many.model));
    EXPECT_EQ(one.model->estimator.t2, many.model->estimator.t2);
    EXPECT_EQ(one.nprobe, many.nprobe);
    EXPECT_TRUE(from_one == from_many);
}

TEST(Add, BadVectorsLeaveTheIndexAsItWas) {
    IndexVLC index = filled();
    const Results before = search(index, 10);
    std::vector<float> bad(base().begin(), base().begin() + 100 * kDim);
    for (float v : {float(NAN), float(INFINITY)}) {
        bad[99 * kDim] = v;
        EXPECT_MESSAGE(index.add(100, bad.data()), "99");
        EXPECT_EQ(index.ntotal, kCount);
        EXPECT_TRUE(search(index, 10) == before);
    }
    index.add(0, nullptr);
    EXPECT_EQ(index.ntotal, kCount);
}

TEST(Add, WithIdsOfAllSizes) {
    IndexVLC index(trained());
    std::vector<idx_t> ids(kCount);
    for (idx_t i = 0; i < kCount; i++) {
        ids[i] = 3 * i + 5;
    }
    index.add_with_ids(1000, base().data(), ids.data());
    EXPECT_FALSE(index.lists().wide_ids());
    ids[1200] = (idx_t(1) << 40) + 1;
    ids[1300] = -9;
    index.add_with_ids(500, base().data() + 1000 * kDim, ids.data() + 1000);
    EXPECT_TRUE(index.lists().wide_ids());
    EXPECT_EQ(index.ntotal, kCount);
    const Results got = search(index, 10), plain = search(filled(), 10);
    EXPECT_EQ(got.distance, plain.distance);
    for (size_t i = 0; i < got.label.size(); i++) {
        ASSERT_EQ(got.label[i], ids[plain.label[i]]);
    }
}

} // namespace
} // namespace faiss_vlc
