#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/codec/packed_levels.h>

namespace faiss_vlc {

/// How the levels of a second code are packed: without gaps, whatever their widths are, as no
/// block of vectors has to be scanned by bytes.
///
/// A level is cut into pieces of 8, 4, 2 or 1 bits, the strongest bits in the largest piece: 7 bits
/// are 4, 2 and 1. The bytes of a code are those of all pieces of 8 bits, in the order of their
/// axes, then those of 4, of 2 and of 1. n pieces of w bits take B = ceil(n w / 8) bytes; the i-th
/// of them has the bits from w floor(i / B) on in the (i mod B)-th.
struct BitLayout {
    struct Piece {
        int axis;
        int byte;
        int shift; ///< in the byte
        int width;
        int up; ///< in the level
    };

    int code_bytes = 0;
    std::vector<uint8_t> width; ///< of each axis, 0 to 8
    std::vector<Piece> pieces;

    /// Bits by variance (falling): one by one to the axis where it takes most of the distortion
    /// off, by all widths or by fewer where that leaves less. A bit that leads to pieces of more
    /// than code_bytes is passed over, and its axis gets no more. Axes at the end without bits are
    /// left out.
    static BitLayout allocate(int code_bytes, const std::vector<double>& variance);
    /// Throws when the widths take more than code_bytes.
    static BitLayout of_widths(int code_bytes, std::vector<uint8_t> width);

    int axes() const { return int(width.size()); }
    PackedLevels packed() const;

    /// level: uint8 per axis; code: code_bytes.
    void pack(const uint8_t* level, uint8_t* code) const;
    void unpack(const uint8_t* code, uint8_t* level) const;
};

} // namespace faiss_vlc
