#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/container/byte_io.h>

namespace faiss_vlc {

/// The section "index": what an index is, without what it learnt. Fields in the file's order.
struct IndexHead {
    uint32_t d = 0;
    uint32_t m = 0;
    uint32_t metric = 0;
    uint32_t trained = 0;
    uint64_t ntotal = 0;
    uint64_t nprobe = 0;
    uint64_t max_codes = 0;
    uint32_t code_size = 0;
    uint32_t direct_map = 0;

    std::vector<uint8_t> write() const;
    /// Throws for a field out of range, naming it and the reader's file and section.
    static IndexHead read(ByteReader reader);
};

} // namespace faiss_vlc
