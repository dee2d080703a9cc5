#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <faiss_vlc/lib/error.h>

namespace faiss {
struct IOWriter;
} // namespace faiss

/// Bytes on their way into and out of the index file: sinks, and typed fields in a section.
namespace faiss_vlc {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they are");
static_assert(sizeof(float) == 4 && sizeof(double) == 8, "IEEE 754");

/// Borrowed bytes.
struct ByteSpan {
    const uint8_t* data = nullptr;
    uint64_t size = 0;
};

/// Takes bytes in order; throws when it cannot.
struct ByteSink {
    virtual void write(const void* data, size_t size) = 0;
    virtual ~ByteSink() = default;
};

/// A sink that fills a FAISS writer (borrowed).
class IOWriterSink : public ByteSink {
public:
    explicit IOWriterSink(faiss::IOWriter& writer) : writer_(writer) {}
    void write(const void* data, size_t size) override;

private:
    faiss::IOWriter& writer_;
};

/// A sink over anything with `write(const void*, size_t)` (borrowed), such as an AtomicFile.
template <class File>
class SinkTo : public ByteSink {
public:
    explicit SinkTo(File& file) : file_(file) {}
    void write(const void* data, size_t size) override { file_.write(data, size); }

private:
    File& file_;
};

/// Appends fixed-layout fields, little-endian and without gaps.
class ByteWriter {
public:
    void u8(uint8_t value) { put(value); }
    void u16(uint16_t value) { put(value); }
    void u32(uint32_t value) { put(value); }
    void u64(uint64_t value) { put(value); }
    void i32(int32_t value) { put(value); }
    void i64(int64_t value) { put(value); }
    void f32(float value) { put(value); }
    void f64(double value) { put(value); }
    void bytes(const void* data, size_t size);
    /// u32 length, then the characters.
    void string(std::string_view value);
    /// The elements alone; their number is stored elsewhere.
    template <class T>
    void array(const T* data, size_t count) {
        static_assert(std::is_arithmetic<T>::value && !std::is_same<T, bool>::value, "a number");
        bytes(data, checked_mul(count, sizeof(T), "size of an array"));
    }

    /// The bytes so far; the writer is empty afterwards.
    std::vector<uint8_t> take() { return std::exchange(bytes_, {}); }
    size_t size() const { return bytes_.size(); }

private:
    template <class T>
    void put(T value) {
        bytes(&value, sizeof(value));
    }
    std::vector<uint8_t> bytes_;
};

/// Reads such fields back; every read is bounds-checked, and what it allocates is no larger than
/// the bytes that are there.
class ByteReader {
public:
    /// `what` leads error messages, e.g. `a.vlc: section "codec"`.
    ByteReader(ByteSpan span, std::string what) : span_(span), what_(std::move(what)) {}

    uint8_t u8() { return get<uint8_t>(); }
    uint16_t u16() { return get<uint16_t>(); }
    uint32_t u32() { return get<uint32_t>(); }
    uint64_t u64() { return get<uint64_t>(); }
    int32_t i32() { return get<int32_t>(); }
    int64_t i64() { return get<int64_t>(); }
    float f32() { return get<float>(); }
    double f64() { return get<double>(); }
    /// The next `size` bytes, in place.
    ByteSpan bytes(uint64_t size);
    /// A string of at most `max_size` characters.
    std::string string(uint32_t max_size);
    /// A copy of the next `count` elements.
    template <class T>
    std::vector<T> array(uint64_t count) {
        static_assert(std::is_arithmetic<T>::value && !std::is_same<T, bool>::value, "a number");
        const ByteSpan from = bytes(checked_mul(count, sizeof(T), what_.c_str()));
        std::vector<T> out(count);
        if (count != 0) {
            memcpy(out.data(), from.data, from.size);
        }
        return out;
    }

    uint64_t remaining() const { return span_.size - position_; }
    /// Throws if bytes are left over.
    void expect_end() const;
    /// For the caller's own errors about this content.
    const std::string& what() const { return what_; }

private:
    template <class T>
    T get() {
        T value;
        memcpy(&value, bytes(sizeof(T)).data, sizeof(T));
        return value;
    }
    ByteSpan span_;
    std::string what_;
    uint64_t position_ = 0;
};

} // namespace faiss_vlc
