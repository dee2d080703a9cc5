#include <faiss_vlc/codec/packed_levels.h>

#include <algorithm>

namespace faiss_vlc {

namespace {

constexpr int kUnit = 16; ///< bytes that chunks are made of

/// Some units, one after the other, whose bytes have levels at the same bits.
struct Span {
    int units, first, shift;
};

/// Spans of 4, 2 and 1 units, so that no unit is read in vain; large ones first, then by where they
/// lie. used: of each bit of a byte `units` flags.
std::vector<Span> spans_of(const std::vector<uint8_t>& used, int units) {
    std::vector<Span> spans;
    for (int shift = 0; shift < 8; shift++) {
        const uint8_t* const at = &used[size_t(shift) * size_t(units)];
        for (int first = 0; first < units;) {
            int run = 0;
            while (run < 4 && first + run < units && at[first + run]) {
                run++;
            }
            const int taken = run == 3 ? 2 : run;
            if (taken > 0) {
                spans.push_back({taken, first, shift});
            }
            first += std::max(1, taken);
        }
    }
    std::stable_sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
        return a.units != b.units ? a.units > b.units : a.first < b.first;
    });
    return spans;
}

std::vector<LevelPiece> pieces_of(const Layout& layout) {
    std::vector<LevelPiece> pieces;
    for (size_t i = 0; i < layout.fields.size(); i++) {
        const Field& f = layout.fields[i];
        for (int lane = 0; lane < f.lanes; lane++) {
            pieces.push_back({f.offset + lane, f.shift, f.width, 4 * int(i) + lane, 0});
        }
    }
    return pieces;
}

} // namespace

PackedLevels::PackedLevels(const Layout& layout) : PackedLevels(pieces_of(layout)) {}

PackedLevels::PackedLevels(const std::vector<LevelPiece>& pieces) {
    int units = 0;
    for (const LevelPiece& p : pieces) {
        units = std::max(units, p.byte / kUnit + 1);
    }
    const auto unit_of = [&](int shift, int unit) {
        return size_t(shift) * size_t(units) + size_t(unit);
    };
    std::vector<uint8_t> used(unit_of(8, 0));
    for (const LevelPiece& p : pieces) {
        used[unit_of(p.shift, p.byte / kUnit)] = 1;
    }
    std::vector<int> begin(used.size()); // the place of a unit's first byte
    int end = 0;                         // of the places that are taken
    for (const Span& span : spans_of(used, units)) {
        const int offset = span.first * kUnit, bytes = span.units * kUnit;
        if (chunks.empty() || chunks.back().offset != offset || chunks.back().bytes != bytes ||
            end == int(chunks.size()) * kChunk) {
            end = int(chunks.size()) * kChunk;
            chunks.push_back({offset, bytes, {}, {}});
        }
        std::fill_n(chunks.back().shift + end % kChunk / 2, bytes / 2, uint16_t(span.shift));
        for (int i = 0; i < span.units; i++, end += kUnit) {
            begin[unit_of(span.shift, span.first + i)] = end;
        }
    }
    slot.assign(chunks.size() * kChunk, -1);
    up.assign(slot.size(), 0);
    for (const LevelPiece& p : pieces) {
        const auto place = size_t(begin[unit_of(p.shift, p.byte / kUnit)] + p.byte % kUnit);
        chunks[place / kChunk].mask[place % kChunk] = uint8_t((1 << p.width) - 1);
        slot[place] = p.slot;
        up[place] = uint8_t(p.up);
    }
}

} // namespace faiss_vlc
