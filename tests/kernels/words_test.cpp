#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/codec/estimator.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/aligned.h>
#include <faiss_vlc/model/codebook.h>

#include <tests/kernels/simd_levels.h>
#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

enum Kind { random_words, limits, equal_words, near_words, kinds };

/// A codebook, what it is multiplied by, and the exact products.
struct Book {
    Layout layout;
    std::vector<int16_t> words; ///< as Codebook's
    std::vector<int16_t> x;
    std::vector<int32_t> dots;
    std::vector<float> norms;
};

Book make_book(const Layout& layout, Kind kind, Random& random) {
    const int limit = Codebook::limit(layout);
    Book book{layout, std::vector<int16_t>(size_t(layout.slots()) * kWords, 0),
              std::vector<int16_t>(layout.slots(), 0),
              std::vector<int32_t>(size_t(layout.blocks()) * kWords),
              std::vector<float>(size_t(layout.blocks()) * kWords)};
    const std::vector<int> axis = layout.slot_axis();
    for (int b = 0; b < layout.blocks(); b++) {
        std::vector<int64_t> dots(kWords, 0), norms(kWords, 0);
        for (int s = layout.block_slot[b]; s < layout.block_slot[b + 1]; s++) {
            if (axis[s] < 0) {
                continue;
            }
            book.x[s] = int16_t(kind == limits ? (random.bits() % 2 ? limit : -limit)
                                               : random.between(-limit, limit));
            for (int w = 0; w < kWords; w++) {
                const int64_t word = kind == limits        ? (w % 2 ? book.x[s] : -book.x[s])
                                     : kind == equal_words ? limit / 2
                                     : kind == near_words  ? limit - w % 2
                                                           : random.between(-limit, limit);
                book.words[(size_t(s / 2) * kWords + w) * 2 + s % 2] = int16_t(word);
                dots[w] += word * book.x[s];
                norms[w] += word * word;
            }
        }
        for (int w = 0; w < kWords; w++) {
            EXPECT_LT(std::abs(dots[w]), 1 << 28);
            EXPECT_LT(norms[w], 1 << 28);
            book.dots[size_t(b) * kWords + w] = int32_t(dots[w]);
            book.norms[size_t(b) * kWords + w] = float(norms[w]);
        }
    }
    return book;
}

/// Entries as simd.h says, from the formula alone.
struct Reference {
    std::vector<float> values;
    std::vector<ValueRange> ranges;
    float step;
    float base;
    std::vector<int32_t> entries;
    std::vector<int> most; ///< of each block the word with the largest entry
};

Reference reference_of(const Book& book, const float* penalty, float share, bool few) {
    const int blocks = book.layout.blocks();
    Reference made;
    std::vector<float>& value = made.values;
    value.resize(book.dots.size());
    for (size_t i = 0; i < value.size(); i++) {
        value[i] = float(book.dots[i]);
        if (penalty) {
            const float off = share * penalty[i];
            value[i] -= off;
        }
    }
    float range = 0, base = 0;
    for (int b = 0; b < blocks; b++) {
        const float* of_block = &value[size_t(b) * kWords];
        const float* largest = std::max_element(of_block, of_block + kWords);
        made.most.push_back(int(largest - of_block));
        made.ranges.push_back({*std::min_element(of_block, of_block + kWords), *largest});
        range += *largest - made.ranges[b].least;
        base += made.ranges[b].least;
    }
    const float room = float((few ? (1 << 28) - 1024 : 65500) - 0.504 * blocks);
    made.step = range > 0 ? room / range : 0.0f;
    made.base = base;
    for (size_t i = 0; i < value.size(); i++) {
        const float scaled = (value[i] - made.ranges[i / kWords].least) * made.step;
        made.entries.push_back(few ? int32_t(scaled + 0.5f) : int32_t(std::nearbyint(scaled)));
    }
    return made;
}

/// The codes of a list of n vectors, as a list keeps them: in blocks, with its slack behind.
struct List {
    std::vector<uint8_t> codes; ///< vector by vector
    AlignedBytes blocks;
};

/// Vector 0 has the words of `first`.
List make_list(const Layout& layout, int n, const std::vector<int>& first, Random& random) {
    List list;
    const int size = layout.code_size();
    list.codes = random.values<uint8_t>(size_t(n) * size, 0, 255);
    std::copy(first.begin(), first.end(), list.codes.begin());
    list.blocks = AlignedBytes(size_t(n) * size + 64, 0xa5);
    for (int at = 0; at < n; at += kBlock) {
        const int width = std::min(kBlock, n - at);
        uint8_t* block = list.blocks.data() + size_t(at) * size;
        for (int v = 0; v < width; v++) {
            const uint8_t* code = &list.codes[size_t(at + v) * size];
            for (int b = 0; b < layout.code_bytes; b++) {
                block[b * width + v] = code[b];
            }
            std::copy_n(code + layout.code_bytes, layout.factor_bytes,
                        block + layout.code_bytes * width + v * layout.factor_bytes);
        }
    }
    return list;
}

std::vector<int32_t> sums_of(const Reference& reference, const Layout& layout, const List& list,
                             int n) {
    std::vector<int32_t> sums(n, 0);
    for (int v = 0; v < n; v++) {
        for (int b = 0; b < layout.blocks(); b++) {
            const int word = list.codes[size_t(v) * layout.code_size() + b];
            sums[v] += reference.entries[size_t(b) * kWords + word];
        }
    }
    return sums;
}

/// All but the tables, at random.
ListScan random_scan(const Layout& layout, const std::array<float, kGammaSteps>& far,
                     Random& random) {
    ListScan scan{};
    scan.layout = &layout;
    scan.half = int32_t(random.between(-(1 << 30), 1 << 30));
    scan.list_distance = float(100 * random.unit());
    for (int g = 0; g < kGammaSteps; g++) {
        scan.add[g] = float(random.normal());
        scan.mul[g] = float(random.normal() * 1e-8);
    }
    scan.usual_length = random.bits() % 2 ? kUnbounded : float(std::exp2(-6 + 16 * random.unit()));
    scan.far_add = float(random.normal());
    scan.far_mul = float(random.normal() * 1e-8);
    scan.far = far.data();
    scan.inner_product = random.bits() % 2;
    scan.reach = scan.inner_product ? -scan.list_distance : std::sqrt(scan.list_distance);
    scan.length_unit = float(2 * random.unit());
    return scan;
}

/// list_scan.h in doubles, with the error that floats may make.
void expect_distance(const ListScan& scan, int32_t sum, const uint8_t* factors, float met) {
    const Layout& layout = *scan.layout;
    const double dot2 = 2.0 * sum - scan.half;
    if (layout.factor_bytes == 0) {
        const double wanted = scan.list_distance - scan.far_mul * dot2;
        EXPECT_NEAR(met, wanted, 1e-6 * (scan.list_distance + std::fabs(scan.far_mul * dot2)));
        return;
    }
    const int low = layout.factor_bytes == 2 ? factors[0] : 0;
    const int high = factors[layout.factor_bytes - 1];
    const int bits = low | high << 8;
    const int gamma = bits & 31;
    const double l = std::ldexp(128 + (bits >> 5 & 127), (bits >> 12) - 13) - 0x1p-6;
    const bool is_far = l > scan.usual_length;
    const double add = l * l * (is_far ? scan.far_add * scan.far[gamma] : scan.add[gamma]);
    const double shift = l * (is_far ? scan.far_mul : scan.mul[gamma]) * dot2;
    const double apart = scan.reach - scan.length_unit * l;
    const double least = scan.inner_product ? apart : apart * apart;
    const double largest = std::fabs(double(scan.reach)) + scan.length_unit * l;
    EXPECT_NEAR(met, std::max(least, scan.list_distance + add - shift),
                1e-6 * (scan.list_distance + std::fabs(add) + std::fabs(shift) +
                        (scan.inner_product ? largest : largest * largest)));
}

/// The distances of `count` vectors from a list's vector `first` on, by a level's own loops.
std::vector<float> distances_of(const Simd& level, const ListScan& scan, const List& list,
                                const std::vector<int32_t>& sums, int first, int count) {
    const Layout& layout = *scan.layout;
    std::vector<float> all;
    for (int at = first; at < first + count; at += kBlock) {
        const int width = std::min(kBlock, first + count - at);
        std::vector<int32_t> acc(kBlock, 0);
        std::copy_n(&sums[at], width, acc.begin());
        std::vector<uint8_t> factors(2 * kBlock, 0);
        for (int v = 0; v < width; v++) {
            const uint8_t* of_code =
                    &list.codes[size_t(at + v) * layout.code_size()] + layout.code_bytes;
            for (int i = 0; i < layout.factor_bytes; i++) {
                factors[2 * v + 2 - layout.factor_bytes + i] = of_code[i];
            }
        }
        std::vector<float> distance(kBlock);
        level.scan.distances(scan, acc.data(), factors.data(), width, 0, distance.data());
        for (const float bound : {distance[width / 2], -1e30f, 1e30f, NAN}) {
            std::vector<float> again(kBlock);
            const uint32_t within = level.scan.distances(scan, acc.data(), factors.data(), width,
                                                         bound, again.data());
            uint32_t wanted = 0;
            for (int v = 0; v < width; v++) {
                wanted |= uint32_t(distance[v] <= bound) << v;
            }
            EXPECT_EQ(within, wanted) << level.name << " " << width << " bound " << bound;
        }
        all.insert(all.end(), distance.begin(), distance.begin() + width);
    }
    return all;
}

/// scan_codes() of a list in batches gives what `sums` say.
void check_scan_codes(const ListScan& scan, const List& list, const std::vector<int32_t>& sums) {
    const Layout& layout = *scan.layout;
    const int n = int(sums.size());
    for (int first = 0; first < n; first += kScanBatch) {
        const int count = std::min(kScanBatch, n - first);
        const uint8_t* blocks = list.blocks.data() + size_t(first) * layout.code_size();
        std::vector<float> met(size_t(count + kBlock - 1) / kBlock * kBlock);
        scan_codes(scan, blocks, count, 0, met.data());
        met.resize(count);
        for (int v = 0; v < count; v++) {
            const size_t code = size_t(first + v) * layout.code_size() + layout.code_bytes;
            expect_distance(scan, sums[first + v], list.codes.data() + code, met[v]);
        }
        if (layout.factor_bytes > 0) {
            for (const Simd* level : levels()) {
                EXPECT_TRUE(same_bits(distances_of(*level, scan, list, sums, first, count), met))
                        << level->name;
            }
        }
        for (const float bound : {met[count / 3], -1e30f, 1e30f, NAN}) {
            std::vector<float> again(size_t(count + kBlock - 1) / kBlock * kBlock);
            uint64_t wanted = 0;
            for (int v = 0; v < count; v++) {
                wanted |= uint64_t(met[v] <= bound) << v;
            }
            EXPECT_EQ(scan_codes(scan, blocks, count, bound, again.data()), wanted);
        }
    }
}

/// A level's own tables.
std::vector<uint8_t> tables_of(const Simd& level, const Layout& layout,
                               const Reference& reference) {
    const bool few = layout.has_few_blocks();
    std::vector<uint8_t> tables(size_t(layout.blocks()) * kWords * (few ? 4 : 2));
    (few ? level.words.few_entries : level.words.entries)(layout.blocks(), reference.values.data(),
                                                          reference.ranges.data(), reference.step,
                                                          tables.data());
    return tables;
}

/// The sums of a list by a level's own tables, in batches.
std::vector<int32_t> level_sums(const Simd& level, const Layout& layout, const Reference& reference,
                                const List& list, int n) {
    const bool few = layout.has_few_blocks();
    const std::vector<uint8_t> tables = tables_of(level, layout, reference);
    ListScan scan{};
    scan.layout = &layout;
    scan.tables = tables.data();
    std::vector<int32_t> sums;
    for (int first = 0; first < n; first += kScanBatch) {
        const int count = std::min(kScanBatch, n - first);
        std::vector<int32_t> acc(size_t(count + kBlock - 1) / kBlock * kBlock, -1);
        (few ? level.words.few_sums : level.words.sums)(
                scan, list.blocks.data() + size_t(first) * layout.code_size(), count, acc.data());
        sums.insert(sums.end(), acc.begin(), acc.begin() + count);
    }
    return sums;
}

struct Case {
    Kind kind;
    float share; ///< of the norms; below 0: no penalty
    int n;
};

void check_words(const Layout& layout, const Case& of, Random& random) {
    const Book book = make_book(layout, of.kind, random);
    const bool few = layout.has_few_blocks();
    const float* penalty = of.share >= 0 ? book.norms.data() : nullptr;
    const Reference reference = reference_of(book, penalty, of.share, few);
    const List list = make_list(layout, of.n, reference.most, random);
    const std::vector<int32_t> sums = sums_of(reference, layout, list, of.n);
    // vector 0 has the largest entry of every block
    EXPECT_LE(sums[0], few ? 1 << 28 : 65535);
    if (reference.step > 0) { // and what room there is is used
        EXPECT_GE(sums[0], (few ? 1 << 28 : 65500) * 0.999 - layout.blocks());
    }
    for (const Simd* level : levels()) {
        SCOPED_TRACE(level->name);
        std::vector<int32_t> dots(book.dots.size(), -1);
        level->words.products({layout.blocks(), layout.block_slot.data(), book.words.data()},
                              book.x.data(), dots.data());
        EXPECT_EQ(dots, book.dots);
        std::vector<float> values(book.dots.size());
        std::vector<ValueRange> ranges(layout.blocks());
        level->words.values({layout.blocks(), layout.block_slot.data(), book.words.data()},
                            book.x.data(), penalty, of.share, values.data(), ranges.data());
        EXPECT_EQ(values, reference.values);
        for (int b = 0; b < layout.blocks(); b++) {
            EXPECT_EQ(ranges[b].least, reference.ranges[b].least) << b;
            EXPECT_EQ(ranges[b].most, reference.ranges[b].most) << b;
        }
        EXPECT_EQ(level_sums(*level, layout, reference, list, of.n), sums);
    }
    std::array<float, kGammaSteps> far;
    for (int g = 0; g < kGammaSteps; g++) {
        far[g] = 0.3f + 0.02f * float(g);
    }
    ListScan scan = random_scan(layout, far, random);
    const std::vector<uint8_t> tables = tables_of(simd(), layout, reference);
    scan.tables = tables.data();
    check_scan_codes(scan, list, sums);
}

TEST(Words, EveryNumberOfBlocksAndVectors) {
    Random random(21);
    const float shares[] = {-1, 0, 0.37f, 1e-3f, 1e15f};
    int trial = 0;
    for (int blocks = 1; blocks <= 70; blocks++) {
        for (int n = 1 + blocks % 3; n <= 130; n += blocks <= 5 ? 1 : 2 + (n * blocks) % 9) {
            // blocks of one width or two; widths of 1 to 9
            const int width = 1 + trial % 9;
            const int axes = blocks * width + (trial % 2 ? int(random.between(0, blocks - 1)) : 0);
            const Layout layout = Layout::of_blocks(blocks, trial % 3, axes);
            ASSERT_EQ(layout.blocks(), blocks);
            const Kind kind = Kind(random.between(0, kinds - 1));
            check_words(layout, {kind, shares[random.bits() % std::size(shares)], n}, random);
            ASSERT_FALSE(HasFailure())
                    << blocks << " blocks, " << axes << " axes, n " << n << ", kind " << kind;
            trial++;
        }
    }
}

TEST(Words, WideBlocksAndBytesBeyondTheAxes) {
    Random random(22);
    for (int kind = 0; kind < kinds; kind++) {
        for (const float share : {-1.0f, 0.5f}) {
            check_words(Layout::of_blocks(3, 0, 120), {Kind(kind), share, 33}, random);
            check_words(Layout::of_blocks(7, 1, 275), {Kind(kind), share, 100}, random);
            check_words(Layout::of_blocks(1, 0, 16384), {Kind(kind), share, 5}, random);
            check_words(Layout::of_blocks(9, 2, 4), {Kind(kind), share, 70}, random);
            check_words(Layout::of_blocks(12, 0, 6), {Kind(kind), share, 17}, random);
            check_words(Layout::of_blocks(16384, 2, 16384), {Kind(kind), share, 19}, random);
            ASSERT_FALSE(HasFailure()) << kind << " share " << share;
        }
    }
}

// A sum stands for the products that it was rounded from.
TEST(Words, SumsAreWhatTheyStandFor) {
    Random random(23);
    for (int blocks : {1, 3, 4, 5, 16, 64}) {
        const Layout layout = Layout::of_blocks(blocks, 0, blocks * 4);
        const Book book = make_book(layout, random_words, random);
        const float share = 0.4f;
        const bool few = layout.has_few_blocks();
        const Reference reference = reference_of(book, book.norms.data(), share, few);
        const List list = make_list(layout, 64, reference.most, random);
        for (const Simd* level : levels()) {
            const std::vector<int32_t> sums = level_sums(*level, layout, reference, list, 64);
            for (int v = 0; v < 64; v++) {
                double exact = 0, magnitude = 0;
                for (int b = 0; b < blocks; b++) {
                    const size_t at =
                            size_t(b) * kWords + list.codes[size_t(v) * layout.code_size() + b];
                    exact += book.dots[at] - double(share) * book.norms[at];
                    magnitude += std::fabs(double(book.dots[at])) + share * book.norms[at];
                }
                const double step = reference.step;
                ASSERT_NEAR(sums[v] / step + reference.base, exact,
                            0.51 * blocks / step + 1e-6 * magnitude)
                        << level->name << " " << blocks;
            }
        }
    }
}

// Twice the largest sum and the largest half are within an int32, see WordTables.
TEST(Words, ProductsStayWithinTheirLimit) {
    for (int blocks : {1, 2, 5, 64}) {
        for (int axes = blocks; axes <= 16384; axes = axes * 3 / 2 + 1) {
            const Layout layout = Layout::of_blocks(blocks, 0, axes);
            const int64_t limit = Codebook::limit(layout);
            const int64_t widest = (axes + blocks - 1) / blocks;
            EXPECT_LT(limit * limit * widest, int64_t(1) << 28);
            EXPECT_GE(limit, 127);
            EXPECT_TRUE(limit == 8191 || (limit + 1) * (limit + 1) * widest >= int64_t(1) << 28);
        }
    }
}

} // namespace
} // namespace faiss_vlc
