#include <faiss_vlc/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <limits>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <gtest/gtest.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <faiss_vlc/atomic_file.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

using Bytes = std::vector<uint8_t>;

// Positions in tiny(), FORMAT.md's example.
constexpr size_t kMetaEntry = 64, kNoteEntry = 112, kTableEnd = 160;
constexpr size_t kMeta = 192, kMetaEnd = 200, kNote = 256, kTinySize = 261;

SectionWriter tiny_writer() {
    ByteWriter meta;
    meta.u32(128);
    meta.u32(4);
    SectionWriter writer;
    writer.add("meta", kRequired, meta.take());
    writer.add("note", kOptional, "hello", 5);
    return writer;
}

Bytes written(const SectionWriter& writer) {
    faiss::VectorIOWriter out;
    IOWriterSink sink(out);
    writer.write(sink);
    return out.data;
}

Bytes tiny() {
    return written(tiny_writer());
}

// The bytes of FORMAT.md's hex dump.
Bytes example_of_format_md() {
    const fs::path root = fs::path(VLC_TEST_DATA).parent_path().parent_path();
    std::ifstream in(root / "faiss_vlc" / "FORMAT.md");
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

// A copy of just these bytes on the heap, so that the sanitizer sees every step beyond them.
Payload exact(const Bytes& bytes) {
    const std::shared_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), copy.get());
    return {{copy.get(), bytes.size()}, "x.vlc", copy};
}

void open_all(Payload payload) {
    SectionReader reader(std::move(payload), {"meta", "note"});
    reader.verify_all();
    ByteReader meta = reader.read("meta");
    EXPECT_EQ(meta.u32(), 128u);
    EXPECT_EQ(meta.u32(), 4u);
    meta.expect_end();
    const ByteSpan note = reader.section("note");
    EXPECT_EQ(std::string(note.data, note.data + note.size), "hello");
}

// A stream that gives at most `step` bytes a call and remembers the largest request.
struct SlowReader : faiss::VectorIOReader {
    size_t step = std::numeric_limits<size_t>::max();
    size_t largest = 0;
    size_t operator()(void* data, size_t size, size_t count) override {
        largest = std::max(largest, size * count);
        return VectorIOReader::operator()(data, size, std::min(count, step));
    }
};

void stream_all(const Bytes& bytes) {
    SlowReader in;
    in.name = "stream x";
    in.data = bytes;
    open_all(read_payload(in));
}

// Does `action` throw a FaissException whose message contains `part`?
template <class Action>
testing::AssertionResult throws(Action action, const std::string& part) {
    try {
        action();
    } catch (const faiss::FaissException& e) {
        if (e.msg.find(part) != std::string::npos) {
            return testing::AssertionSuccess();
        }
        return testing::AssertionFailure() << "\"" << part << "\" expected in: " << e.msg;
    }
    return testing::AssertionFailure() << "no exception; expected: " << part;
}

#define EXPECT_ERROR(action, part) EXPECT_TRUE(throws([&] { action; }, part))

template <class T>
Bytes with(Bytes bytes, size_t at, T value) {
    memcpy(bytes.data() + at, &value, sizeof(value));
    return bytes;
}

// Makes the checksums of an edited container right again, as a forger would.
Bytes sealed(Bytes bytes) {
    uint32_t count;
    memcpy(&count, bytes.data() + 24, sizeof(count));
    const uint64_t table = std::min<uint64_t>(48ull * count, bytes.size() - 64);
    bytes = with(bytes, 32, uint64_t(XXH64(bytes.data() + 64, table, 0)));
    return with(bytes, 56, uint64_t(XXH64(bytes.data(), 56, 0)));
}

void expect_forgery_refused(const Bytes& forged, const std::string& part) {
    EXPECT_ERROR(open_all(exact(sealed(forged))), part);
    EXPECT_ERROR(stream_all(sealed(forged)), part);
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

TEST(Format, EveryTruncationIsNamed) {
    const Bytes whole = tiny();
    for (size_t size = 0; size < whole.size(); size++) {
        const Bytes cut(whole.begin(), whole.begin() + size);
        const char* part = size == 0          ? "empty"
                           : size < 64        ? "header: cut off, 64 bytes expected"
                           : size < kTableEnd ? "section table: cut off, 96 bytes expected"
                           : size < kMetaEnd  ? "section \"meta\": cut off, 261 bytes expected"
                                              : "section \"note\": cut off, 261 bytes expected";
        EXPECT_ERROR(open_all(exact(cut)), part);
        EXPECT_ERROR(stream_all(cut), part);
    }
}

TEST(Format, EveryFlippedByteIsNamed) {
    const Bytes whole = tiny();
    for (size_t at = 0; at < whole.size(); at++) {
        for (const int flip : {0x01, 0x80, 0xff}) {
            Bytes bad = whole;
            bad[at] = uint8_t(bad[at] ^ flip);
            const char* part = at < 8    ? "header: not a VLC index"
                               : at < 64 ? (at / 4 == 3 ? "header: byte order" : "header: damaged")
                               : at < kTableEnd ? "section table: damaged"
                               : at < kMeta     ? "section \"meta\": padding"
                               : at < kMetaEnd  ? "section \"meta\": damaged"
                               : at < kNote     ? "section \"note\": padding"
                                                : "section \"note\": damaged";
            EXPECT_ERROR(open_all(exact(bad)), part);
            EXPECT_ERROR(stream_all(bad), part);
        }
    }
}

TEST(Format, ForgedNumbersAreRefused) {
    const Bytes good = tiny();
    open_all(exact(sealed(good)));
    const uint64_t huge[] = {uint64_t(1) << 32, uint64_t(1) << 60, ~uint64_t(0) - 63,
                             ~uint64_t(0) - 1, ~uint64_t(0)};
    for (const uint64_t value : huge) {
        expect_forgery_refused(with(good, 16, value), "header: total size");
        expect_forgery_refused(with(good, kNoteEntry + 24, value), "\"note\": offset 256 expected");
        expect_forgery_refused(with(good, kMetaEntry + 32, value), "section \"meta\": ");
        expect_forgery_refused(with(good, kNoteEntry + 32, value), "section \"note\": ");
        // A total size that agrees with the lie.
        if (value < uint64_t(1) << 61) {
            const Bytes lie = with(with(good, kNoteEntry + 32, value), 16, value + kNote);
            expect_forgery_refused(lie, "section \"note\": cut off");
        }
    }
    for (const uint64_t total : {0, 64, 159}) {
        expect_forgery_refused(with(good, 16, total), "header: total size");
    }
    expect_forgery_refused(with(good, 16, uint64_t(260)), "section \"note\": ends at byte 261");
    expect_forgery_refused(with(good, 16, uint64_t(262)), "the sections end at byte 261");
    for (const uint64_t offset : {0, 160, 193, 256}) {
        const Bytes moved = with(good, kMetaEntry + 24, offset);
        expect_forgery_refused(moved, "section \"meta\": offset 192 expected");
    }
    expect_forgery_refused(with(good, kNoteEntry + 24, uint64_t(192)), "\"note\": offset 256");
    expect_forgery_refused(with(good, kNoteEntry + 32, uint64_t(4)), "the sections end at");
    expect_forgery_refused(with(good, kMetaEntry + 32, uint64_t(9)), "\"meta\": damaged");
    expect_forgery_refused(with(good, 24, 0u), "the sections end at byte 64");
    expect_forgery_refused(with(good, 24, 1u), "section \"meta\": offset 128 expected, 192 met");
    expect_forgery_refused(with(good, 24, 3u), "section \"meta\": offset 256 expected, 192 met");
    expect_forgery_refused(with(good, 24, 5u), "its 5 sections need 304");
    expect_forgery_refused(with(good, 24, 1024u), "its 1024 sections need 49216");
    for (const uint32_t count : {1025u, 0x10000000u, 0xffffffffu}) {
        expect_forgery_refused(with(good, 24, count), "at most 1024 sections");
    }
    expect_forgery_refused(with(good, 8, 2u), "format version 1 expected, 2 met");
    expect_forgery_refused(with(good, 8, 0u), "format version 1 expected, 0 met");
    expect_forgery_refused(with(good, 12, 0x04030201u), "byte order mark 01020304 expected, 0403");
    expect_forgery_refused(with(good, 28, 1u), "header: flags");
    expect_forgery_refused(with(good, 55, uint8_t(1)), "header: flags");
    expect_forgery_refused(with(good, kMetaEntry + 16, 3u), "section \"meta\": flags");
    expect_forgery_refused(with(good, kMetaEntry + 20, 1u), "section \"meta\": flags");
    expect_forgery_refused(with(good, kNoteEntry, good[0]), "entry 1: a name");
    expect_forgery_refused(with(good, kNoteEntry, uint64_t(0)), "entry 1: a name");
    expect_forgery_refused(with(good, kNoteEntry + 15, 'x'), "entry 1: a name");
    Bytes twice = good;
    std::copy_n(good.begin() + kMetaEntry, 4, twice.begin() + kNoteEntry);
    expect_forgery_refused(twice, "section \"meta\": in the table twice");
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

TEST(Format, LyingSizeCostsNoMemory) {
    const Bytes zeros(300000);
    SectionWriter writer;
    writer.add("zeros", kRequired, zeros.data(), zeros.size());
    const uint64_t size = uint64_t(1) << 40;
    SlowReader in;
    in.data = sealed(with(with(written(writer), 64 + 32, size), 16, size + 128));
    EXPECT_ERROR(read_payload(in), "section \"zeros\": cut off, 1099511627904 bytes expected");
    EXPECT_LE(in.largest, 2 * in.data.size());
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
