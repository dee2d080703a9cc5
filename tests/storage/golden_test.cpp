// The golden file of format version 1 must stay readable for ever.
// Before the first release it may be made anew: VLC_WRITE_GOLDEN=tests/data
// <build>/tests/golden_test

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/vectors/vector_file.h>

#include <tests/support/unit_test.h>

using namespace faiss_vlc;

namespace {

constexpr int kN = 120, kK = 5, kQueries = 10;

struct Golden {
    const char* stem;
    int d, bytes;
    AnchorGrid grid;
    faiss::MetricType metric;
    faiss::DirectMap::Type direct_map;
    int64_t first_id, id_step;
    Codec codec = Codec::lattice;
    int second_bytes = 0;
};

const Golden kGolden[] = {
        // 11 code bytes: rows of 4, 4, 2 and 1 lanes
        {"golden_v1", 20, 13, AnchorGrid::int8, faiss::METRIC_L2, faiss::DirectMap::NoMap, 0, 1},
        // ids of 8 bytes
        {"golden_v1_ip", 7, 8, AnchorGrid::float16, faiss::METRIC_INNER_PRODUCT,
         faiss::DirectMap::Hashtable, int64_t(1) << 33, 3},
        {"golden_v1_block", 12, 4, AnchorGrid::int8, faiss::METRIC_L2, faiss::DirectMap::NoMap, 0,
         1, Codec::block},
        // two tiers: factors of 3 bytes, of 2, of 4 and of 1
        {"tiers/golden_v1", 36, 8, AnchorGrid::int8, faiss::METRIC_L2, faiss::DirectMap::NoMap, 0,
         1, Codec::lattice, 15},
        {"tiers/golden_v1_ip", 33, 3, AnchorGrid::int8, faiss::METRIC_INNER_PRODUCT,
         faiss::DirectMap::Array, 0, 1, Codec::block, 14},
        {"tiers/golden_v1_fine", 34, 6, AnchorGrid::float16, faiss::METRIC_L2,
         faiss::DirectMap::NoMap, 0, 1, Codec::lattice, 37},
        {"tiers/golden_v1_few", 12, 6, AnchorGrid::int8, faiss::METRIC_L2, faiss::DirectMap::NoMap,
         0, 1, Codec::lattice, 9}};

std::string path_of(const Golden& golden, const char* end) {
    return std::string(VLC_TEST_DATA) + "/" + golden.stem + end;
}

void write_golden(const Golden& golden, const std::string& stem) {
    const int d = golden.d;
    const std::vector<float> x = clustered(kN, d, 6, 2026);
    VLCParameters params;
    params.m = 6;
    params.bytes = golden.bytes;
    params.second_bytes = golden.second_bytes;
    params.grid = golden.grid;
    params.codec = golden.codec;
    params.device = "reference";
    IndexVLC index(d, params, golden.metric);
    index.train(kN, x.data());
    std::vector<int64_t> ids(kN);
    for (int i = 0; i < kN; i++) {
        ids[i] = golden.first_id + i * golden.id_step;
    }
    index.add_with_ids(kN, x.data(), ids.data());
    index.set_direct_map_type(golden.direct_map);
    index.nprobe = 3;
    faiss_vlc::write_index(&index, (stem + ".vlc").c_str());

    std::vector<float> decoded(kN * d), distances(kQueries * kK);
    std::vector<int64_t> labels(kQueries * kK);
    for (int i = 0; i < kN; i++) {
        index.reconstruct(ids[i], &decoded[i * d]);
    }
    index.search(kQueries, x.data(), kK, distances.data(), labels.data());
    const auto write = [&](const char* end, DType type, int width, int64_t rows, const auto* data) {
        auto writer = create_vectors(stem + end, type, width, rows);
        writer->append(data, rows);
        writer->close();
    };
    write("_queries.npy", DType::f32, d, kQueries, x.data());
    write("_decoded.npy", DType::f32, d, kN, decoded.data());
    write("_distances.npy", DType::f32, kK, kQueries, distances.data());
    write("_labels.npy", DType::i64, kK, kQueries, labels.data());
}

} // namespace

TEST(Golden, Version1ReadsDecodesAndSearches) {
    for (const Golden& golden : kGolden) {
        SCOPED_TRACE(golden.stem);
        if (const char* folder = std::getenv("VLC_WRITE_GOLDEN")) {
            write_golden(golden, std::string(folder) + "/" + golden.stem);
        }
        const std::unique_ptr<faiss::Index> index(
                faiss_vlc::read_index(path_of(golden, ".vlc").c_str()));
        const auto decoded = read_vectors(path_of(golden, "_decoded.npy"));
        const auto queries = read_vectors(path_of(golden, "_queries.npy"));
        const auto distances = read_vectors(path_of(golden, "_distances.npy"));
        const auto labels = read_labels(path_of(golden, "_labels.npy"));
        ASSERT_EQ(index->ntotal, decoded.n);
        ASSERT_EQ(index->d, decoded.d);
        EXPECT_EQ(index->metric_type, golden.metric);
        EXPECT_EQ(dynamic_cast<IndexVLC&>(*index).direct_map.type, golden.direct_map);
        std::vector<float> vector(decoded.d);
        for (int64_t i = 0; i < decoded.n; i++) {
            index->reconstruct(golden.first_id + i * golden.id_step, vector.data());
            for (int k = 0; k < decoded.d; k++) {
                EXPECT_FLOAT_EQ(vector[k], decoded.data[i * decoded.d + k]);
            }
        }
        std::vector<float> met(distances.data.size());
        std::vector<int64_t> found(met.size());
        index->search(queries.n, queries.data.data(), distances.d, met.data(), found.data());
        EXPECT_EQ(found, labels.data);
        for (size_t i = 0; i < met.size(); i++) {
            EXPECT_FLOAT_EQ(met[i], distances.data[i]);
        }
    }
}

TEST(Golden, ReadAndWrittenAgainItIsTheSameFile) {
    for (const Golden& golden : kGolden) {
        const std::string copy = testing::TempDir() + "golden_" + std::to_string(getpid()) + ".vlc";
        const std::unique_ptr<faiss::Index> index(
                faiss_vlc::read_index(path_of(golden, ".vlc").c_str()));
        faiss_vlc::write_index(index.get(), copy.c_str());
        std::ifstream a(path_of(golden, ".vlc"), std::ios::binary), b(copy, std::ios::binary);
        const std::string file{std::istreambuf_iterator<char>(a), {}};
        const std::string again{std::istreambuf_iterator<char>(b), {}};
        EXPECT_FALSE(file.empty());
        EXPECT_TRUE(file == again);
        unlink(copy.c_str());
    }
}
