// Lengths in FAISS's container are checked before FAISS allocates what they say.

#include <faiss_vlc/interop/bounded_reader.h>

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <faiss/IndexFlat.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/index_io.h>
#include <faiss/invlists/OnDiskInvertedLists.h>

#include <faiss_vlc/faiss_version.h>

#include <tests/support/allocation_hooks.h>
#include <tests/support/index_test.h>

using namespace faiss_vlc;

namespace {

constexpr size_t kBound = size_t(64) << 20; ///< what 2^20 elements take, for small files

const char* const kOthers[] = {
        "Flat",           "IVF8,Flat",     "IVF8,SQ8",     "IVF8,PQ4x4",
        "IVF8,PQ4x4fs",   "PQ4x4",         "PQ4x4fs",      "SQ8",
        "HNSW8,Flat",     "HNSW8,SQ8",     "LSH",          "RQ2x4",
        "PCA8,Flat",      "OPQ4_16,PQ4x4", "ITQ8,LSH",     "IVF8,RQ2x4",
        "IVF8_HNSW,Flat", "IMI2x4,Flat",   "IDMap,Flat",   "IDMap2,IVF8,Flat",
        "RR16,IVF8,Flat", "Flat,RFlat",    "IVF8,PQ4x4+4", "PRQ2x2x4",
        "L2norm,Flat",    "IVF8,ITQ8,SH"};

/// FAISS's readers of the other kinds have faults of their own: only lengths are asked about.
void read_flipped(const Bytes& good, size_t at, uint8_t flip) {
    Bytes bad = good;
    bad[at] ^= flip;
    try {
        read(bad);
    } catch (const faiss::FaissException&) {
    }
}

} // namespace

TEST(BoundedReader, LetsEveryKindOfIndexPass) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    int met = 0;
    for (const char* description : kOthers) {
        SCOPED_TRACE(description);
        IndexPtr index;
        try {
            index = tree_of(kTreeD, description);
        } catch (const faiss::FaissException&) {
            continue; // not in this FAISS's factory
        }
        met++;
        // untrained ones that FAISS doesn't read back: 1.7.3 crashes, newer ones refuse an ITQ
        if (!std::strstr(description, "RQ") && !std::strstr(description, "ITQ")) {
            ASSERT_NO_THROW(EXPECT_EQ(written(*read(written(*index))), written(*index)));
        }
        index->train(400, x.data());
        ASSERT_NO_THROW(EXPECT_EQ(written(*read(written(*index))), written(*index)));
        for (const int n : {1, 399}) {
            index = filled_tree(kTreeD, description, std::vector<float>(x.begin(), x.end()));
            index->reset();
            if (dynamic_cast<faiss::IndexIDMap*>(index.get())) {
                const std::vector<int64_t> ids(n, int64_t(1) << 60);
                index->add_with_ids(n, x.data(), ids.data());
            } else {
                index->add(n, x.data());
            }
            const Bytes bytes = written(*index);
            ASSERT_NO_THROW(EXPECT_EQ(written(*read(bytes)), bytes)) << n;
        }
    }
    EXPECT_GT(met, 20);
}

TEST(BoundedReader, LetsOddNumbersPass) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const char* description : {"IVF8,Flat", "VLC8x4", "IDMap,IVF8,SQ8", "PCA8,VLC8x2"}) {
        SCOPED_TRACE(description);
        const IndexPtr index = filled_tree(kTreeD, description, x);
        if (auto* ivf = dynamic_cast<faiss::IndexIVF*>(index.get())) {
            ivf->nprobe = size_t(1) << 60;
            ivf->make_direct_map(true);
        }
        const Bytes bytes = written(*index);
        EXPECT_EQ(written(*read(bytes)), bytes);
    }
    // one vector whose id is large, with each kind of direct map that can hold it
    IndexPtr index = tree_of(kTreeD, "IVF8,Flat");
    index->train(400, x.data());
    const int64_t id = int64_t(1) << 40;
    auto& ivf = dynamic_cast<faiss::IndexIVF&>(*index);
    ivf.set_direct_map_type(faiss::DirectMap::Hashtable);
    ivf.add_with_ids(1, x.data(), &id);
    EXPECT_EQ(written(*read(written(ivf))), written(ivf));
    // an untrained index of many lists
    index = tree_of(kTreeD, "IVF262144,Flat");
    EXPECT_EQ(written(*read(written(*index))), written(*index));
}

TEST(BoundedReader, ListsInAFileOfTheirOwn) {
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    const IndexPtr index = filled_tree(kTreeD, "IVF8,Flat", x);
    auto& ivf = dynamic_cast<faiss::IndexIVF&>(*index);
    const auto folder =
            std::filesystem::temp_directory_path() / ("vlc-lists-" + std::to_string(getpid()));
    std::filesystem::create_directory(folder);
    const std::string lists = (folder / "lists").string(), file = (folder / "index").string();
    const Results expected = search(ivf, x);
    auto* on_disk = new faiss::OnDiskInvertedLists(8, ivf.code_size, lists.c_str());
    on_disk->InvertedLists::merge_from(ivf.invlists, 0);
    ivf.replace_invlists(on_disk, true);
    faiss_vlc::write_index(&ivf, file.c_str());
    const IndexPtr loaded(faiss_vlc::read_index(file.c_str()));
    EXPECT_EQ(search(*loaded, x), expected);

    // FAISS's own mapping goes through its own type of reader
    const IndexPtr plain = filled_tree(kTreeD, "IVF8,Flat", x);
    faiss_vlc::write_index(plain.get(), file.c_str());
    const IndexPtr mapped(faiss_vlc::read_index(file.c_str(), faiss::IO_FLAG_MMAP));
    EXPECT_NE(dynamic_cast<faiss::OnDiskInvertedLists*>(
                      dynamic_cast<faiss::IndexIVF&>(*mapped).invlists),
              nullptr);
    EXPECT_EQ(search(*mapped, x), expected);
    std::filesystem::remove_all(folder);
}

TEST(BoundedReader, NoByteOfATreeMakesFaissAllocateMuch) {
    LEAKS_OF_FAISS;
    const std::vector<float> x = clustered(40, kTreeD, 3, 1);
    for (const char* description : {"IDMap,VLC3x2", "PCA8,VLC3x2", "VLC3x2,RFlat", "RR8,VLC3b6"}) {
        const Bytes good = written(*filled_tree(kTreeD, description, x));
        const auto payload = std::search(good.begin(), good.end(), "ilVC", "ilVC" + 4);
        ASSERT_NE(payload, good.end());
        for (size_t i = 0; i < size_t(payload - good.begin()); i++) {
            for (const int flip : {0x11, 0x80}) {
                allocations::largest = 0;
                read_flipped(good, i, uint8_t(flip));
                EXPECT_LT(allocations::largest, kBound) << description << " byte " << i;
            }
        }
        // behind the payload: ids, the vectors to refine with
        for (size_t i = good.size() - std::min<size_t>(good.size(), 40 * kTreeD * 4 + 200);
             i < good.size(); i++) {
            allocations::largest = 0;
            read_flipped(good, i, 0x11);
            EXPECT_LT(allocations::largest, kBound) << description << " byte " << i;
        }
    }
}

TEST(BoundedReader, ListsOfFaissAreSummedUp) {
    LEAKS_OF_FAISS;
    const std::vector<float> x = clustered(400, kTreeD, 8, 1);
    for (const char* description : {"IVF8,Flat", "IVF300,Flat"}) { // a full table, and a sparse one
        const IndexPtr index = filled_tree(kTreeD, description, x);
        if (std::string(description) == "IVF300,Flat") {
            index->reset();
            index->add(1, x.data());
        }
        const Bytes good = written(*index);
        const std::string kind = std::string(description) == "IVF8,Flat" ? "full" : "sprs";
        const auto table = std::search(good.begin(), good.end(), kind.begin(), kind.end());
        ASSERT_NE(table, good.end());
        for (size_t i = size_t(table - good.begin()) - 16;
             i < size_t(table - good.begin()) + 12 + 16; i++) {
            allocations::largest = 0;
            read_flipped(good, i, 0x11);
            EXPECT_LT(allocations::largest, kBound) << description << " byte " << i;
        }
    }
}

TEST(BoundedReader, RecursionIsBounded) {
    LEAKS_OF_FAISS;
    const std::vector<float> x = clustered(4, kTreeD, 1, 1);
    faiss::IndexFlat flat(kTreeD);
    const faiss::IndexIDMap map(&flat);
    const Bytes bytes = written(map);
    const Bytes one(bytes.begin(), bytes.begin() + 37); // what an IDMap has before its index
    ASSERT_EQ(std::memcmp(&bytes[37], "IxF2", 4), 0);
    Bytes deep;
    for (int i = 0; i < 100000; i++) {
        deep.insert(deep.end(), one.begin(), one.end());
    }
    const bool faiss_bounds = FAISS_VLC_FAISS_VERSION >= 11500; // at 50
    EXPECT_TRUE(throws([&] { read(deep); }, faiss_bounds ? "depth" : "at most 1000"));
}
