// The container: sections to bytes and back, in memory, streams and files.

#include <tests/container/format_test.h>

#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

#include <faiss_vlc/container/atomic_file.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

// The bytes of FORMAT.md's hex dump.
Bytes example_of_format_md() {
    const fs::path root = fs::path(VLC_TEST_DATA).parent_path().parent_path();
    std::ifstream in(root / "faiss_vlc" / "docs" / "FORMAT.md");
    Bytes bytes;
    for (std::string line; std::getline(in, line);) {
        std::ostringstream address;
        address << std::hex << std::setw(8) << std::setfill('0') << bytes.size() << ": ";
        if (line.rfind(address.str(), 0) != 0) {
            continue;
        }
        std::istringstream words(line.substr(10, 40));
        for (std::string word; words >> word;) {
            for (size_t i = 0; i + 1 < word.size(); i += 2) {
                bytes.push_back(uint8_t(std::stoi(word.substr(i, 2), nullptr, 16)));
            }
        }
    }
    return bytes;
}

class FormatFiles : public testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "vlc-format-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder_ = name;
        path_ = folder_ / "x.vlc";
    }
    void TearDown() override { fs::remove_all(folder_); }

    void put(const Bytes& bytes) {
        std::ofstream(path_, std::ios::binary)
                .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    }

    fs::path folder_, path_;
};

} // namespace

TEST(Format, IsTheExampleOfFormatMd) {
    const Bytes example = example_of_format_md();
    ASSERT_EQ(example.size(), kTinySize);
    EXPECT_EQ(tiny(), example);
    EXPECT_EQ(tiny_writer().total_size(), kTinySize);
    open_all(exact(example));
}

TEST(Format, RoundTrip) {
    std::vector<float> big(100000);
    for (size_t i = 0; i < big.size(); i++) {
        big[i] = float(i);
    }
    int calls = 0;
    SectionWriter writer;
    writer.add("empty", kOptional, nullptr, 0);
    writer.add("big", kRequired, 4 * big.size(), [&](ByteSink& sink) {
        calls++;
        for (size_t i = 0; i < big.size(); i += 1000) {
            sink.write(big.data() + i, 4000);
        }
    });
    writer.add("bytes", kOptional, Bytes{1, 2, 3});
    writer.add("last.one-is_16ch", kOptional, Bytes());
    const Bytes bytes = written(writer);
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(bytes.size(), writer.total_size());

    for (const size_t step : {size_t(7), std::numeric_limits<size_t>::max()}) {
        SlowReader in;
        in.data = bytes;
        in.step = step;
        const SectionReader reader(read_payload(in), {"big"});
        reader.verify_all();
        ASSERT_EQ(reader.sections().size(), 4u);
        EXPECT_EQ(reader.sections()[3].name, "last.one-is_16ch");
        EXPECT_TRUE(reader.sections()[1].required);
        EXPECT_FALSE(reader.sections()[2].required);
        EXPECT_EQ(reader.section("empty").size, 0u);
        EXPECT_TRUE(reader.has("bytes"));
        EXPECT_FALSE(reader.has("byte"));
        const float* view = reader.view<float>("big", big.size());
        EXPECT_EQ(reinterpret_cast<uintptr_t>(view) % 64, 0u);
        EXPECT_TRUE(std::equal(big.begin(), big.end(), view));
        EXPECT_ERROR(reader.view<float>("big", 99999), "\"big\": 99999 elements of 4 bytes");
        EXPECT_ERROR(reader.view<float>("big", ~uint64_t(0) / 2), "does not fit");
        EXPECT_ERROR(reader.section("nothing"), "section \"nothing\": missing");
        EXPECT_ERROR(reader.verify("nothing"), "section \"nothing\": missing");
    }
    const SectionReader none(exact(written(SectionWriter())), {});
    EXPECT_TRUE(none.sections().empty());
    EXPECT_EQ(none.payload().bytes.size, 64u);
    EXPECT_NE(none.fingerprint(), SectionReader(exact(tiny())).fingerprint());
}

TEST(Format, UnknownSections) {
    SectionWriter writer = tiny_writer();
    writer.add("future", kOptional, "?", 1);
    open_all(exact(written(writer)));
    writer.add("future2", kRequired, "!", 1);
    EXPECT_ERROR(open_all(exact(written(writer))), "section \"future2\": required, but unknown");
    SectionReader any(exact(written(writer)));
    any.verify_all();
    EXPECT_EQ(any.section("future2").size, 1u);
}

TEST(Format, WriterRefuses) {
    for (const char* name : {"", "17-characters-xxx", "Meta", "a b", "\x80", "a/b", "a\n"}) {
        EXPECT_ERROR(SectionWriter().add(name, kRequired, "x", 1), "a name has 1 to 16");
    }
    SectionWriter writer;
    for (uint32_t i = 0; i < kMaxSections; i++) {
        writer.add(std::to_string(i), kOptional, "x", 1);
    }
    EXPECT_ERROR(writer.add("7", kOptional, "x", 1), "section \"7\": added twice");
    EXPECT_ERROR(writer.add("more", kOptional, "x", 1), "at most 1024");
    const SectionReader most(exact(written(writer)), {});
    most.verify_all();

    const auto produce = [](uint64_t size, SectionWriter::Producer producer) {
        SectionWriter writer;
        writer.add("p", kRequired, size, std::move(producer));
        written(writer);
    };
    EXPECT_ERROR(produce(2, [](ByteSink& s) { s.write("abc", 3); }), "2 bytes announced, at le");
    EXPECT_ERROR(produce(4, [](ByteSink& s) { s.write("abc", 3); }), "4 bytes announced, 3 prod");
    char next = 'a';
    EXPECT_ERROR(produce(1,
                         [&](ByteSink& s) {
                             s.write(&next, 1);
                             next++;
                         }),
                 "changed while");
    EXPECT_ERROR(produce(~uint64_t(0), [](ByteSink&) {}), "does not fit");
}

TEST(Format, StreamsInTheMiddleOfOthers) {
    faiss::VectorIOWriter out;
    out.data = {1, 2, 3};
    IOWriterSink sink(out);
    tiny_writer().write(sink);
    sink.write("rest", 4);
    faiss::VectorIOReader in;
    in.data = out.data;
    in.rp = 3;
    const Payload payload = read_payload(in);
    EXPECT_EQ(in.rp, 3 + kTinySize);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(payload.bytes.data) % 64, 0u);
    open_all(payload);

    // In place, at an odd address: readable, but not as an array of numbers.
    const Payload borrowed = {{out.data.data() + 3, kTinySize}, "memory", nullptr};
    open_all(borrowed);
    EXPECT_ERROR(SectionReader(borrowed).view<uint32_t>("meta", 2), "not a multiple of 4");
    const Payload longer = {{out.data.data() + 3, kTinySize + 4}, "memory", nullptr};
    EXPECT_ERROR(open_all(longer), "261 bytes expected, 265 met");

    struct FullWriter : faiss::VectorIOWriter {
        size_t operator()(const void* data, size_t size, size_t count) override {
            return VectorIOWriter::operator()(data, size, std::min<size_t>(count, 60));
        }
    } full;
    full.name = "pipe";
    IOWriterSink full_sink(full);
    EXPECT_ERROR(tiny_writer().write(full_sink), "pipe: cannot write: 60 of 64 bytes taken");
}

TEST_F(FormatFiles, SavedMappedAndLoaded) {
    AtomicFile file(path_.string());
    SinkTo<AtomicFile> sink(file);
    tiny_writer().write(sink);
    file.commit();
    EXPECT_EQ(fs::file_size(path_), kTinySize);
    for (const Payload& payload : {map_file(path_.string()), load_file(path_.string())}) {
        EXPECT_EQ(Bytes(payload.bytes.data, payload.bytes.data + payload.bytes.size), tiny());
        EXPECT_EQ(reinterpret_cast<uintptr_t>(payload.bytes.data) % 64, 0u);
        EXPECT_TRUE(has_magic(payload.bytes.data, payload.bytes.size));
        open_all(payload);
    }
    // A mapping outlives the file and its name.
    const Payload mapped = map_file(path_.string());
    AtomicFile other(path_.string());
    other.write("other", 5);
    other.commit();
    open_all(mapped);
    EXPECT_ERROR(open_all(map_file(path_.string())), "x.vlc: header: not a VLC index");
}

TEST_F(FormatFiles, BadFiles) {
    const Bytes whole = tiny();
    for (size_t size = 1; size < whole.size(); size++) {
        put(Bytes(whole.begin(), whole.begin() + size));
        EXPECT_ERROR(open_all(map_file(path_.string())), "cut off");
        EXPECT_ERROR(open_all(load_file(path_.string())), "cut off");
    }
    const auto both = [](const fs::path& path, const char* part) {
        EXPECT_ERROR(map_file(path.string()), part);
        EXPECT_ERROR(load_file(path.string()), part);
    };
    both(folder_ / "missing", "missing: cannot open: No such file");
    both(folder_, "it is a folder");
    put({});
    both(path_, "x.vlc: cannot read: it is empty");
    fs::remove(path_);
    ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
    both(path_, "it is not a regular file");
    // What is no index is refused before its size is allocated.
    fs::remove(path_);
    put({'I', 'x', 'F', 'I'});
    fs::resize_file(path_, uint64_t(1) << 40);
    EXPECT_ERROR(load_file(path_.string()), "the first that differs is byte 0");
}
