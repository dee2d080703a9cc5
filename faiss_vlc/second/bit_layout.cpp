#include <faiss_vlc/second/bit_layout.h>

#include <algorithm>
#include <queue>
#include <utility>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

constexpr int kPieces[] = {8, 4, 2, 1};

/// How many pieces of each width there are, by their logarithm.
struct Counts {
    int of[4] = {};

    void add(int width, int times) {
        for (int log = 0; log < 4; log++) {
            of[log] += (width >> log & 1) * times;
        }
    }
    int bytes() const {
        int sum = 0;
        for (int log = 0; log < 4; log++) {
            sum += ((of[log] << log) + 7) / 8;
        }
        return sum;
    }
};

/// Greedily, to where bits take most of the distortion off, by widths that are allowed (their bits
/// are set). Returns the distortion that is left.
double allocate_widths(int code_bytes, const std::vector<double>& variance, int allowed,
                       std::vector<uint8_t>& width) {
    struct Offer {
        double gain; ///< a bit
        int axis, to;
        bool operator<(const Offer& other) const { // the stronger axis first among equals
            return gain != other.gain ? gain < other.gain : axis > other.axis;
        }
    };
    width.assign(variance.size(), 0);
    Counts counts;
    std::priority_queue<Offer> offers;
    const auto offer = [&](size_t i) {
        const int from = width[i];
        for (int to = from + 1; to <= kMaxWidth; to++) {
            if (allowed >> to & 1) {
                const double gain = variance[i] * (kUniformError[from] - kUniformError[to]);
                offers.push({gain / (to - from), int(i), to});
                return;
            }
        }
    };
    for (size_t i = 0; i < variance.size(); i++) {
        offer(i);
    }
    while (!offers.empty()) {
        const Offer best = offers.top();
        offers.pop();
        uint8_t& now = width[size_t(best.axis)];
        counts.add(now, -1);
        counts.add(best.to, 1);
        if (counts.bytes() > code_bytes) {
            counts.add(best.to, -1);
            counts.add(now, 1);
            continue;
        }
        now = uint8_t(best.to);
        offer(size_t(best.axis));
    }
    double left = 0;
    for (size_t i = 0; i < width.size(); i++) {
        left += variance[i] * kUniformError[width[i]];
    }
    return left;
}

} // namespace

BitLayout BitLayout::allocate(int code_bytes, const std::vector<double>& variance) {
    // all, or those of one piece, or the larger of these: short codes have no room for several
    // kinds
    constexpr int kAllowed[] = {0x1ff, 0x117, 0x115, 0x111, 0x101};
    std::vector<uint8_t> width, other;
    double least = allocate_widths(code_bytes, variance, kAllowed[0], width);
    for (const int allowed : kAllowed) {
        const double left = allocate_widths(code_bytes, variance, allowed, other);
        if (left < least) {
            least = left;
            width = other;
        }
    }
    while (width.size() > 1 && width.back() == 0) {
        width.pop_back();
    }
    return of_widths(code_bytes, std::move(width));
}

BitLayout BitLayout::of_widths(int code_bytes, std::vector<uint8_t> width) {
    BitLayout layout;
    layout.code_bytes = code_bytes;
    Counts counts;
    for (const uint8_t w : width) {
        if (w > kMaxWidth) {
            fail("second tier: expected widths of 0 to 8 bits, got %d", int(w));
        }
        counts.add(w, 1);
    }
    if (counts.bytes() > code_bytes) {
        fail("second tier: expected widths that fit in %d bytes, got some for %d", code_bytes,
             counts.bytes());
    }
    int first = 0;
    for (const int piece : kPieces) {
        const int log = piece == 8 ? 3 : piece == 4 ? 2 : piece == 2 ? 1 : 0;
        const int bytes = (counts.of[log] * piece + 7) / 8;
        int i = 0;
        for (size_t axis = 0; axis < width.size(); axis++) {
            if (width[axis] & piece) {
                layout.pieces.push_back({int(axis), first + i % bytes, piece * (i / bytes), piece,
                                         width[axis] & (piece - 1)});
                i++;
            }
        }
        first += bytes;
    }
    layout.width = std::move(width);
    return layout;
}

PackedLevels BitLayout::packed() const {
    std::vector<LevelPiece> packed;
    for (const Piece& p : pieces) {
        packed.push_back({p.byte, p.shift, p.width, p.axis, p.up});
    }
    return PackedLevels(packed);
}

void BitLayout::pack(const uint8_t* level, uint8_t* code) const {
    std::fill_n(code, code_bytes, uint8_t(0));
    for (const Piece& p : pieces) {
        const int bits = level[p.axis] >> p.up & ((1 << p.width) - 1);
        code[p.byte] = uint8_t(code[p.byte] | bits << p.shift);
    }
}

void BitLayout::unpack(const uint8_t* code, uint8_t* level) const {
    std::fill(level, level + axes(), uint8_t(0));
    for (const Piece& p : pieces) {
        const int bits = code[p.byte] >> p.shift & ((1 << p.width) - 1);
        level[p.axis] = uint8_t(level[p.axis] | bits << p.up);
    }
}

} // namespace faiss_vlc
