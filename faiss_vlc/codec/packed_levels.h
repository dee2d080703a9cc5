#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/codec/codec.h>

namespace faiss_vlc {

constexpr int kChunk = 16; ///< bytes of a code that are taken at once

/// Bytes [offset, offset + 16) of a packed code, shifted down: what the mask leaves are levels.
struct LevelChunk {
    int32_t offset;
    int32_t shift;
    uint8_t mask[kChunk];
};

/// Where the levels of one packed code lie, so that they can be multiplied by weights without being
/// unpacked: each chunk has 16 places, and a place at most one level, or a piece of one.
struct PackedLevels {
    std::vector<LevelChunk> chunks;
    std::vector<int32_t> slot; ///< of each place, 16 a chunk; -1: it has no level
    std::vector<uint8_t> up;   ///< of each place: the piece's lowest bit in the level

    PackedLevels() = default;
    /// Of a layout of levels.
    explicit PackedLevels(const Layout& layout);

    /// Of slot s, bits `up` and so on lie in a byte, from bit `shift` on. Bytes of the same shift
    /// come in rising order; a chunk begins with the first that is in none.
    void add(int byte, int shift, int width, int s, int up);
};

} // namespace faiss_vlc
