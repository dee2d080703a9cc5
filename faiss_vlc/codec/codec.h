#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace faiss_vlc {

constexpr int kBlock = 16;      ///< vectors in a block
constexpr int kFactorBytes = 2; ///< see estimator.h
constexpr int kMaxWidth = 8;    ///< bits of a code
constexpr int kWords = 256;     ///< of a block's codebook

/// Codes of neighbouring dimensions that share a width and lie at the same bits of their bytes.
struct Field {
    int first = 0; ///< first axis of the frame; the axes follow one another
    int lanes = 0; ///< dimensions = bytes of the field's row: 4, 2 or 1
    int width = 0; ///< bits, 1 to 8
    int shift = 0; ///< position of the lowest bit in its byte
    int row = 0;   ///< index of the row

    // derived, for scanning
    int offset = 0;        ///< of the row's bytes in a vector's packed code
    uint32_t mask = 0;     ///< the field's bits in each of 4 bytes
    bool widen = false;    ///< 16-bit sums of products may overflow beyond this field
    bool is_usual = false; ///< has 4 lanes of less than 8 bits, and not to widen: most have
};

/// How a vector is coded: each axis by levels, or several axes at once by a word of a codebook.
enum class CodecKind : int32_t { lattice = 0, block = 1 };

/// How a vector's code is laid out, with levels (`lattice`) or with words (`block`).
///
/// Levels: a row is one byte for each of its lanes (4; a 2- and a 1-byte
/// row take the rest of the code size), holding one or more fields. In a block of 16 vectors a row
/// lies as 16 x lanes bytes, vector by vector; the last block of a list may have fewer vectors and
/// is packed as tightly. The factors follow the rows, factor_bytes a vector.
///
/// The fields in order make the slots in which a query, a residual or its levels are kept while
/// computing: 4 slots a field, the last ones of a narrow field empty. So four query bytes of a
/// field are one word.
///
/// Levels are uniform and scalar, those of a unit Gaussian's residual: dimension i of width b
/// decodes to (c - (2^b - 1) / 2) * step(b) * sigma_i * (Model::code_scale).
///
/// Words: a row is one byte, the number of the word that stands for a block of neighbouring axes
/// (model/codebook.h). All blocks have as many axes, or one more. Slots are axes; a block of an odd
/// number has an empty one at its end.
struct Layout {
    CodecKind codec = CodecKind::lattice;
    int factor_bytes = kFactorBytes; ///< 2; words may have 1, or none
    std::vector<int> block_axis;     ///< words: the first axis of each block, and the end
    std::vector<int> block_slot;     ///< the same of slots
    std::vector<Field> fields;       ///< by shift, then by row: scanning shifts once per position
    std::vector<int> row_lanes;
    std::vector<int> row_offset; ///< of the row's bytes in a vector's packed code
    int axes = 0;                ///< axes that have bits: [0, axes); the last may lie beyond d
    int code_bytes = 0;          ///< without factors

    /// Bits by variance (d values, falling): greedily to where `variance^(1 + tilt)` times the fall
    /// in distortion is largest, within code_bytes.
    static Layout allocate(int code_bytes, const std::vector<double>& variance, double tilt);

    /// The layout of given fields (first, lanes, width per field; rows and shifts as stored).
    /// Throws when they overlap, leave a gap or exceed code_bytes.
    static Layout from_fields(int code_bytes, std::vector<Field> fields);

    /// Words for the first `axes` axes, a byte for each block; bytes beyond the axes stay 0.
    static Layout of_blocks(int code_bytes, int factor_bytes, int axes);

    bool has_words() const { return codec == CodecKind::block; }
    /// Few blocks leave time for sums of 32 bits, and their codes may be finer than 16.
    bool has_few_blocks() const { return blocks() <= 4; }
    int blocks() const { return std::max(0, int(block_axis.size()) - 1); }

    int slots() const { return has_words() ? block_slot.back() : 4 * int(fields.size()); }
    /// Per slot its axis, -1 where empty.
    std::vector<int> slot_axis() const;

    int code_size() const { return code_bytes + factor_bytes; }
};

/// What the entries of a table of words may sum up to before they are rounded. Then no sum exceeds
/// 65535, or 2^28 with few blocks: rounding adds half a unit a block, and the floats that ranges
/// are summed in err by 2^-24 of the sum a block.
static inline float table_room(int blocks, bool few_blocks) {
    return float((few_blocks ? (1 << 28) - 1024 : 65500) - 0.504 * blocks);
}

/// The step of uniform levels for a unit Gaussian at 1 to 8 bits, and the squared error that
/// remains (Max, 1960); [0] is unused, error 1. At 1 and 2 bits the steps are 10 and 5 % wider than
/// Max's: residuals have heavier tails, and recall gains .1 to .4 points.
extern const double kUniformStep[kMaxWidth + 1];
extern const double kUniformError[kMaxWidth + 1];

/// Writes and reads packed levels (code_bytes, row after row) of one vector.
/// level: uint8 per slot; empty slots are ignored and read as 0.
void pack_code(const Layout& layout, const uint8_t* level, uint8_t* code);
void unpack_code(const Layout& layout, const uint8_t* code, uint8_t* level);

} // namespace faiss_vlc
