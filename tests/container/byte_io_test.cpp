#include <faiss_vlc/container/byte_io.h>

#include <algorithm>
#include <limits>
#include <memory>

#include <faiss/impl/FaissException.h>
#include <gtest/gtest.h>

using namespace faiss_vlc;

namespace {

using Bytes = std::vector<uint8_t>;

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

} // namespace

TEST(ByteIo, FieldsInOrder) {
    ByteWriter writer;
    writer.u8(0xfe);
    writer.u16(0x1234);
    writer.u32(0x89abcdef);
    writer.u64(uint64_t(1) << 63);
    writer.i32(-2);
    writer.i64(std::numeric_limits<int64_t>::min());
    writer.f32(-1.5f);
    writer.f64(0.1);
    writer.string("caf\xc3\xa9");
    const int16_t numbers[] = {-1, 2, 3};
    writer.array(numbers, 3);
    EXPECT_EQ(writer.size(), 54u);
    const Bytes bytes = writer.take();
    EXPECT_EQ(writer.size(), 0u);
    const Bytes start = {0xfe, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89};
    EXPECT_TRUE(std::equal(start.begin(), start.end(), bytes.begin()));

    const auto read = [](const Bytes& from, size_t array, uint32_t limit) {
        // Just these bytes on the heap, so that the sanitizer sees every step beyond them.
        const std::unique_ptr<uint8_t[]> copy(new uint8_t[from.size()]);
        std::copy(from.begin(), from.end(), copy.get());
        ByteReader reader({copy.get(), from.size()}, "x.vlc: section \"s\"");
        EXPECT_EQ(reader.u8(), 0xfe);
        EXPECT_EQ(reader.u16(), 0x1234);
        EXPECT_EQ(reader.u32(), 0x89abcdef);
        EXPECT_EQ(reader.u64(), uint64_t(1) << 63);
        EXPECT_EQ(reader.i32(), -2);
        EXPECT_EQ(reader.i64(), std::numeric_limits<int64_t>::min());
        EXPECT_EQ(reader.f32(), -1.5f);
        EXPECT_EQ(reader.f64(), 0.1);
        EXPECT_EQ(reader.string(limit), "caf\xc3\xa9");
        EXPECT_EQ(reader.remaining(), from.size() - 48);
        EXPECT_EQ(reader.array<int16_t>(array).at(0), -1);
        reader.expect_end();
    };
    read(bytes, 3, 5);
    EXPECT_ERROR(read(bytes, 2, 5), "\"s\": end expected at byte 52, 2 bytes are left");
    EXPECT_ERROR(read(bytes, 3, 4), "a string of at most 4 bytes expected at byte 39, 5 met");
    EXPECT_ERROR(read(bytes, 4, 5), "\"s\": 8 bytes expected at byte 48, 6 left");
    EXPECT_ERROR(read(bytes, ~size_t(0), 5), "does not fit");
    for (size_t size = 0; size < bytes.size(); size++) {
        const Bytes cut(bytes.begin(), bytes.begin() + size);
        EXPECT_ERROR(read(cut, 3, 5), "x.vlc: section \"s\": ");
    }
    Bytes lie = bytes;
    std::fill_n(lie.begin() + 39, 4, 0xff);
    EXPECT_ERROR(read(lie, 3, ~0u), "4294967295 bytes expected at byte 43, 11 left");
}
