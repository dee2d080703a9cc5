// The golden file of format version 1 must stay readable for ever.
// Before the first release it may be made anew: VLC_WRITE_GOLDEN=tests/data <build>/tests/golden_test

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/vector_file.h>

#include "unit_test.h"

using namespace faiss_vlc;

namespace {

constexpr int kN = 120, kD = 20, kK = 5, kQueries = 10;

void write_floats(const std::string& path, int d, const std::vector<float>& values) {
    auto writer = create_vectors(path, DType::f32, d, int64_t(values.size()) / d);
    writer->append(values.data(), int64_t(values.size()) / d);
    writer->close();
}

void write_golden(const std::string& folder) {
    const std::vector<float> x = clustered(kN, kD, 6, 2026);
    VLCParameters params;
    params.m = 6;
    params.bytes = 13; // 11 code bytes: rows of 4, 4, 2 and 1 lanes
    params.device = "reference";
    IndexVLC index(kD, params);
    index.train(kN, x.data());
    index.add(kN, x.data());
    index.nprobe = 3;
    faiss_vlc::write_index(&index, (folder + "/golden_v1.vlc").c_str());

    std::vector<float> decoded(kN * kD), distances(kQueries * kK);
    std::vector<int64_t> labels(kQueries * kK);
    index.reconstruct_n(0, kN, decoded.data());
    index.search(kQueries, x.data(), kK, distances.data(), labels.data());
    write_floats(folder + "/golden_v1_queries.npy", kD,
                 std::vector<float>(x.begin(), x.begin() + kQueries * kD));
    write_floats(folder + "/golden_v1_decoded.npy", kD, decoded);
    write_floats(folder + "/golden_v1_distances.npy", kK, distances);
    auto writer = create_vectors(folder + "/golden_v1_labels.npy", DType::i64, kK, kQueries);
    writer->append(labels.data(), kQueries);
    writer->close();
}

} // namespace

TEST(Golden, Version1ReadsDecodesAndSearches) {
    if (const char* folder = std::getenv("VLC_WRITE_GOLDEN")) {
        write_golden(folder);
    }
    const std::string stem = std::string(VLC_TEST_DATA) + "/golden_v1";
    const std::unique_ptr<faiss::Index> index(faiss_vlc::read_index((stem + ".vlc").c_str()));
    const auto decoded = read_vectors(stem + "_decoded.npy");
    const auto queries = read_vectors(stem + "_queries.npy");
    const auto distances = read_vectors(stem + "_distances.npy");
    const auto labels = read_labels(stem + "_labels.npy");
    ASSERT_EQ(index->ntotal, decoded.n);
    ASSERT_EQ(index->d, decoded.d);
    std::vector<float> out(decoded.data.size());
    index->reconstruct_n(0, decoded.n, out.data());
    for (size_t i = 0; i < out.size(); i++) {
        EXPECT_FLOAT_EQ(out[i], decoded.data[i]);
    }
    std::vector<float> met(distances.data.size());
    std::vector<int64_t> found(met.size());
    index->search(queries.n, queries.data.data(), distances.d, met.data(), found.data());
    EXPECT_EQ(found, labels.data);
    for (size_t i = 0; i < met.size(); i++) {
        EXPECT_FLOAT_EQ(met[i], distances.data[i]);
    }
}

TEST(Golden, ReadAndWrittenAgainItIsTheSameFile) {
    const std::string path = std::string(VLC_TEST_DATA) + "/golden_v1.vlc";
    const std::string copy = testing::TempDir() + "golden_" + std::to_string(getpid()) + ".vlc";
    const std::unique_ptr<faiss::Index> index(faiss_vlc::read_index(path.c_str()));
    faiss_vlc::write_index(index.get(), copy.c_str());
    std::ifstream a(path, std::ios::binary), b(copy, std::ios::binary);
    const std::string golden{std::istreambuf_iterator<char>(a), {}};
    const std::string again{std::istreambuf_iterator<char>(b), {}};
    EXPECT_FALSE(golden.empty());
    EXPECT_TRUE(golden == again);
    unlink(copy.c_str());
}
