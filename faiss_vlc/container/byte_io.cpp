#include <faiss_vlc/container/byte_io.h>

#include <cerrno>
#include <cinttypes>

#include <faiss/impl/io.h>

namespace faiss_vlc {

void IOWriterSink::write(const void* data, size_t size) {
    if (size == 0) {
        return;
    }
    errno = 0;
    const size_t taken = writer_(data, 1, size);
    if (taken != size) {
        fail("%s: cannot write: %zu of %zu bytes taken%s%s",
             writer_.name.empty() ? "stream" : writer_.name.c_str(), taken, size,
             errno != 0 ? ", " : "", errno != 0 ? strerror(errno) : "");
    }
}

void ByteWriter::bytes(const void* data, size_t size) {
    if (size != 0) {
        const uint8_t* from = static_cast<const uint8_t*>(data);
        bytes_.insert(bytes_.end(), from, from + size);
    }
}

void ByteWriter::string(std::string_view value) {
    if (value.size() > UINT32_MAX) {
        fail("a string of %zu bytes does not fit in a file", value.size());
    }
    u32(static_cast<uint32_t>(value.size()));
    bytes(value.data(), value.size());
}

ByteSpan ByteReader::bytes(uint64_t size) {
    if (size > remaining()) {
        fail("%s: %" PRIu64 " bytes expected at byte %" PRIu64 ", %" PRIu64 " left", what_.c_str(),
             size, position_, remaining());
    }
    const ByteSpan result = {span_.data + position_, size};
    position_ += size;
    return result;
}

std::string ByteReader::string(uint32_t max_size) {
    const uint32_t size = u32();
    if (size > max_size) {
        fail("%s: a string of at most %u bytes expected at byte %" PRIu64 ", %u met", what_.c_str(),
             max_size, position_ - sizeof(size), size);
    }
    const ByteSpan from = bytes(size);
    return std::string(reinterpret_cast<const char*>(from.data), from.size);
}

void ByteReader::expect_end() const {
    if (remaining() != 0) {
        fail("%s: end expected at byte %" PRIu64 ", %" PRIu64 " bytes are left", what_.c_str(),
             position_, remaining());
    }
}

} // namespace faiss_vlc
