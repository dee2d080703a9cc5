// An index to its sections and back; damage is noticed.

#include <faiss_vlc/load.h>
#include <faiss_vlc/save.h>

#include <unistd.h>

#include <fstream>

#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <gtest/gtest.h>

#include "unit_test.h"

using namespace faiss_vlc;

namespace {

VLCParameters small_parameters(int m, int bytes) {
    VLCParameters params;
    params.m = m;
    params.bytes = bytes;
    params.iterations = 4;
    params.device = "reference";
    return params;
}

std::vector<uint8_t> bytes_of(const IndexVLC& index) {
    faiss::VectorIOWriter writer;
    IOWriterSink sink(writer);
    index_sections(index).write(sink);
    return writer.data;
}

std::unique_ptr<IndexVLC> index_of(const std::vector<uint8_t>& bytes) {
    return load_index(Payload{{bytes.data(), bytes.size()}, "memory", nullptr});
}

struct Results {
    std::vector<float> distances;
    std::vector<int64_t> labels;
    bool operator==(const Results& other) const {
        return distances == other.distances && labels == other.labels;
    }
};

Results search(const faiss::Index& index, const std::vector<float>& queries, int k) {
    const int64_t n = int64_t(queries.size()) / index.d;
    Results r{std::vector<float>(n * k), std::vector<int64_t>(n * k)};
    index.search(n, queries.data(), k, r.distances.data(), r.labels.data());
    return r;
}

} // namespace

TEST(Save, RoundTripKeepsResultsAndBytes) {
    for (const faiss::MetricType metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const AnchorGrid grid : {AnchorGrid::int8, AnchorGrid::float16}) {
            for (const int d : {1, 3, 17, 64}) {
                for (const int bytes : {3, 4, 5, 6, 7, 9, 18}) {
                    VLCParameters params = small_parameters(5, bytes);
                    params.grid = grid;
                    IndexVLC index(d, params, metric);
                    const std::vector<float> x = clustered(150, d, 4, 7 + d);
                    index.train(150, x.data());
                    index.add(77, x.data());
                    const std::vector<uint8_t> saved = bytes_of(index);
                    const auto loaded = index_of(saved);
                    SCOPED_TRACE(testing::Message() << "d " << d << " bytes " << bytes);
                    EXPECT_EQ(bytes_of(*loaded), saved);
                    EXPECT_TRUE(search(*loaded, x, 6) == search(index, x, 6));
                    EXPECT_EQ(loaded->nprobe, index.nprobe);
                    EXPECT_EQ(loaded->ntotal, 77);
                    // and goes on working
                    loaded->add(3, x.data());
                    index.add(3, x.data());
                    EXPECT_EQ(bytes_of(*loaded), bytes_of(index));
                }
            }
        }
    }
}

TEST(Save, UntrainedEmptyWideIdsAndDirectMaps) {
    IndexVLC untrained(12, 7, 1.5f);
    const auto again = index_of(bytes_of(untrained));
    EXPECT_FALSE(again->is_trained);
    EXPECT_EQ(again->code_size, untrained.code_size);
    EXPECT_EQ(again->parameters.m, 7);

    IndexVLC index(8, small_parameters(4, 6));
    const std::vector<float> x = clustered(100, 8, 4, 3);
    index.train(100, x.data());
    EXPECT_EQ(index_of(bytes_of(index))->ntotal, 0);

    std::vector<int64_t> ids(100);
    for (int i = 0; i < 100; i++) {
        ids[i] = (int64_t(1) << 40) + i;
    }
    index.add_with_ids(100, x.data(), ids.data());
    EXPECT_TRUE(search(*index_of(bytes_of(index)), x, 3) == search(index, x, 3));

    index.reset();
    index.add(100, x.data());
    index.make_direct_map(true);
    const auto mapped = index_of(bytes_of(index));
    EXPECT_EQ(mapped->direct_map.type, faiss::DirectMap::Array);
    std::vector<float> a(8), b(8);
    index.reconstruct(42, a.data());
    mapped->reconstruct(42, b.data());
    EXPECT_EQ(a, b);
}

TEST(Save, EveryCutAndEveryFlipIsNoticed) {
    IndexVLC index(5, small_parameters(3, 5));
    const std::vector<float> x = clustered(60, 5, 3, 9);
    index.train(60, x.data());
    index.add(20, x.data());
    const std::vector<uint8_t> good = bytes_of(index);
    for (size_t size = 0; size < good.size(); size++) {
        const std::vector<uint8_t> cut(good.begin(), good.begin() + size);
        EXPECT_THROW(index_of(cut), faiss::FaissException) << "cut to " << size;
    }
    for (size_t i = 0; i < good.size(); i++) {
        for (const int flip : {0x01, 0x80, 0xff}) {
            std::vector<uint8_t> bad = good;
            bad[i] ^= uint8_t(flip);
            EXPECT_THROW(index_of(bad), faiss::FaissException) << "byte " << i;
        }
    }
}

TEST(Save, HostileContentWithRightChecksumsIsRefused) {
    // Each section's content is changed and its checksum made anew: validation is all there is.
    IndexVLC index(5, small_parameters(3, 5));
    const std::vector<float> x = clustered(60, 5, 3, 9);
    index.train(60, x.data());
    index.add(20, x.data());
    const std::vector<uint8_t> good = bytes_of(index);
    const SectionReader sections(Payload{{good.data(), good.size()}, "memory", nullptr});
    Random random(5);
    int refused = 0, taken = 0;
    for (const Section& changed : sections.sections()) {
        for (int trial = 0; trial < 200; trial++) {
            SectionWriter writer;
            for (const Section& s : sections.sections()) {
                std::vector<uint8_t> content(s.bytes.data, s.bytes.data + s.bytes.size);
                if (s.name == changed.name && !content.empty()) {
                    const size_t at = size_t(random.between(0, int64_t(content.size()) - 1));
                    content[at] ^= uint8_t(random.between(1, 255));
                }
                writer.add(s.name, s.required, std::move(content));
            }
            faiss::VectorIOWriter out;
            IOWriterSink sink(out);
            writer.write(sink);
            try {
                const auto loaded = index_of(out.data);
                search(*loaded, x, 4); // whatever it finds, it must not crash
                taken++;
            } catch (const faiss::FaissException&) {
                refused++;
            }
        }
    }
    EXPECT_GT(refused, 300);
    EXPECT_GT(taken, 300); // codes and ids may be anything
}

TEST(Save, FileIsReplacedWhole) {
    const std::string path = testing::TempDir() + "vlc_save_" + std::to_string(getpid()) + ".vlc";
    IndexVLC index(6, small_parameters(3, 5));
    const std::vector<float> x = clustered(60, 6, 3, 9);
    index.train(60, x.data());
    save_index(index, path);
    index.add(60, x.data());
    save_index(index, path);
    EXPECT_EQ(load_index(load_file(path))->ntotal, 60);
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(content.size(), index_sections(index).total_size());
    unlink(path.c_str());
    EXPECT_THROW(save_index(index, "/no/such/folder/x.vlc"), faiss::FaissException);
}
