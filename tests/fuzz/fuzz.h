#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <faiss/Index.h>
#include <faiss/impl/io.h>

#include <faiss_vlc/container/format_internal.h>

/// What the fuzz targets share.

using Bytes = std::vector<uint8_t>;

/// Makes the checksums of a payload right where its table can be followed, so that a mutated
/// section gets past them.
inline void reseal(uint8_t* payload, uint64_t size) {
    using namespace faiss_vlc::container;
    if (size < kHeaderSize) {
        return;
    }
    Header header;
    std::memcpy(&header, payload, sizeof(header));
    const uint64_t table = uint64_t(header.sections) * kEntrySize;
    if (header.sections > faiss_vlc::kMaxSections || table > size - kHeaderSize) {
        return;
    }
    for (uint32_t i = 0; i < header.sections; i++) {
        uint8_t* at = payload + kHeaderSize + i * kEntrySize;
        Entry entry;
        std::memcpy(&entry, at, sizeof(entry));
        if (entry.offset <= size && entry.size <= size - entry.offset) {
            entry.checksum = hash(payload + entry.offset, entry.size);
            std::memcpy(at, &entry, sizeof(entry));
        }
    }
    header.table_checksum = hash(payload + kHeaderSize, table);
    std::memcpy(payload, &header, sizeof(header));
    header.checksum = hash(payload, offsetof(Header, checksum));
    std::memcpy(payload, &header, sizeof(header));
}

/// Runs an action whose faults must all be exceptions.
template <class Action>
void attempt(Action action) {
    try {
        action();
    } catch (const std::exception&) {
    }
}

inline faiss::VectorIOReader reader_of(const Bytes& bytes) {
    faiss::VectorIOReader reader;
    reader.data = bytes;
    return reader;
}
