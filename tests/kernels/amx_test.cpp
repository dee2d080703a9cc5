#include <faiss_vlc/kernels/amx/tile_loops.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <tests/kernels/simd_levels.h>
#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

/// The processor's tile unit in plain C++, as its manual describes the instructions. It also checks
/// that it is used as that demands.
struct ModelUnit {
    struct Tile {
        uint8_t bytes[16][64];
    };
    static thread_local TileConfig config;
    static thread_local bool is_open;
    static thread_local Tile tiles[16];
    static thread_local int64_t products;

    static void begin(const TileConfig& wanted) {
        EXPECT_FALSE(is_open);
        EXPECT_EQ(wanted.palette, 1);
        EXPECT_EQ(wanted.start_row, 0);
        for (uint8_t byte : wanted.reserved) {
            EXPECT_EQ(byte, 0);
        }
        for (int t = 0; t < 16; t++) {
            const int rows = wanted.rows[t], bytes = wanted.bytes[t];
            EXPECT_EQ(rows == 0, bytes == 0);
            EXPECT_LE(rows, t < 8 ? 16 : 0);
            EXPECT_LE(bytes, t < 8 ? 64 : 0);
        }
        config = wanted;
        is_open = true;
        std::memset(tiles, 0, sizeof(tiles));
    }
    static void end() {
        EXPECT_TRUE(is_open);
        is_open = false;
    }
    template <int I>
    static void zero() {
        EXPECT_TRUE(is_open && config.rows[I] > 0);
        std::memset(&tiles[I], 0, sizeof(Tile));
    }
    template <int I>
    static void load(const int8_t* from, int64_t stride) {
        zero<I>();
        for (int r = 0; r < config.rows[I]; r++) {
            std::memcpy(tiles[I].bytes[r], from + r * stride, config.bytes[I]);
        }
    }
    template <int I>
    static void store(int32_t* to, int64_t stride) {
        EXPECT_TRUE(is_open && config.rows[I] > 0);
        for (int r = 0; r < config.rows[I]; r++) {
            std::memcpy(reinterpret_cast<char*>(to) + r * stride, tiles[I].bytes[r],
                        config.bytes[I]);
        }
    }
    template <int Sums, int Rows, int Anchors>
    static void dot() {
        EXPECT_TRUE(is_open);
        EXPECT_EQ(config.bytes[Rows] / 4, config.rows[Anchors]);
        EXPECT_EQ(config.rows[Sums], config.rows[Rows]);
        EXPECT_EQ(config.bytes[Sums], config.bytes[Anchors]);
        products++;
        for (int m = 0; m < config.rows[Rows]; m++) {
            for (int k = 0; k < config.bytes[Rows] / 4; k++) {
                for (int n = 0; n < config.bytes[Anchors] / 4; n++) {
                    int32_t sum;
                    std::memcpy(&sum, tiles[Sums].bytes[m] + 4 * n, 4);
                    for (int i = 0; i < 4; i++) {
                        sum += int8_t(tiles[Rows].bytes[m][4 * k + i]) *
                               int8_t(tiles[Anchors].bytes[k][4 * n + i]);
                    }
                    std::memcpy(tiles[Sums].bytes[m] + 4 * n, &sum, 4);
                }
            }
        }
    }
};

thread_local TileConfig ModelUnit::config;
thread_local bool ModelUnit::is_open = false;
thread_local ModelUnit::Tile ModelUnit::tiles[16];
thread_local int64_t ModelUnit::products = 0;

/// Rows and anchors of `m` times 4 `groups` components, in memory that ends where they do.
struct Case {
    Case(int m_, int groups_, int rows_, int seed)
        : m(m_), groups(groups_), rows(rows_), random(seed),
          x(random.values<int8_t>(size_t(rows) * groups * 4, -127, 127)),
          packed(size_t(tiles()) * groups * 64, 0), offsets(size_t(tiles()) * 16, INT32_MAX),
          sums(offsets.size(), 0) {
        for (int j = 0; j < m; j++) {
            // few values here and there, so that scores are equal; elsewhere all of them
            const int most = j % 3 == 0 ? 1 : 127;
            offsets[j] = int32_t(random.between(-most, most));
            for (int k = 0; k < groups * 4; k++) {
                const auto a = int8_t(j % 7 == 6 ? -127 : random.between(-most, most));
                packed[(size_t(j / 16) * groups + k / 4) * 64 + j % 16 * 4 + k % 4] = a;
                sums[j] += a;
            }
        }
        for (int r = 0; r < rows; r++) {
            if (r % 5 == 4) {
                std::memset(&x[size_t(r) * groups * 4], r % 2 ? 127 : 0, size_t(groups) * 4);
            }
            row.push_back(&x[size_t(r) * groups * 4]);
        }
    }
    int tiles() const { return (m + 15) / 16; }
    AnchorTiles anchors() const {
        return {tiles(), groups, packed.data(), sums.data(), offsets.data()};
    }

    int m, groups, rows;
    Random random;
    std::vector<int8_t> x, packed;
    std::vector<int32_t> offsets, sums;
    std::vector<const int8_t*> row;
};

/// What a level, or the model, makes of a case.
struct Loops {
    decltype(Simd::Rank::many) many;
    decltype(Simd::Nearest::rows) rows;
    decltype(Simd::Nearest::classes) classes;
};
constexpr Loops kModel{score_many<ModelUnit>, nearest_of_rows<ModelUnit>,
                       best_of_classes_of_all<ModelUnit>};

void expect_same(const Loops& loops, const Case& of) {
    SCOPED_TRACE(testing::Message()
                 << of.m << " anchors, " << of.groups << " groups, " << of.rows << " rows");
    const Simd& plain = *find_simd("portable");
    const AnchorTiles anchors = of.anchors();
    const size_t padded = size_t(anchors.tiles) * 16;
    for (int first = 0; first < of.rows; first += kManyTogether) {
        const int count = std::min(kManyTogether, of.rows - first);
        std::vector<std::vector<int32_t>> scores(count, std::vector<int32_t>(padded, 99));
        std::vector<int32_t*> out;
        for (auto& own : scores) {
            out.push_back(own.data());
        }
        loops.many(anchors, count, &of.row[first], -2, out.data());
        for (int q = 0; q < count; q++) {
            std::vector<int32_t> expected(padded);
            plain.rank.tiles(anchors, of.row[first + q], -2, expected.data());
            EXPECT_EQ(scores[q], expected) << q;
        }
    }
    std::vector<int32_t> label(of.rows, -1), expected(of.rows, -2);
    loops.rows(anchors, of.rows, of.x.data(), label.data());
    plain.nearest.rows(anchors, of.rows, of.x.data(), expected.data());
    EXPECT_EQ(label, expected);
    const size_t size = size_t(of.rows) * 16;
    std::vector<int32_t> score(size, -1), tile(size, -1), its_score(size), its_tile(size);
    loops.classes(anchors, of.rows, of.row.data(), score.data(), tile.data());
    plain.nearest.classes(anchors, of.rows, of.row.data(), its_score.data(), its_tile.data());
    EXPECT_EQ(score, its_score);
    EXPECT_EQ(tile, its_tile);
}

void expect_same_of_all(const Loops& loops) {
    int seed = 1;
    for (int groups : {1, 4, 8, 15, 16, 17, 24, 32, 33}) { // steps have 16
        for (int m : {1, 16, 17, 47, 64, 65, 100}) {       // tiles have 16, 4 are taken at once
            for (int rows : {1, 3, 4, 15, 16, 17, 32, 33, 50}) {
                expect_same(loops, Case(m, groups, rows, seed++));
            }
        }
    }
    expect_same(loops, Case(37, 9, 300, seed)); // more rows than are taken at once
    expect_same(loops, Case(20, 256, 70, seed));
    expect_same(loops, Case(5, kMostGroups, 20, seed));
}

TEST(TileLoops, WithAModelOfTheUnitEqualThePortableOnes) {
    ModelUnit::products = 0;
    expect_same_of_all(kModel);
    EXPECT_GT(ModelUnit::products, 10000);
    EXPECT_FALSE(ModelUnit::is_open);
}

// The portable classes themselves, by one anchor after the other.
TEST(TileLoops, ClassesAreWhatTrainingWants) {
    const Case of(45, 5, 7, 3);
    std::vector<int32_t> score(7 * 16), tile(7 * 16);
    find_simd("portable")
            ->nearest.classes(of.anchors(), 7, of.row.data(), score.data(), tile.data());
    for (int r = 0; r < 7; r++) {
        for (int c = 0; c < 16; c++) {
            int32_t least = INT32_MAX, at = 0;
            for (int j = c; j < of.m; j += 16) {
                int32_t met = of.offsets[j];
                for (int k = 0; k < of.groups * 4; k++) {
                    met -= 2 *
                           of.packed[(size_t(j / 16) * of.groups + k / 4) * 64 + c * 4 + k % 4] *
                           of.row[r][k];
                }
                at = met < least ? j / 16 : at;
                least = std::min(least, met);
            }
            EXPECT_EQ(score[r * 16 + c], least) << r << " " << c;
            EXPECT_EQ(tile[r * 16 + c], at) << r << " " << c;
        }
    }
}

class AmxLevel : public testing::Test {
protected:
    void SetUp() override {
        level = find_simd("amx");
        if (!level) {
            GTEST_SKIP() << "this processor, kernel or build has no AMX: only its model is tested";
        }
        loops = {level->rank.many, level->nearest.rows, level->nearest.classes};
    }
    const Simd* level = nullptr;
    Loops loops{};
};

TEST_F(AmxLevel, HasLoopsOfItsOwn) {
    const Simd& base = *find_simd("avx512_vbmi");
    EXPECT_TRUE(level->rank.many);
    EXPECT_NE(level->nearest.rows, base.nearest.rows);
    EXPECT_NE(level->nearest.classes, base.nearest.classes);
    EXPECT_EQ(level->scan.blocks, base.scan.blocks);
}

TEST_F(AmxLevel, EqualsThePortableOne) {
    expect_same_of_all(loops);
    expect_same(loops, Case(5, kMostGroups + 1, 20, 1)); // too long for tiles
}

// Each thread has tiles of its own, in threads that others made, too.
TEST_F(AmxLevel, RunsInManyThreads) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; t++) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 20; i++) {
                expect_same(loops, Case(100 + t, 20, 40, t * 100 + i));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
#pragma omp parallel for
    for (int i = 0; i < 100; i++) {
        expect_same(loops, Case(60, 40, 33, i));
    }
}

} // namespace
} // namespace faiss_vlc
