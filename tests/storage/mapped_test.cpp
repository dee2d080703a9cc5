// Files that are mapped: the same index as a loaded one, whatever is done to it, and quickly there.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>

#include <faiss_vlc/container/format.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/storage/load.h>
#include <faiss_vlc/storage/save.h>

#include <tests/support/word_index.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

constexpr int kDim = 16;
constexpr int kCount = 500;

class Mapped : public testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "vlc-mapped-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { fs::remove_all(folder_); }
    std::string path(const char* name = "x.vlc") const { return (folder_ / name).string(); }
    static IndexVLC filled(int bytes = 7) {
        IndexVLC index(kDim, quick(9, bytes));
        index.train(kCount, base().data());
        index.add(kCount, base().data());
        index.nprobe = 4;
        return index;
    }
    static const std::vector<float>& base() {
        static const std::vector<float> x = clustered(kCount, kDim, 12, 1);
        return x;
    }
    std::unique_ptr<IndexVLC> map(const char* name = "x.vlc") const {
        IndexPtr index(faiss_vlc::read_index(path(name).c_str(), faiss::IO_FLAG_MMAP));
        return std::unique_ptr<IndexVLC>(dynamic_cast<IndexVLC*>(index.release()));
    }
    std::unique_ptr<IndexVLC> load(const char* name = "x.vlc") const {
        IndexPtr index(faiss_vlc::read_index(path(name).c_str()));
        return std::unique_ptr<IndexVLC>(dynamic_cast<IndexVLC*>(index.release()));
    }
    static int lent(const IndexVLC& index) {
        int count = 0;
        for (size_t j = 0; j < index.nlist; j++) {
            count += index.lists().is_lent(j);
        }
        return count;
    }
    void overwrite(size_t at, uint8_t flip, const char* name = "x.vlc") const {
        std::fstream file(path(name), std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(std::streamoff(at));
        const int byte = file.get();
        file.seekp(std::streamoff(at));
        file.put(char(byte ^ flip));
    }
    fs::path folder_;
};

} // namespace

TEST_F(Mapped, IsTheSameIndex) {
    for (const int bytes : {4, 7, 18}) {
        for (const bool wide : {false, true}) {
            IndexVLC index(kDim, quick(9, bytes));
            index.train(kCount, base().data());
            std::vector<int64_t> ids(kCount);
            for (int i = 0; i < kCount; i++) {
                ids[i] = wide ? int64_t(i) << 33 : i;
            }
            index.add_with_ids(kCount, base().data(), ids.data());
            faiss_vlc::write_index(&index, path().c_str());
            const auto mapped = map();
            EXPECT_EQ(lent(*mapped), 9);
            EXPECT_LT(mapped->lists().memory(), 4096u);
            EXPECT_EQ(search(*mapped, base()), search(index, base()));
            EXPECT_EQ(written(*mapped), written(index));
            std::vector<float> a(kDim), b(kDim);
            index.reconstruct(ids[77], a.data());
            mapped->reconstruct(ids[77], b.data());
            EXPECT_EQ(a, b);
            EXPECT_EQ(mapped->lists().get_single_id(3, 0), index.lists().get_single_id(3, 0));
            const IndexVLC copy(*mapped);
            EXPECT_EQ(search(copy, base()), search(index, base()));
        }
    }
}

TEST_F(Mapped, WordsAreTheSameIndex) {
    for (const Words& words : kWordKinds) {
        SCOPED_TRACE(testing::Message() << words.code_bytes << " " << words.factor_bytes);
        const auto index = word_index(words, kDim, 9, base());
        index->add(kCount, base().data());
        index->nprobe = 9;
        faiss_vlc::write_index(index.get(), path().c_str());
        auto mapped = map();
        EXPECT_EQ(lent(*mapped), 9);
        EXPECT_EQ(search(*mapped, base()), search(*index, base()));
        EXPECT_EQ(written(*mapped), written(*index));
        std::vector<float> a(kDim), b(kDim);
        index->reconstruct(77, a.data());
        mapped->reconstruct(77, b.data());
        EXPECT_EQ(a, b);
        const Bytes before = written(*index);
        EXPECT_EQ(mapped->remove_ids(faiss::IDSelectorRange(10, 200)), 190u);
        EXPECT_EQ(index->remove_ids(faiss::IDSelectorRange(10, 200)), 190u);
        mapped->add(3, base().data());
        index->add(3, base().data());
        EXPECT_EQ(written(*mapped), written(*index));
        EXPECT_EQ(search(*mapped, base()), search(*index, base()));
        const auto other = map();
        const auto expected = load();
        other->merge_from(*mapped, 10000);
        expected->merge_from(*index, 10000);
        EXPECT_EQ(other->ntotal, 2 * kCount - 187);
        EXPECT_EQ(written(*other), written(*expected));
        mapped = map();
        mapped->make_direct_map(true);
        const std::vector<int64_t> keys = {5, 17};
        mapped->update_vectors(2, keys.data(), base().data());
        mapped->reconstruct(5, a.data());
        mapped->reconstruct(0, b.data());
        EXPECT_EQ(a, b);
        EXPECT_EQ(written(*load()), before);
    }
}

TEST_F(Mapped, OutlivesItsFileAndItsOriginal) {
    const IndexVLC index = filled();
    faiss_vlc::write_index(&index, path().c_str());
    auto mapped = map();
    const IndexVLC copy(*mapped);
    mapped->nprobe = 2;
    faiss_vlc::write_index(mapped.get(), path().c_str()); // over the file that it lies in
    EXPECT_EQ(search(copy, base()), search(index, base()));
    EXPECT_EQ(map()->nprobe, 2u);
    fs::remove(path());
    mapped.reset();
    EXPECT_EQ(search(copy, base()), search(index, base()));
}

TEST_F(Mapped, ChangesCopyTheListsTheyTouch) {
    IndexVLC index = filled();
    faiss_vlc::write_index(&index, path().c_str());
    const Bytes before = written(*load());

    auto mapped = map();
    mapped->add(1, base().data());
    index.add(1, base().data());
    EXPECT_EQ(lent(*mapped), 8);
    EXPECT_EQ(written(*mapped), written(index));

    const std::vector<int64_t> wide(20, int64_t(1) << 40);
    mapped->add_with_ids(20, base().data(), wide.data()); // all ids move, codes need not
    index.add_with_ids(20, base().data(), wide.data());
    EXPECT_TRUE(mapped->lists().wide_ids());
    EXPECT_EQ(written(*mapped), written(index));
    EXPECT_EQ(search(*mapped, base()), search(index, base()));

    mapped = map();
    const auto loaded = load();
    EXPECT_EQ(mapped->remove_ids(faiss::IDSelectorRange(10, 12)), 2u);
    EXPECT_EQ(loaded->remove_ids(faiss::IDSelectorRange(10, 12)), 2u);
    EXPECT_GE(lent(*mapped), 7);
    EXPECT_EQ(written(*mapped), written(*loaded));
    EXPECT_EQ(mapped->remove_ids(faiss::IDSelectorRange(0, 250)), 248u);
    EXPECT_EQ(loaded->remove_ids(faiss::IDSelectorRange(0, 250)), 248u);
    EXPECT_EQ(written(*mapped), written(*loaded));

    mapped = map();
    const auto other = map();
    other->merge_from(*mapped, kCount);
    EXPECT_EQ(other->ntotal, 2 * kCount);
    EXPECT_EQ(mapped->ntotal, 0);
    EXPECT_EQ(written(*map()), before);

    mapped = map();
    mapped->make_direct_map(true);
    const std::vector<int64_t> keys = {5, 17};
    mapped->update_vectors(2, keys.data(), base().data());
    std::vector<float> a(kDim), b(kDim);
    mapped->reconstruct(5, a.data());
    mapped->reconstruct(0, b.data());
    EXPECT_EQ(a, b);
    EXPECT_EQ(written(*load()), before); // the file knows nothing of it
}

TEST_F(Mapped, ChecksAllButIdsAndCodes) {
    const IndexVLC index = filled();
    faiss_vlc::write_index(&index, path().c_str());
    const SectionReader sections(load_file(path()));
    for (const Section& section : sections.sections()) {
        if (section.bytes.size == 0) {
            continue;
        }
        const size_t at = section.offset + section.bytes.size / 2;
        overwrite(at, 0x10);
        if (section.name == "ids" || section.name == "codes" || section.name == "seconds") {
            const auto mapped = map(); // as damaged as it is, it hurts nobody
            search(*mapped, base());
            EXPECT_TRUE(
                    throws([&] { SectionReader(map_file(path())).verify_all(); }, section.name));
        } else {
            EXPECT_TRUE(throws([&] { map(); }, section.name));
        }
        EXPECT_TRUE(throws([&] { load(); }, section.name));
        overwrite(at, 0x10);
    }
    const uint64_t size = fs::file_size(path());
    for (const uint64_t cut : {size - 1, size / 2, uint64_t(63), uint64_t(1)}) {
        fs::resize_file(path(), cut);
        EXPECT_THROW(map(), faiss::FaissException) << cut;
    }
}

TEST_F(Mapped, FilesThatEndAtAPage) {
    // Kernels read whole registers beyond the last list; the file may end where its page does.
    IndexVLC index(kDim, quick(9, 7));
    index.train(kCount, base().data());
    index.add(kCount, base().data());
    const uint64_t page = uint64_t(sysconf(_SC_PAGESIZE));
    uint64_t size = index_sections(index).total_size();
    for (int tries = 0; tries < 5000 && size % page != 0; tries++) {
        index.add(1, base().data() + tries % kCount * kDim); // 4 + 7 bytes each
        size = index_sections(index).total_size();
    }
    ASSERT_EQ(size % page, 0u);
    faiss_vlc::write_index(&index, path().c_str());
    const auto mapped = map();
    mapped->nprobe = index.nprobe = 9;
    EXPECT_EQ(search(*mapped, base()), search(index, base()));
}

TEST_F(Mapped, FilesOfWordsThatEndAtAPage) {
    for (const Words& words : {Words{5, 0, WordAxes::own}, Words{6, 1, WordAxes::principal}}) {
        const auto index = word_index(words, kDim, 9, base());
        index->add(kCount, base().data());
        const uint64_t page = uint64_t(sysconf(_SC_PAGESIZE));
        uint64_t size = index_sections(*index).total_size();
        for (int tries = 0; tries < 5000 && size % page != 0; tries++) {
            index->add(1, base().data() + tries % kCount * kDim);
            size = index_sections(*index).total_size();
        }
        ASSERT_EQ(size % page, 0u);
        faiss_vlc::write_index(index.get(), path().c_str());
        const auto mapped = map();
        mapped->nprobe = index->nprobe = 9;
        EXPECT_EQ(search(*mapped, base()), search(*index, base()));
    }
}

TEST_F(Mapped, OthersGoTheirOwnWay) {
    const IndexPtr tree = filled_tree(kDim, "IDMap,VLC8x4", base());
    faiss_vlc::write_index(tree.get(), path().c_str());
    const IndexPtr again(faiss_vlc::read_index(path().c_str(), faiss::IO_FLAG_MMAP));
    EXPECT_EQ(search(*again, base()), search(*tree, base()));
    const IndexVLC untrained(kDim, quick(9, 7));
    faiss_vlc::write_index(&untrained, path().c_str());
    EXPECT_FALSE(map()->is_trained);
}

TEST_F(Mapped, OpensInTimeThatDoesNotDependOnTheVectors) {
    // Sparse: a gigabyte of zeros is as good as any codes, and takes no disk.
    IndexVLC index(kDim, quick(64, 18));
    index.train(kCount, base().data());
    const int64_t n = 45'000'000; // 22 bytes each
    const SectionReader small(load_file([&] {
        faiss_vlc::write_index(&index, path().c_str());
        return path();
    }()));
    std::vector<std::string> known;
    SectionWriter writer;
    std::vector<uint8_t> head, lists;
    for (const Section& section : small.sections()) {
        std::vector<uint8_t> bytes(section.bytes.data, section.bytes.data + section.bytes.size);
        if (section.name == "index") {
            std::memcpy(&bytes[16], &n, 8);
        } else if (section.name == "lists") {
            for (int j = 0; j < 64; j++) {
                const uint32_t size = uint32_t(n / 64 + (j < n % 64));
                std::memcpy(&bytes[4 + 4 * j], &size, 4);
            }
        } else if (section.name == "ids" || section.name == "codes" || section.name == "seconds") {
            const int bytes = section.name == "ids"     ? 4
                              : section.name == "codes" ? 18
                                                        : test_second_bytes();
            const uint64_t size = uint64_t(n) * uint64_t(bytes);
            writer.add(section.name, true, size, [size](ByteSink& sink) {
                static const std::vector<uint8_t> zeros(1 << 20);
                for (uint64_t at = 0; at < size; at += zeros.size()) {
                    sink.write(zeros.data(), std::min<uint64_t>(zeros.size(), size - at));
                }
            });
            continue;
        }
        writer.add(section.name, section.required, std::move(bytes));
    }
    // Zeros are left out of the file.
    struct Holes : ByteSink {
        explicit Holes(const std::string& name) : file(fopen(name.c_str(), "wb")) {}
        ~Holes() override { fclose(file); }
        void write(const void* data, size_t size) override {
            const auto* bytes = static_cast<const uint8_t*>(data);
            if (size == 1 << 20 && bytes[0] == 0) {
                fseeko(file, off_t(size), SEEK_CUR);
            } else {
                fwrite(data, 1, size, file);
            }
        }
        FILE* file;
    };
    {
        Holes sink(path("large.vlc"));
        writer.write(sink);
    }
    ASSERT_GT(fs::file_size(path("large.vlc")), 950'000'000u);
    // CPU time, and pages that were touched: what else runs on the machine must not count.
    const auto spent = [] {
        struct rusage usage;
        EXPECT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
        struct timespec cpu;
        EXPECT_EQ(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu), 0);
        return std::pair(double(cpu.tv_sec) + 1e-9 * double(cpu.tv_nsec),
                         usage.ru_minflt + usage.ru_majflt);
    };
    double best = 1e9;
    long pages = LONG_MAX;
    for (int i = 0; i < 5; i++) {
        const auto before = spent();
        const auto mapped = map("large.vlc");
        const auto after = spent();
        best = std::min(best, after.first - before.first);
        pages = std::min(pages, after.second - before.second);
        EXPECT_EQ(mapped->ntotal, n);
        EXPECT_LT(mapped->memory(), 1u << 20);
    }
    printf("a file of %.2f GB opens in %.3f ms, by %ld pages\n",
           double(fs::file_size(path("large.vlc"))) / 1e9, 1e3 * best, pages);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LT(best, 0.01);
    EXPECT_LT(pages, 1000); // of 230,000
#endif
}
