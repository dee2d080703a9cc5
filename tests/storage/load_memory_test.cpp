// What a file may make its reader allocate: no more than kFactor times its size and kBase, in all
// at any moment, whatever it says.

#include <cstring>

#include <tests/storage/save_test.h>
#include <tests/support/allocation_hooks.h>

using namespace faiss_vlc;

namespace {

constexpr int64_t kFactor = 16;
constexpr int64_t kBase = 256 << 10;

/// The most that loading has live at once beyond what was there before, as a factor of the file.
int64_t peak_of_loading(const Bytes& bytes) {
    faiss::VectorIOReader reader = reader_of(bytes);
    const int64_t before = allocations::live;
    allocations::peak = before;
    try {
        const IndexPtr index(faiss_vlc::read_index(&reader));
    } catch (const faiss::FaissException&) {
    } catch (const std::bad_alloc&) {
        ADD_FAILURE() << "out of memory";
    }
    return allocations::peak - before;
}

void expect_bounded(const Bytes& bytes) {
    const int64_t peak = peak_of_loading(bytes);
    EXPECT_LE(peak, kFactor * int64_t(bytes.size()) + kBase)
            << peak << " bytes for a file of " << bytes.size();
}

} // namespace

TEST(LoadMemory, OfHonestFiles) {
    if (allocations::hidden) {
        GTEST_SKIP() << "allocations are not seen";
    }
    double most = 0;
    for (const int d : {1, 3, 16, 300}) {
        for (const int m : {1, 40, 700}) {
            for (const auto map :
                 {faiss::DirectMap::NoMap, faiss::DirectMap::Array, faiss::DirectMap::Hashtable}) {
                VLCParameters params = quick(m, 3);
                params.iterations = 1;
                IndexVLC index(d, params);
                const int64_t n = std::max(m, 200);
                const std::vector<float> x = clustered(n, d, 10, 1);
                index.train(n, x.data());
                for (int i = 0; i < (d < 100 ? 5 : 1); i++) {
                    index.add(n, x.data());
                }
                index.set_direct_map_type(map);
                const Bytes bytes = written(index);
                SCOPED_TRACE(testing::Message() << "d " << d << " m " << m << " map " << map);
                expect_bounded(bytes);
                most = std::max(most,
                                double(peak_of_loading(bytes) - kBase) / double(bytes.size()));
            }
        }
    }
    printf("at most %.1f times the file and %lld bytes\n", most, (long long)kBase);
}

// Numbers that lie, with all checksums right.
TEST(LoadMemory, OfForgedFiles) {
    if (allocations::hidden) {
        GTEST_SKIP() << "allocations are not seen";
    }
    const IndexVLC untrained(5, 7);
    for (const Bytes& good : {written(*small_index()), written(*small_index(AnchorGrid::float16)),
                              written(untrained)}) {
        const SectionReader sections(Payload{{good.data(), good.size()}, "x.vlc", nullptr});
        for (const Section& section : sections.sections()) {
            const size_t size = std::min<size_t>(section.bytes.size, 200);
            for (size_t at = 0; at + 4 <= size; at++) {
                for (const uint32_t value : {0xffffffffu, 0x7fffffffu, 1u << 20, 4096u, 65535u}) {
                    expect_bounded(with(good, section.name.c_str(), at, value));
                }
                if (at + 8 <= size) {
                    for (const int shift : {20, 40, 62, 63}) {
                        expect_bounded(with(good, section.name.c_str(), at, uint64_t(1) << shift));
                    }
                }
            }
        }
    }
}

// An untrained index announces anchors that nothing is kept for.
TEST(LoadMemory, OfAnUntrainedIndex) {
    VLCParameters params;
    params.m = 1 << 20;
    params.bits_per_dim = 8;
    const IndexVLC index(4096, params);
    expect_bounded(written(index));
}
