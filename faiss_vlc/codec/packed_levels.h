#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <faiss_vlc/codec/codec.h>

namespace faiss_vlc {

constexpr int kChunk = 64;      ///< places whose levels are multiplied at once
constexpr int kBehindCode = 15; ///< bytes behind a code that may be read with it

/// Bytes [offset, offset + bytes) of a packed code, as often as they fit into a chunk, each time
/// shifted down by something else: what the mask leaves are levels.
struct LevelChunk {
    int32_t offset;
    int32_t bytes;              ///< 64, 32 or 16
    uint8_t mask[kChunk];       ///< of each place, 0 where it has no level
    uint16_t shift[kChunk / 2]; ///< of each two places

    int level(const uint8_t* code, int place) const {
        return code[offset + place % bytes] >> shift[place / 2] & mask[place];
    }
};

/// Where the weight of a chunk's place lies among the chunk's weights: even places go first, as
/// instructions take bytes by pairs.
static inline size_t weight_at(size_t place) {
    return place / kChunk * kChunk + place % 2 * (kChunk / 2) + place % kChunk / 2;
}

/// A level, or a piece of one, in a packed code.
struct LevelPiece {
    int byte, shift, width; ///< its lowest bit is bit `shift` of the byte
    int slot;
    int up; ///< the piece's lowest bit in the level
};

/// Where the levels of one packed code lie, so that they can be multiplied by weights without being
/// unpacked: each place of a chunk has at most one level, or a piece of one.
struct PackedLevels {
    std::vector<LevelChunk> chunks; ///< those of many bytes first
    std::vector<int32_t> slot;      ///< of each place, kChunk a chunk; -1: it has no level
    std::vector<uint8_t> up;        ///< of each place, as LevelPiece's

    PackedLevels() = default;
    explicit PackedLevels(const std::vector<LevelPiece>& pieces);
    /// Of a layout of levels.
    explicit PackedLevels(const Layout& layout);
};

} // namespace faiss_vlc
