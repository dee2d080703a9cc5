#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <gtest/gtest.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <faiss_vlc/container/format.h>

/// What the tests of the container share: FORMAT.md's example.
namespace faiss_vlc {

using Bytes = std::vector<uint8_t>;

/// Positions in tiny(), FORMAT.md's example.
constexpr size_t kMetaEntry = 64, kNoteEntry = 112, kTableEnd = 160;
constexpr size_t kMeta = 192, kMetaEnd = 200, kNote = 256, kTinySize = 261;

inline SectionWriter tiny_writer() {
    ByteWriter meta;
    meta.u32(128);
    meta.u32(4);
    SectionWriter writer;
    writer.add("meta", kRequired, meta.take());
    writer.add("note", kOptional, "hello", 5);
    return writer;
}

inline Bytes written(const SectionWriter& writer) {
    faiss::VectorIOWriter out;
    IOWriterSink sink(out);
    writer.write(sink);
    return out.data;
}

inline Bytes tiny() {
    return written(tiny_writer());
}

/// A copy of just these bytes on the heap, so that the sanitizer sees every step beyond them.
inline Payload exact(const Bytes& bytes) {
    const std::shared_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), copy.get());
    return {{copy.get(), bytes.size()}, "x.vlc", copy};
}

inline void open_all(Payload payload) {
    SectionReader reader(std::move(payload), {"meta", "note"});
    reader.verify_all();
    ByteReader meta = reader.read("meta");
    EXPECT_EQ(meta.u32(), 128u);
    EXPECT_EQ(meta.u32(), 4u);
    meta.expect_end();
    const ByteSpan note = reader.section("note");
    EXPECT_EQ(std::string(note.data, note.data + note.size), "hello");
}

/// A stream that gives at most `step` bytes a call and remembers the largest request.
struct SlowReader : faiss::VectorIOReader {
    size_t step = std::numeric_limits<size_t>::max();
    size_t largest = 0;
    size_t operator()(void* data, size_t size, size_t count) override {
        largest = std::max(largest, size * count);
        return VectorIOReader::operator()(data, size, std::min(count, step));
    }
};

inline void stream_all(const Bytes& bytes) {
    SlowReader in;
    in.name = "stream x";
    in.data = bytes;
    open_all(read_payload(in));
}

/// Does `action` throw a FaissException whose message contains `part`?
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

/// Makes the checksums of an edited container right again, as a forger would.
inline Bytes sealed(Bytes bytes) {
    uint32_t count;
    memcpy(&count, bytes.data() + 24, sizeof(count));
    const uint64_t table = std::min<uint64_t>(48ull * count, bytes.size() - 64);
    bytes = with(bytes, 32, uint64_t(XXH64(bytes.data() + 64, table, 0)));
    return with(bytes, 56, uint64_t(XXH64(bytes.data(), 56, 0)));
}

} // namespace faiss_vlc
