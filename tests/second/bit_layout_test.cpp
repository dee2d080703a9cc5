#include <faiss_vlc/second/bit_layout.h>

#include <algorithm>
#include <numeric>

#include <faiss_vlc/codec/codec.h>

#include <tests/support/index_test.h>

namespace faiss_vlc {
namespace {

std::vector<double> falling(int d, double by) {
    std::vector<double> variance(static_cast<size_t>(d), 1.0);
    for (size_t i = 1; i < variance.size(); i++) {
        variance[i] = variance[i - 1] * by;
    }
    return variance;
}

/// Levels of each axis's width.
std::vector<uint8_t> random_levels(const BitLayout& layout, Random& random) {
    std::vector<uint8_t> level;
    for (const uint8_t width : layout.width) {
        level.push_back(uint8_t(random.between(0, (1 << width) - 1)));
    }
    return level;
}

/// Bits that the pieces of a layout take; each is counted once, and where it lies.
void expect_pieces_apart(const BitLayout& layout) {
    std::vector<int> taken(static_cast<size_t>(layout.code_bytes) * 8, 0);
    std::vector<int> bits(layout.width.size(), 0);
    for (const BitLayout::Piece& p : layout.pieces) {
        ASSERT_GE(p.byte, 0);
        ASSERT_LT(p.byte, layout.code_bytes);
        ASSERT_LE(p.shift + p.width, 8);
        for (int b = 0; b < p.width; b++) {
            taken[size_t(8 * p.byte + p.shift + b)]++;
        }
        bits[size_t(p.axis)] |= ((1 << p.width) - 1) << p.up;
    }
    EXPECT_LE(*std::max_element(taken.begin(), taken.end()), 1);
    for (size_t i = 0; i < bits.size(); i++) {
        EXPECT_EQ(bits[i], (1 << layout.width[i]) - 1) << i;
    }
}

TEST(BitLayout, PacksAndUnpacksWhateverTheWidths) {
    Random random(1);
    for (const int d : {1, 2, 3, 4, 7, 16, 17, 100, 129}) {
        for (int trial = 0; trial < 20; trial++) {
            std::vector<uint8_t> width;
            for (int i = 0; i < d; i++) {
                width.push_back(uint8_t(random.between(trial ? 0 : 8, 8)));
            }
            const BitLayout layout =
                    BitLayout::of_widths(d + 3, width); // a class of pieces may leave bits
            ASSERT_EQ(layout.width, width);
            expect_pieces_apart(layout);
            const std::vector<uint8_t> level = random_levels(layout, random);
            std::vector<uint8_t> code(size_t(d) + 4, 0xa5), again(level.size(), 0xff);
            layout.pack(level.data(), code.data());
            EXPECT_EQ(code.back(), 0xa5);
            layout.unpack(code.data(), again.data());
            ASSERT_EQ(again, level);
        }
    }
}

// Bytes are those of pieces of 8, 4, 2, then 1 bits; of n pieces of w bits, the i-th lies in byte
// i mod B: as FORMAT.md has it.
TEST(BitLayout, PiecesLieAsTheFormatSays) {
    std::vector<uint8_t> code(5);
    EXPECT_TRUE(throws(
            [] {
                BitLayout::of_widths(4, {7, 8, 5, 0, 4, 1, 1, 1, 1, 1, 1, 1});
            },
            "second tier: expected widths that fit in 4 bytes, got some for 6"));
    // 8 bits: axis 1. 4 bits: axes 0, 2, 4 in two bytes. 2 bits: axis 0. 1 bit: axes 0 and 2.
    const BitLayout five = BitLayout::of_widths(5, {7, 8, 5, 0, 4});
    ASSERT_EQ(five.pieces.size(), 7u);
    const uint8_t level[] = {0x5b, 0xc9, 0x1a, 0, 0xe};
    five.pack(level, code.data());
    // of 7 bits, 101 1011, the largest piece has the strongest: 1011, then 01, then 1
    EXPECT_EQ(code, (std::vector<uint8_t>{0xc9, 0xeb, 0x0d, 0x01, 0x01}));
}

TEST(BitLayout, AllocationFitsAndLeavesLittle) {
    for (const int d : {1, 2, 3, 4, 5, 24, 96, 300}) {
        for (const double by : {0.2, 0.9, 0.99, 1.0}) {
            for (const int bytes : {1, 2, d / 2, d}) {
                if (bytes < 1 || bytes > d) {
                    continue;
                }
                const BitLayout layout = BitLayout::allocate(bytes, falling(d, by));
                SCOPED_TRACE(std::to_string(d) + " " + std::to_string(bytes));
                const int bits = std::accumulate(layout.width.begin(), layout.width.end(), 0);
                EXPECT_LE(bits, 8 * bytes);
                EXPECT_GT(bits, 8 * bytes - 24); // each of the smaller pieces may leave some
                EXPECT_TRUE(layout.axes() == 1 || layout.width.back() > 0);
                expect_pieces_apart(layout);
            }
        }
    }
}

// A code of few bytes has no room for pieces of several widths.
TEST(BitLayout, ShortCodesAreUsedUp) {
    using Widths = std::vector<uint8_t>;
    EXPECT_EQ(BitLayout::allocate(1, {3}).width, (Widths{8}));
    EXPECT_EQ(BitLayout::allocate(1, {1, 1}).width, (Widths{4, 4}));
    EXPECT_EQ(BitLayout::allocate(1, {1, 1, 1, 1}).width, (Widths{2, 2, 2, 2}));
    EXPECT_EQ(BitLayout::allocate(2, {1, 1}).width, (Widths{8, 8}));
    EXPECT_EQ(BitLayout::allocate(3, {1, 1, 1}).width, (Widths{8, 8, 8}));
    EXPECT_EQ(BitLayout::allocate(4, {4, 3, 2, 1}).width, (Widths{8, 8, 8, 8}));
    EXPECT_EQ(BitLayout::allocate(40, std::vector<double>(40, 1.0)).width, Widths(40, 8));
}

TEST(BitLayout, AxesOfNoVarianceGetNothing) {
    const BitLayout layout = BitLayout::allocate(4, {1, 0.5, 0, 0});
    EXPECT_GE(layout.axes(), 2);
    EXPECT_EQ(layout.width[0], 8);
    EXPECT_EQ(layout.width[1], 8);
    const BitLayout none = BitLayout::allocate(2, {0, 0, 0});
    std::vector<uint8_t> level(size_t(none.axes()), 0), code(2, 0xff);
    none.pack(level.data(), code.data());
    EXPECT_EQ(code, (std::vector<uint8_t>{0, 0}));
}

TEST(BitLayout, WrongWidthsAreRefused) {
    EXPECT_TRUE(throws(
            [] {
                BitLayout::of_widths(9, {1, 9});
            },
            "second tier: expected widths of 0 to 8 bits, got 9"));
    EXPECT_TRUE(throws(
            [] {
                BitLayout::of_widths(1, {8, 1});
            },
            "expected widths that fit in 1 bytes, got some for 2"));
    EXPECT_TRUE(throws([] { BitLayout::of_widths(0, {1}); }, "fit in 0 bytes"));
}

// What the weights of a query go by has each bit of a level once, in a byte of its piece.
TEST(BitLayout, PackedLevelsAreTheSame) {
    Random random(2);
    for (const int d : {1, 4, 17, 100, 129}) {
        std::vector<uint8_t> width;
        for (int i = 0; i < d; i++) {
            width.push_back(uint8_t(random.between(0, 8)));
        }
        const BitLayout layout = BitLayout::of_widths(d + 3, width);
        const PackedLevels packed = layout.packed();
        ASSERT_EQ(packed.slot.size(), packed.chunks.size() * kChunk);
        ASSERT_EQ(packed.up.size(), packed.slot.size());
        const std::vector<uint8_t> level = random_levels(layout, random);
        std::vector<uint8_t> code(size_t(d) + 3 + kBehindCode, 0xff), met(level.size(), 0);
        layout.pack(level.data(), code.data());
        for (size_t c = 0; c < packed.chunks.size(); c++) {
            const LevelChunk& chunk = packed.chunks[c];
            ASSERT_LE(chunk.offset + chunk.bytes, layout.code_bytes + kBehindCode);
            ASSERT_TRUE(chunk.bytes == 64 || chunk.bytes == 32 || chunk.bytes == 16);
            ASSERT_TRUE(c == 0 || packed.chunks[c - 1].bytes >= chunk.bytes);
            for (int i = 0; i < kChunk; i++) {
                const int s = packed.slot[c * kChunk + size_t(i)];
                const int bits =
                        code[size_t(chunk.offset + i % chunk.bytes)] >> chunk.shift[i / 2] &
                        chunk.mask[i];
                ASSERT_EQ(chunk.level(code.data(), i), bits);
                if (s < 0) {
                    ASSERT_EQ(chunk.mask[i], 0);
                    continue;
                }
                met[size_t(s)] =
                        uint8_t(met[size_t(s)] + (bits << packed.up[c * kChunk + size_t(i)]));
            }
        }
        EXPECT_EQ(met, level);
    }
}

} // namespace
} // namespace faiss_vlc
