#include <faiss_vlc/codec/codec.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>
#include <tests/vectors/vector_file_test.h>

namespace faiss_vlc {
namespace {

/// Falling variances of several kinds: even, steep, with ties, zeros, a huge or tiny range.
std::vector<double> variances(int d, int kind, uint64_t seed) {
    Random random(seed);
    std::vector<double> v(d);
    for (int i = 0; i < d; i++) {
        switch (kind) {
        case 0:
            v[i] = 1;
            break;
        case 1:
            v[i] = std::exp(-8.0 * i / d);
            break;
        case 2:
            v[i] = double(random.between(0, 3));
            break;
        case 3:
            v[i] = i < d / 3 ? 2 + random.unit() : 0;
            break;
        case 4:
            v[i] = std::exp(400 * random.unit() - 200);
            break;
        default:
            v[i] = random.unit() * 100;
        }
    }
    std::sort(v.rbegin(), v.rend());
    return v;
}

/// What every layout must satisfy: each bit of each byte serves at most one field, axes are covered
/// once without gaps. Returns the bits that are used.
int check_layout(const Layout& layout, int code_bytes) {
    EXPECT_EQ(layout.code_bytes, code_bytes);
    EXPECT_EQ(layout.code_size(), code_bytes + 2);
    std::vector<int> used(code_bytes, 0); // bits by byte
    std::vector<int> coded(layout.axes, 0);
    int bits = 0;
    int sum = 0;
    for (int lanes : layout.row_lanes) {
        sum += lanes;
    }
    EXPECT_EQ(sum, code_bytes) << "rows make up the code";
    EXPECT_TRUE(std::is_sorted(layout.row_lanes.rbegin(), layout.row_lanes.rend()));
    for (size_t i = 0; i < layout.fields.size(); i++) {
        const Field& f = layout.fields[i];
        EXPECT_TRUE(f.width >= 1 && f.width <= 8 && f.shift >= 0 && f.shift + f.width <= 8);
        EXPECT_EQ(f.offset, layout.row_offset[f.row]);
        EXPECT_EQ(f.lanes, layout.row_lanes[f.row]);
        if (i > 0) { // by shift, then by row
            const Field& g = layout.fields[i - 1];
            EXPECT_TRUE(g.shift < f.shift || (g.shift == f.shift && g.row < f.row));
        }
        const int mask = ((1 << f.width) - 1) << f.shift;
        EXPECT_EQ(f.mask, uint32_t(mask) * 0x01010101u);
        for (int l = 0; l < f.lanes; l++) {
            EXPECT_EQ(used[f.offset + l] & mask, 0) << "overlap";
            used[f.offset + l] |= mask;
            EXPECT_LT(f.first + l, layout.axes);
            if (f.first + l < layout.axes) {
                coded[f.first + l]++;
            }
            bits += f.width;
        }
    }
    EXPECT_TRUE(std::all_of(coded.begin(), coded.end(), [](int c) { return c == 1; }));
    EXPECT_EQ(layout.slots(), 4 * int(layout.fields.size()));
    return bits;
}

/// Bits of each axis below d.
std::vector<int> widths(const Layout& layout, int d) {
    std::vector<int> out(d, 0);
    for (const Field& f : layout.fields) {
        for (int l = 0; l < f.lanes && f.first + l < d; l++) {
            out[f.first + l] = f.width;
        }
    }
    return out;
}

/// Pairs of 16-bit sums never exceed their range between two widenings.
void check_widening(const Layout& layout) {
    int bound = 0;
    for (const Field& f : layout.fields) {
        if (f.width == 8) { // in halves of 4 bits, widened at once
            EXPECT_EQ(bound, 0);
            EXPECT_TRUE(f.widen);
            continue;
        }
        bound += 2 * 127 * ((1 << f.width) - 1);
        EXPECT_LE(bound, 32767);
        bound = f.widen ? 0 : bound;
    }
    EXPECT_EQ(bound, 0);
}

TEST(Allocate, IsValidForEverySize) {
    uint64_t seed = 0;
    for (int d = 1; d <= 200; d += d < 40 ? 1 : 7) {
        for (int bytes = 1; bytes <= std::min(d, 70); bytes++) {
            const int kind = int(++seed % 6);
            const std::vector<double> variance = variances(d, kind, seed);
            const double tilt = 0.25 * double(seed % 4);
            SCOPED_TRACE("d " + std::to_string(d) + " bytes " + std::to_string(bytes) + " kind " +
                         std::to_string(kind));
            Layout layout;
            ASSERT_NO_THROW(layout = Layout::allocate(bytes, variance, tilt));
            const int bits = check_layout(layout, bytes);
            check_widening(layout);
            // No byte stays unused as long as there are dimensions with variance; dimensions that
            // pad a run may cost some.
            if (kind <= 1 && d >= 8 * bytes + 16) {
                EXPECT_EQ(bits, 8 * bytes);
            }
            EXPECT_FALSE(layout.fields.empty());
            // A stronger run of the same row size never gets fewer bits.
            for (const Field& f : layout.fields) {
                for (const Field& g : layout.fields) {
                    if (f.lanes == g.lanes && f.first < g.first) {
                        EXPECT_GE(f.width, g.width);
                    }
                }
            }
            if (testing::Test::HasFailure()) {
                return;
            }
        }
    }
}

TEST(Allocate, EqualVariancesShareEvenly) {
    // 128 dimensions in 32 bytes: 2 bits each, the rows hold four fields
    const Layout layout = Layout::allocate(32, std::vector<double>(128, 3.5), 0);
    EXPECT_EQ(layout.fields.size(), 32u);
    EXPECT_EQ(widths(layout, 128), std::vector<int>(128, 2));
    // one bit and eight bits
    EXPECT_EQ(widths(Layout::allocate(16, std::vector<double>(128, 1), 0), 128),
              std::vector<int>(128, 1));
    EXPECT_EQ(widths(Layout::allocate(128, std::vector<double>(128, 1), 0), 128),
              std::vector<int>(128, 8));
}

TEST(Allocate, MoreVarianceNeverGetsFewerBits) {
    Random random(5);
    for (int trial = 0; trial < 300; trial++) {
        const int d = int(random.between(4, 120));
        const int bytes = 4 * int(random.between(1, std::max(1, d / 4))); // rows of one kind
        const std::vector<double> variance = variances(d, 1 + trial % 5, uint64_t(trial));
        const std::vector<int> bits =
                widths(Layout::allocate(bytes, variance, 0.25 * (trial % 3)), d);
        ASSERT_TRUE(std::is_sorted(bits.rbegin(), bits.rend())) << d << " " << bytes;
    }
}

TEST(Allocate, SteeperTiltConcentratesBits) {
    const std::vector<double> variance = variances(64, 1, 1);
    const auto axes = [&](double tilt) { return Layout::allocate(16, variance, tilt).axes; };
    EXPECT_LT(axes(1), axes(0));
    EXPECT_GT(widths(Layout::allocate(16, variance, 1), 64)[0],
              widths(Layout::allocate(16, variance, 0), 64)[0] - 1);
}

/// Greedy is near the best: no exchange of one bit between two whole-row runs lowers the error.
TEST(Allocate, NoBitIsBetterSpentElsewhere) {
    const int d = 64;
    const std::vector<double> variance = variances(d, 1, 2);
    const Layout layout = Layout::allocate(32, variance, 0);
    const std::vector<int> bits = widths(layout, d);
    double worst_kept = 1e300, best_missed = 0;
    for (int at = 0; at < d; at += 4) {
        double sum = 0;
        for (int k = at; k < at + 4; k++) {
            sum += variance[k];
        }
        const int b = bits[at];
        if (b > 0) {
            worst_kept = std::min(worst_kept, sum * (kUniformError[b - 1] - kUniformError[b]));
        }
        if (b < 8) {
            best_missed = std::max(best_missed, sum * (kUniformError[b] - kUniformError[b + 1]));
        }
    }
    EXPECT_GE(worst_kept, 0.9 * best_missed);
}

TEST(Uniform, ErrorsAreTheBestForAGaussian) {
    const auto error = [](int bits, double step) {
        double sum = 0;
        const int levels = 1 << bits;
        for (double x = -8; x < 8; x += 1e-3) {
            const double c =
                    std::clamp(std::round(x / step + (levels - 1) / 2.0), 0.0, levels - 1.0);
            const double miss = x - (c - (levels - 1) / 2.0) * step;
            sum += miss * miss * std::exp(-x * x / 2) / std::sqrt(2 * M_PI) * 1e-3;
        }
        return sum;
    };
    EXPECT_EQ(kUniformError[0], 1);
    for (int bits = 1; bits <= 8; bits++) {
        const double widened = bits == 1 ? 1.1 : bits == 2 ? 1.05 : 1;
        const double step = kUniformStep[bits] / widened;
        EXPECT_NEAR(error(bits, step), kUniformError[bits], 0.02 * kUniformError[bits]) << bits;
        EXPECT_LE(error(bits, step), error(bits, step * 1.05)) << bits;
        EXPECT_LE(error(bits, step), error(bits, step * 0.95)) << bits;
    }
}

Field field(int first, int lanes, int width, int shift, int row) {
    return {first, lanes, width, shift, row, 0, 0, false};
}

TEST(FromFields, TakesALayoutAndItsOwnFieldsBack) {
    const Layout layout = Layout::allocate(23, variances(90, 1, 3), 0.25);
    std::vector<Field> fields;
    for (const Field& f : layout.fields) {
        fields.push_back(field(f.first, f.lanes, f.width, f.shift, f.row));
    }
    std::reverse(fields.begin(), fields.end());
    const Layout again = Layout::from_fields(23, fields);
    check_layout(again, 23);
    check_widening(again);
    ASSERT_EQ(again.fields.size(), layout.fields.size());
    for (size_t i = 0; i < layout.fields.size(); i++) {
        EXPECT_EQ(again.fields[i].first, layout.fields[i].first);
        EXPECT_EQ(again.fields[i].widen, layout.fields[i].widen);
    }
    EXPECT_EQ(again.slot_axis(), layout.slot_axis());
}

TEST(FromFields, RejectsWhatDoesNotFit) {
    // good: two fields share the row of four, and a row of one
    EXPECT_NO_THROW(Layout::from_fields(
            5, {field(0, 1, 8, 0, 1), field(1, 4, 4, 0, 0), field(5, 4, 4, 4, 0)}));
    const auto rejected = [](int bytes, std::vector<Field> fields, const char* part) {
        EXPECT_FAULT(Layout::from_fields(bytes, fields), "layout", part);
    };
    rejected(4, {field(0, 4, 5, 0, 0), field(4, 4, 4, 4, 0)}, "overlap");
    rejected(4, {field(0, 4, 4, 5, 0)}, "exceed");
    rejected(4, {field(0, 4, 4, -1, 0)}, "overlap");
    rejected(4, {field(0, 4, 9, 0, 0)}, "9 bits");
    rejected(4, {field(0, 4, 0, 0, 0)}, "0 bits");
    rejected(4, {field(0, 4, 4, 0, 1)}, "row 1");
    rejected(4, {field(0, 4, 4, 0, -1)}, "row -1");
    rejected(4, {field(0, 2, 4, 0, 0)}, "2 dimensions");
    rejected(4, {field(-4, 4, 4, 0, 0)}, "row 0");
    rejected(4, {field(0, 4, 4, 0, 0), field(5, 4, 4, 4, 0)}, "gap");
    rejected(4, {field(1, 4, 4, 0, 0)}, "gap");
    rejected(4, {field(0, 4, 4, 0, 0), field(3, 4, 4, 4, 0)}, "twice");
    rejected(4, {field(0, 4, 4, 0, 0), field(0, 4, 4, 4, 0)}, "twice");
    rejected(4, {field(INT32_MAX, 4, 4, 0, 0)}, "gap");
}

TEST(SlotAxis, ListsFieldsInOrder) {
    const Layout layout = Layout::from_fields(7, {field(0, 1, 8, 0, 2), field(1, 2, 3, 0, 1),
                                                  field(3, 4, 5, 0, 0), field(7, 4, 3, 5, 0)});
    // shift 0: rows 0, 1, 2; then shift 5
    EXPECT_EQ(layout.slot_axis(),
              (std::vector<int>{3, 4, 5, 6, 1, 2, -1, -1, 0, -1, -1, -1, 7, 8, 9, 10}));
    EXPECT_EQ(layout.axes, 11);
}

TEST(Pack, RoundTripsAndFillsBitsAsDocumented) {
    Random random(7);
    for (int trial = 0; trial < 400; trial++) {
        const int d = int(random.between(1, 150));
        const int bytes = int(random.between(1, std::min(70, d)));
        const Layout layout =
                Layout::allocate(bytes, variances(d, trial % 6, uint64_t(trial)), 0.5);
        std::vector<uint8_t> level(layout.slots(), 0), code(bytes + 1, 0xee),
                back(layout.slots(), 77);
        for (size_t i = 0; i < layout.fields.size(); i++) {
            const int most = (1 << layout.fields[i].width) - 1;
            for (int l = 0; l < 4; l++) { // what is in empty slots must not matter
                level[4 * i + l] =
                        l < layout.fields[i].lanes ? uint8_t(random.between(0, most)) : 255;
            }
        }
        pack_code(layout, level.data(), code.data());
        ASSERT_EQ(code[bytes], 0xee); // nothing beyond
        for (size_t i = 0; i < layout.fields.size(); i++) {
            const Field& f = layout.fields[i];
            for (int l = 0; l < f.lanes; l++) {
                ASSERT_EQ(code[layout.row_offset[f.row] + l] >> f.shift & ((1 << f.width) - 1),
                          level[4 * i + l]);
            }
        }
        unpack_code(layout, code.data(), back.data());
        for (size_t i = 0; i < layout.fields.size(); i++) {
            for (int l = 0; l < 4; l++) {
                ASSERT_EQ(back[4 * i + l], l < layout.fields[i].lanes ? level[4 * i + l] : 0);
            }
        }
        // any bytes decode to levels that encode to the bits of the fields
        for (uint8_t& b : code) {
            b = uint8_t(random.bits());
        }
        unpack_code(layout, code.data(), back.data());
        std::vector<uint8_t> again(bytes);
        pack_code(layout, back.data(), again.data());
        std::vector<uint8_t> mask(bytes, 0);
        for (const Field& f : layout.fields) {
            for (int l = 0; l < f.lanes; l++) {
                mask[f.offset + l] |= uint8_t(f.mask);
            }
        }
        for (int b = 0; b < bytes; b++) {
            ASSERT_EQ(again[b], code[b] & mask[b]);
        }
    }
}

TEST(OfBlocks, AxesAreSharedOutEvenly) {
    for (int axes : {1, 2, 5, 16, 17, 100, 4096}) {
        for (int bytes : {1, 2, 3, 4, 5, 16, 64, 101}) {
            for (int factor_bytes : {0, 1, 2}) {
                const Layout layout = Layout::of_blocks(bytes, factor_bytes, axes);
                EXPECT_TRUE(layout.has_words());
                EXPECT_EQ(layout.code_size(), bytes + factor_bytes);
                ASSERT_EQ(layout.blocks(), std::min(bytes, axes));
                EXPECT_EQ(layout.has_few_blocks(), layout.blocks() <= 4);
                const std::vector<int> slot_axis = layout.slot_axis();
                ASSERT_EQ(int(slot_axis.size()), layout.slots());
                int next = 0;
                for (int b = 0; b < layout.blocks(); b++) {
                    EXPECT_EQ(layout.block_axis[b], int(int64_t(b) * axes / layout.blocks()));
                    const int wide = layout.block_axis[b + 1] - layout.block_axis[b];
                    EXPECT_TRUE(wide == axes / layout.blocks() ||
                                wide == (axes + layout.blocks() - 1) / layout.blocks());
                    EXPECT_EQ(layout.block_slot[b] % 2, 0);
                    EXPECT_EQ(layout.block_slot[b + 1] - layout.block_slot[b], wide + wide % 2);
                    for (int s = layout.block_slot[b]; s < layout.block_slot[b + 1]; s++) {
                        const bool is_empty = s - layout.block_slot[b] >= wide;
                        EXPECT_EQ(slot_axis[s], is_empty ? -1 : next++);
                    }
                }
                EXPECT_EQ(next, axes);
            }
        }
    }
}

} // namespace
} // namespace faiss_vlc
