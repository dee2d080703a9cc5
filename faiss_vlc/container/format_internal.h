#pragma once

#include <cstddef>
#include <string_view>

#include <faiss_vlc/container/format.h>

// The whole of xxHash from its header: nothing to link, and the state lives on the stack.
#define XXH_INLINE_ALL
#include <xxhash.h>

/// The container's layout, for its reader (format.cpp) and its writer (format_writer.cpp).
namespace faiss_vlc {
namespace container {

constexpr uint8_t kMagic[8] = {0x89, 'V', 'L', 'C', '\r', '\n', 0x1a, '\n'};
constexpr uint32_t kByteOrderMark = 0x01020304;
constexpr uint32_t kFlagRequired = 1;
constexpr uint64_t kHeaderSize = 64;
constexpr uint64_t kEntrySize = 48;

// docs/FORMAT.md describes these two; they are copied to and from the file as they are.
struct Header {
    uint8_t magic[8];
    uint32_t version;
    uint32_t byte_order;
    uint64_t total_size;
    uint32_t sections;
    uint32_t flags;
    uint64_t table_checksum;
    uint64_t reserved[2];
    uint64_t checksum; // of the bytes before it
};
static_assert(sizeof(Header) == kHeaderSize && offsetof(Header, checksum) == 56, "no gaps");

struct Entry {
    char name[kMaxSectionName];
    uint32_t flags;
    uint32_t reserved;
    uint64_t offset;
    uint64_t size;
    uint64_t checksum;
};
static_assert(sizeof(Entry) == kEntrySize && offsetof(Entry, checksum) == 40, "no gaps");

inline uint64_t hash(const void* data, uint64_t size) {
    return data ? XXH64(data, size, 0) : XXH64("", 0, 0);
}

inline uint64_t aligned(uint64_t offset, const char* what) {
    return checked_add(offset, kSectionAlignment - 1, what) / kSectionAlignment * kSectionAlignment;
}

inline bool valid_name(std::string_view name) {
    return !name.empty() && name.size() <= kMaxSectionName &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.-") == name.npos;
}

} // namespace container
} // namespace faiss_vlc
