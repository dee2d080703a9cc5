#include <faiss_vlc/kernels/list_scan.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/aligned.h>

#include <tests/kernels/simd_levels.h>
#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

TEST(Levels, AllThatTheCpuHasAreThere) {
    ASSERT_FALSE(levels().empty());
    EXPECT_STREQ(levels()[0]->name, "portable");
#if defined(__x86_64__)
    EXPECT_EQ(find_simd("avx2") != nullptr, bool(__builtin_cpu_supports("avx2")));
    EXPECT_EQ(find_simd("avx512") != nullptr,
              __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni"));
    EXPECT_EQ(find_simd("avx512_vbmi") != nullptr,
              find_simd("avx512") && __builtin_cpu_supports("avx512vbmi"));
    if (find_simd("amx")) { // the kernel may refuse it
        EXPECT_TRUE(find_simd("avx512_vbmi"));
        EXPECT_STREQ(levels().back()->name, "amx");
    }
    EXPECT_EQ(find_simd("neon"), nullptr);
#else
    EXPECT_EQ(find_simd("avx2"), nullptr);
    EXPECT_EQ(find_simd("avx512"), nullptr);
    EXPECT_EQ(find_simd("avx512_vbmi"), nullptr);
    EXPECT_EQ(find_simd("amx"), nullptr);
#endif
    EXPECT_EQ(find_simd(""), nullptr);
}

// A level has all loops, its own or those that it took over.
TEST(Levels, AreWhole) {
    for (const Simd* level : levels()) {
        SCOPED_TRACE(level->name);
        const Simd& own = *level;
        EXPECT_TRUE(own.rank.tiles && own.rank.together && own.rank.group_minima &&
                    own.rank.select_within);
        EXPECT_TRUE(own.rotate.tiles && own.rotate.together);
        EXPECT_TRUE(own.scan.anchor_distance && own.scan.quantize_query && own.scan.half &&
                    own.scan.list_terms && own.scan.tables && own.scan.blocks &&
                    own.scan.blocks_fine && own.scan.distances && own.scan.blocks_together);
        EXPECT_TRUE(own.words.products && own.words.values && own.words.entries && own.words.sums &&
                    own.words.few_entries && own.words.few_sums);
        EXPECT_TRUE(own.encode.square_sum && own.encode.round_scaled && own.encode.quantize_row &&
                    own.encode.levels);
        EXPECT_TRUE(own.nearest.rows && own.nearest.classes && own.nearest.words);
        EXPECT_TRUE(own.algebra.multiply_add);
        EXPECT_TRUE(own.levels.dot);
    }
}

TEST(LevelsChild, DISABLED_Name) {
    try {
        report(simd().name);
    } catch (const std::exception& error) {
        report(error.what());
    }
}

TEST(Levels, EnvironmentChooses) {
    const std::string best = levels().back()->name;
    EXPECT_EQ(run_child("LevelsChild.DISABLED_Name", "VLC_SIMD="), best);
    for (const Simd* level : levels()) {
        EXPECT_EQ(run_child("LevelsChild.DISABLED_Name", std::string("VLC_SIMD=") + level->name),
                  level->name);
    }
    const std::string error = run_child("LevelsChild.DISABLED_Name", "VLC_SIMD=sse9");
    EXPECT_NE(error.find("VLC_SIMD"), std::string::npos) << error;
    EXPECT_NE(error.find("sse9"), std::string::npos) << error;
    for (const Simd* level : levels()) { // what would work
        EXPECT_NE(error.find(level->name), std::string::npos) << error;
    }
}

TEST(RotateTile, MatchesIntegers) {
    Random random(1);
    for (int pairs : {1, 2, 3, 8, 31, 64, 2048}) {
        for (int kind = 0; kind < 3; kind++) {
            // |x| is at most about 32767, which keeps sums below 2^31
            const int64_t most = kind == 1 ? 1 : int64_t(32767 / std::sqrt(2.0 * pairs));
            const int64_t most_row = kind == 1 ? 1 : 127;
            std::vector<int16_t> x = random.values<int16_t>(2 * pairs, -most, most);
            std::vector<int8_t> rows = random.values<int8_t>(32 * pairs, -most_row, most_row);
            if (kind == 2) { // all of a norm in one place
                std::fill(x.begin(), x.end(), int16_t(0));
                std::fill(rows.begin(), rows.end(), int8_t(0));
                x[2 * pairs - 1] = -32767;
                for (int i = 0; i < 16; i++) {
                    rows[(pairs - 1) * 32 + 2 * i + 1] = i % 2 ? 127 : -127;
                }
            }
            std::vector<int32_t> expected(16, 0);
            for (int i = 0; i < 16; i++) {
                int64_t sum = 0;
                for (int p = 0; p < pairs; p++) {
                    sum += int64_t(rows[p * 32 + 2 * i]) * x[2 * p] +
                           int64_t(rows[p * 32 + 2 * i + 1]) * x[2 * p + 1];
                }
                expected[i] = int32_t(sum);
                ASSERT_EQ(expected[i], sum);
            }
            for (const Simd* level : levels()) {
                std::vector<int32_t> sums(16, 99);
                level->rotate.tiles(1, pairs, x.data(), rows.data(), sums.data());
                ASSERT_EQ(sums, expected) << level->name << " " << pairs;
            }
        }
    }
}

TEST(RotateTogether, MatchesOneByOne) {
    Random random(12);
    for (int tiles : {1, 2, 3, 4, 5, 8, 13}) {
        for (int pairs : {1, 2, 7, 64, 192}) {
            const std::vector<int8_t> rows =
                    random.values<int8_t>(size_t(tiles) * pairs * 32, -127, 127);
            std::vector<std::vector<int16_t>> vectors;
            const int16_t* x[kTogether];
            for (int v = 0; v < kTogether; v++) {
                vectors.push_back(random.values<int16_t>(2 * pairs, -1600, 1600));
            }
            for (const Simd* level : levels()) {
                std::vector<std::vector<int32_t>> sums(kTogether, std::vector<int32_t>(tiles * 16));
                int32_t* out[kTogether];
                for (int v = 0; v < kTogether; v++) {
                    x[v] = vectors[v].data();
                    out[v] = sums[v].data();
                }
                level->rotate.together(tiles, pairs, x, rows.data(), out);
                std::vector<int32_t> alone(tiles * 16);
                level->rotate.tiles(tiles, pairs, x[1], rows.data(), alone.data());
                EXPECT_EQ(alone, sums[1]) << level->name << " " << tiles << " " << pairs;
                for (int v = 0; v < kTogether; v++) {
                    for (int t = 0; t < tiles; t++) {
                        int32_t expected[16];
                        find_simd("portable")
                                ->rotate.tiles(1, pairs, x[v], &rows[size_t(t) * pairs * 32],
                                               expected);
                        ASSERT_TRUE(std::equal(expected, expected + 16, &sums[v][t * 16]))
                                << level->name << " " << tiles << " " << pairs;
                    }
                }
            }
        }
    }
}

TEST(RankTiles, MatchesIntegers) {
    Random random(2);
    for (int tiles : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 17}) {
        for (int groups : {4, 8, 12, 32, 1024}) {
            for (int kind = 0; kind < 3; kind++) {
                const auto value = [&](int i) {
                    return int8_t(kind == 0   ? random.between(-127, 127)
                                  : kind == 1 ? (i % 2 ? -127 : 127)
                                              : 127 - 254 * random.between(0, 1));
                };
                std::vector<int8_t> x(groups * 4), packed(size_t(tiles) * groups * 64);
                for (size_t i = 0; i < x.size(); i++) {
                    x[i] = value(int(i));
                }
                for (size_t i = 0; i < packed.size(); i++) {
                    packed[i] = value(int(i / (kind == 1 ? 4 : 1)));
                }
                std::vector<int32_t> expected(tiles * 16, 0), sums(tiles * 16, 0);
                for (int t = 0; t < tiles; t++) {
                    for (int j = 0; j < 16; j++) {
                        for (int k = 0; k < groups * 4; k++) {
                            const int a = packed[(size_t(t) * groups + k / 4) * 64 + j * 4 + k % 4];
                            expected[t * 16 + j] += a * x[k];
                            sums[t * 16 + j] += a;
                        }
                    }
                }
                const int32_t factor = kind == 0 ? -2 : kind == 1 ? -1 : 1;
                const std::vector<int32_t> offsets =
                        random.values<int32_t>(tiles * 16, -1000000, 1000000);
                std::vector<int32_t> wanted(tiles * 16);
                for (int j = 0; j < tiles * 16; j++) {
                    wanted[j] = offsets[j] + factor * expected[j];
                }
                const AnchorTiles anchors{tiles, groups, packed.data(), sums.data(),
                                          offsets.data()};
                for (const Simd* level : levels()) {
                    std::vector<int32_t> scores(tiles * 16, 99);
                    level->rank.tiles(anchors, x.data(), factor, scores.data());
                    ASSERT_EQ(scores, wanted) << level->name << " " << tiles << " " << groups;
                    std::vector<int8_t> others = random.values<int8_t>(x.size(), -127, 127);
                    std::vector<int32_t> alone(tiles * 16);
                    level->rank.tiles(anchors, others.data(), factor, alone.data());
                    std::vector<std::vector<int32_t>> each(kTogether,
                                                           std::vector<int32_t>(tiles * 16, 99));
                    const int8_t* queries[kTogether] = {x.data(), others.data(), x.data(),
                                                        others.data()};
                    int32_t* out[kTogether];
                    for (int q = 0; q < kTogether; q++) {
                        out[q] = each[q].data();
                    }
                    level->rank.together(anchors, queries, factor, out);
                    for (int q = 0; q < kTogether; q++) {
                        ASSERT_EQ(each[q], q % 2 ? alone : wanted) << level->name << " " << tiles;
                    }
                }
            }
        }
    }
}

// Whatever loop has which of them, and more anchors than are scored at one go.
TEST(Ranking, AnyNumberTogetherIsAsEachAlone) {
    Random random(9);
    for (const auto& [tiles, groups] : {std::pair(1, 4), {7, 8}, {9, 32}, {69, 32}, {150, 96}}) {
        const std::vector<int8_t> packed =
                random.values<int8_t>(size_t(tiles) * groups * 64, -127, 127);
        std::vector<int32_t> sums(size_t(tiles) * 16, 0);
        for (size_t i = 0; i < packed.size(); i++) {
            sums[i / (size_t(groups) * 64) * 16 + i % 64 / 4] += packed[i];
        }
        const std::vector<int32_t> offsets = random.values<int32_t>(tiles * 16, -1000000, 1000000);
        const AnchorTiles anchors{tiles, groups, packed.data(), sums.data(), offsets.data()};
        for (const int count : {0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 19, 32, 33}) {
            std::vector<std::vector<int8_t>> vectors;
            std::vector<std::vector<int32_t>> each(size_t(count),
                                                   std::vector<int32_t>(size_t(tiles) * 16, 99));
            std::vector<const int8_t*> x;
            std::vector<int32_t*> out;
            for (int q = 0; q < count; q++) {
                vectors.push_back(random.values<int8_t>(size_t(groups) * 4, -127, 127));
                out.push_back(each[size_t(q)].data());
            }
            for (const std::vector<int8_t>& vector : vectors) {
                x.push_back(vector.data());
            }
            rank_together(anchors, count, x.data(), -2, out.data());
            for (int q = 0; q < count; q++) {
                std::vector<int32_t> alone(size_t(tiles) * 16);
                simd().rank.tiles(anchors, x[size_t(q)], -2, alone.data());
                ASSERT_EQ(each[size_t(q)], alone) << tiles << " " << groups << " " << count;
            }
        }
    }
}

TEST(Ranking, MinimaAndSelection) {
    Random random(8);
    for (int n : {16, 32, 64, 128, 1040}) {
        for (int groups : {16, 64, 256}) {
            const std::vector<int32_t> scores = random.values<int32_t>(n, -50, 50);
            std::vector<int32_t> least(groups, INT32_MAX);
            std::vector<uint64_t> keys;
            const int32_t bound = groups == 16 ? INT32_MIN : int32_t(random.between(-50, 50));
            for (int i = 0; i < n; i++) {
                least[i % groups] = std::min(least[i % groups], scores[i]);
                if (scores[i] <= bound) {
                    keys.push_back(rank_key(scores[i], i));
                }
            }
            for (const Simd* level : levels()) {
                std::vector<int32_t> minima(groups, 7);
                level->rank.group_minima(n, scores.data(), groups, minima.data());
                EXPECT_EQ(minima, least) << level->name << " " << n << " " << groups;
                std::vector<uint64_t> found(n);
                found.resize(level->rank.select_within(n, scores.data(), bound, found.data()));
                EXPECT_EQ(found, keys) << level->name << " " << n << " bound " << bound;
            }
        }
    }
    EXPECT_LT(rank_key(INT32_MIN, 9), rank_key(-1, 0));
    EXPECT_LT(rank_key(-1, 9), rank_key(0, 0));
    EXPECT_LT(rank_key(5, 1), rank_key(5, 2));
}

TEST(AnchorDistance, IsTheSameAndNearTheExact) {
    Random random(3);
    for (int dp : {16, 32, 48, 128, 400, 4096}) {
        for (double scale : {1e-3, 50.0, 1e6}) {
            const std::vector<float> q = random.normals(dp, scale);
            std::vector<int8_t> a = random.values<int8_t>(dp, -127, 127);
            a[0] = 127;
            a[dp - 1] = -127;
            double expected = 0;
            for (int k = 0; k < dp; k++) {
                expected += (double(q[k]) - a[k]) * (double(q[k]) - a[k]);
            }
            const float first = levels()[0]->scan.anchor_distance(dp, q.data(), a.data());
            EXPECT_NEAR(first, expected, 1e-5 * expected);
            for (const Simd* level : levels()) {
                EXPECT_EQ(level->scan.anchor_distance(dp, q.data(), a.data()), first)
                        << level->name << dp;
            }
        }
    }
}

TEST(QuantizeQuery, IsTheSameAndRounds) {
    Random random(4);
    for (int n : {16, 32, 48, 160, 1024}) {
        for (double scale : {0.0, 1e-37, 1e-31, 1e-10, 1.0, 1e18}) {
            std::vector<float> y = random.normals(n, scale), b = random.normals(n, scale);
            std::vector<float> step = random.normals(n, 1, 3);
            for (int i = 0; i < n; i += 5) {
                step[i] = 0; // an empty slot
            }
            if (scale == 1) { // ties: halves of 127ths
                std::fill(b.begin(), b.end(), 0.0f);
                for (int i = 0; i < n; i++) {
                    step[i] = 1;
                    y[i] = i == 3 ? -127.0f : float(random.between(-126, 125)) + 0.5f;
                }
            }
            std::vector<double> exact(n);
            double most = 0;
            for (int i = 0; i < n; i++) {
                exact[i] = double(float(y[i] - b[i])) * step[i];
                most = std::max(most, std::fabs(exact[i]));
            }
            std::vector<float> first_w;
            std::vector<int8_t> first_q;
            for (const Simd* level : levels()) {
                std::vector<float> w(n, 99);
                std::vector<int8_t> q8(n, 99);
                const float largest = level->scan.quantize_query(n, y.data(), b.data(), step.data(),
                                                                 w.data(), q8.data());
                EXPECT_NEAR(largest, most, 1e-6 * most + 1e-44);
                for (int i = 0; i < n; i++) {
                    ASSERT_NEAR(w[i], exact[i], 1e-6 * most + 1e-44);
                    const double wanted = most > 2e-30 ? 127 * exact[i] / most : 0;
                    ASSERT_LE(std::fabs(q8[i] - wanted), most > 2e-30 || most < 5e-31 ? 0.501 : 127)
                            << level->name << " " << scale;
                    if (scale == 1 && i != 3) {
                        ASSERT_EQ(q8[i] % 2, 0) << "ties go to even";
                    }
                }
                if (first_w.empty()) {
                    first_w = w;
                    first_q = q8;
                }
                EXPECT_TRUE(same_bits(w, first_w) && same_bits(q8, first_q)) << level->name;
            }
        }
    }
}

TEST(GammaTables, AreTheEstimatorsBitByBit) {
    Random random(9);
    Estimator e;
    e.set_gamma(0.6f, 0.95f);
    for (bool inner_product : {false, true}) {
        for (double scale : {1e-20, 1.0, 3e7}) {
            const float D = float(random.unit() * scale), norm = float(random.unit() * scale);
            const float spread = float(random.unit() * 3), dot = float(random.normal() * scale);
            const Estimator::Steps steps = e.steps(inner_product);
            std::vector<float> add(kGammaSteps), mul(kGammaSteps);
            e.tables(steps, D, norm, spread, dot, add.data(), mul.data());
            for (const Simd* level : levels()) {
                std::vector<float> its_add(kGammaSteps), its_mul(kGammaSteps);
                level->scan.tables(steps,
                                   e.scales(inner_product, D, norm, e.length_unit(spread), dot),
                                   its_add.data(), its_mul.data());
                EXPECT_TRUE(same_bits(its_add, add) && same_bits(its_mul, mul)) << level->name;
            }
        }
    }
}

TEST(QuantizeQuery, ItsHalfIsExact) {
    Random random(6);
    for (int n : {16, 32, 48, 160, 4096}) {
        for (bool at_limits : {false, true}) {
            const auto q8 = random.values<int8_t>(n, at_limits ? 127 : -127, 127);
            const auto most = random.values<int16_t>(n, at_limits ? 255 : 0, 255);
            int32_t wanted = 0;
            for (int i = 0; i < n; i++) {
                wanted += q8[i] * most[i];
            }
            for (const Simd* level : levels()) {
                EXPECT_EQ(level->scan.half(n, q8.data(), most.data()), wanted) << level->name;
            }
        }
    }
}

TEST(ListTerms, AreThoseOfTheirParts) {
    Random random(12);
    for (int dp : {16, 48, 128, 400}) {
        for (int slots : {16, 32, 48, 64, 144, 400}) {
            for (double scale : {0.0, 1e-31, 1.0, 1e18}) {
                const auto q = random.normals(dp, 50), y = random.normals(slots, scale);
                const auto b = random.normals(slots, scale), step = random.normals(slots, 1, 3);
                const auto a = random.values<int8_t>(dp, -127, 127);
                const auto most = random.values<int16_t>(slots, 0, 255);
                std::vector<float> w(slots);
                std::vector<int8_t> q8(slots);
                const auto& scalar = levels()[0]->scan;
                const float distance = scalar.anchor_distance(dp, q.data(), a.data());
                const float largest = scalar.quantize_query(slots, y.data(), b.data(), step.data(),
                                                            w.data(), q8.data());
                const int32_t half = scalar.half(slots, q8.data(), most.data());
                for (const Simd* level : levels()) {
                    std::vector<float> its_w(slots, 99);
                    std::vector<int8_t> its_q8(slots, 99);
                    const ListTerms terms = level->scan.list_terms(
                            {dp, q.data(), a.data(), slots, y.data(), b.data(), step.data(),
                             most.data(), its_w.data(), its_q8.data()});
                    EXPECT_EQ(terms.list_distance, distance) << level->name;
                    EXPECT_EQ(terms.largest, largest) << level->name;
                    EXPECT_EQ(terms.half, half) << level->name;
                    EXPECT_TRUE(same_bits(its_w, w) && same_bits(its_q8, q8)) << level->name;
                }
            }
        }
    }
}

/// A block of `count` vectors laid out as codec.h says, from packed codes.
std::vector<uint8_t> block_of(const Layout& layout, const std::vector<uint8_t>& codes, int count) {
    std::vector<uint8_t> block;
    for (size_t r = 0; r < layout.row_lanes.size(); r++) {
        for (int v = 0; v < count; v++) {
            const uint8_t* code = &codes[size_t(v) * layout.code_size() + layout.row_offset[r]];
            block.insert(block.end(), code, code + layout.row_lanes[r]);
        }
    }
    for (int v = 0; v < count; v++) {
        const uint8_t* factors = &codes[size_t(v) * layout.code_size() + layout.code_bytes];
        block.insert(block.end(), factors, factors + kFactorBytes);
    }
    return block;
}

/// Scans for two queries at once on all levels and compares with one by one on the first level.
void check_together(const ListScan* const* lists, const uint8_t* blocks, int count) {
    static_assert(kScanTogether == 2);
    float alone[kScanTogether][kScanBatch];
    for (int q = 0; q < kScanTogether; q++) {
        levels()[0]->scan.blocks(*lists[q], blocks, count, 0, alone[q]);
    }
    for (const Simd* level : levels()) {
        for (float high : {alone[1][count / 2], -1e30f, NAN}) {
            const float bounds[] = {alone[0][count / 3], high};
            float together[kScanTogether][kScanBatch];
            float* distances[] = {together[0], together[1]};
            uint64_t within[] = {99, 99};
            level->scan.blocks_together(lists, blocks, count, bounds, distances, within);
            for (int q = 0; q < kScanTogether; q++) {
                ASSERT_EQ(std::memcmp(alone[q], together[q], size_t(count) * sizeof(float)), 0)
                        << level->name << " " << count << " query " << q;
                uint64_t wanted = 0;
                for (int v = 0; v < count; v++) {
                    wanted |= uint64_t(alone[q][v] <= bounds[q]) << v;
                }
                ASSERT_EQ(within[q], wanted) << level->name << " " << count << " query " << q;
            }
        }
    }
}

/// Codes in blocks and the scan of them for a query, all at random or extreme.
struct ScanCase {
    std::vector<uint8_t> codes;
    std::vector<int8_t> q, fine;
    AlignedBytes blocks;
    ListScan list{};
};

/// sum_i q_i (2^b_i - 1)
int32_t half_of(const Layout& layout, const std::vector<int8_t>& q) {
    int32_t half = 0;
    for (size_t i = 0; i < layout.fields.size(); i++) {
        for (int l = 0; l < layout.fields[i].lanes; l++) {
            half += q[4 * i + l] * ((1 << layout.fields[i].width) - 1);
        }
    }
    return half;
}

/// Components within +-most of a query, extreme ones for kinds 1 and 3.
std::vector<int8_t> components(const Layout& layout, int kind, int most, Random& random) {
    std::vector<int8_t> q(4 * layout.fields.size() + 4, 0);
    for (size_t i = 0; i < layout.fields.size(); i++) {
        for (int l = 0; l < layout.fields[i].lanes; l++) {
            const int v = kind == 1 ? most : kind == 3 ? -most : int(random.between(-most, most));
            q[4 * i + l] = int8_t(v);
        }
    }
    return q;
}

/// |r^|^2 / |r|^2 of each code of unusually long vectors.
const std::array<float, kGammaSteps> kFarValues = [] {
    std::array<float, kGammaSteps> values{};
    for (int i = 0; i < kGammaSteps; i++) {
        values[i] = 0.3f + 0.02f * float(i);
    }
    return values;
}();

/// A query's components: all that ListScan has of them.
ListScan scan_of(const Layout& layout, const std::vector<int8_t>& q) {
    ListScan list{};
    list.layout = &layout;
    list.query = reinterpret_cast<const uint32_t*>(q.data());
    list.usual_length = INFINITY;
    list.far = kFarValues.data();
    list.half = half_of(layout, q);
    return list;
}

ScanCase make_case(const Layout& layout, int count, int kind, Random& random) {
    const int size = layout.code_size();
    ScanCase made;
    made.codes.resize(size_t(count) * size);
    for (uint8_t& c : made.codes) {
        c = kind == 1 ? 255 : kind == 2 ? 0 : uint8_t(random.bits());
    }
    made.q = components(layout, kind, 127, random);
    made.list = scan_of(layout, made.q);
    made.list.list_distance = float(100 * random.unit());
    for (int g = 0; g < kGammaSteps; g++) {
        made.list.add[g] = float(random.normal());
        made.list.mul[g] = float(random.normal() * 1e-3);
    }
    made.list.inner_product = random.bits() % 2;
    made.list.reach =
            made.list.inner_product ? -made.list.list_distance : std::sqrt(made.list.list_distance);
    made.list.length_unit = float(2 * random.unit());
    if (random.bits() % 2) { // some vectors are unusually long
        made.list.usual_length = float(std::exp2(-6 + 16 * random.unit()));
        made.list.far_add = float(random.normal());
        made.list.far_mul = float(random.normal() * 1e-3);
    }
    // The slack that lists keep, in an allocation of exactly that size for the sanitizers.
    made.blocks = AlignedBytes(size_t(count) * size + 64, 0xa5);
    size_t laid = 0;
    for (int at = 0; at < count; at += kBlock) {
        const int in_block = std::min(kBlock, count - at);
        const std::vector<uint8_t> some(&made.codes[size_t(at) * size],
                                        &made.codes[size_t(at) * size] + size_t(in_block) * size);
        const std::vector<uint8_t> one = block_of(layout, some, in_block);
        std::copy(one.begin(), one.end(), made.blocks.begin() + laid);
        laid += one.size();
    }
    EXPECT_EQ(laid + 64, made.blocks.size());
    return made;
}

/// The distance of vector v by list_scan.h in doubles, with the error that floats may make.
struct Expected {
    double distance, error;
    bool bounded; ///< it is the least there can be
};

Expected formula(const ScanCase& made, int v) {
    const ListScan& list = made.list;
    const Layout& layout = *list.layout;
    const uint8_t* code = &made.codes[size_t(v) * layout.code_size()];
    std::vector<uint8_t> level(layout.slots());
    unpack_code(layout, code, level.data());
    double dot2 = 0;
    for (size_t i = 0; i < layout.fields.size(); i++) {
        for (int l = 0; l < layout.fields[i].lanes; l++) {
            const double fine = list.fine ? made.fine[4 * i + l] / 128.0 : 0.0;
            dot2 += (made.q[4 * i + l] + fine) *
                    (2.0 * level[4 * i + l] - ((1 << layout.fields[i].width) - 1));
        }
    }
    const int factors = code[layout.code_bytes] | code[layout.code_bytes + 1] << 8;
    const int gamma = factors & 31;
    const double l = std::ldexp(128 + (factors >> 5 & 127), (factors >> 12) - 13) - 0x1p-6;
    const bool is_far = l > list.usual_length;
    const double add = l * l * (is_far ? list.far_add * list.far[gamma] : list.add[gamma]);
    const double shift = l * (is_far ? list.far_mul : list.mul[gamma]) * dot2;
    const double estimate = list.list_distance + add - shift;
    const double apart = list.reach - list.length_unit * l;
    const double least = list.inner_product ? apart : apart * apart;
    const double largest = std::fabs(double(list.reach)) + list.length_unit * l;
    return {std::max(least, estimate),
            1e-6 * (std::fabs(double(list.list_distance)) + std::fabs(add) + std::fabs(shift) +
                    (list.inner_product ? largest : largest * largest)),
            least > estimate};
}

/// Scans with one plane or two, whichever the list has.
uint64_t scan_planes(const Simd& level, const ScanCase& made, int count, float bound,
                     float* distance) {
    const auto scan = made.list.fine ? level.scan.blocks_fine : level.scan.blocks;
    return scan(made.list, made.blocks.data(), count, bound, distance);
}

/// A fine plane besides: what rounding to the other one may leave.
void add_fine(const Layout& layout, int kind, Random& random, ScanCase& made) {
    made.fine = components(layout, kind, 64, random);
    made.list.fine = reinterpret_cast<const uint32_t*>(made.fine.data());
    made.list.fine_half = half_of(layout, made.fine);
}

/// Scans random or extreme codes on all levels and compares with the formula in doubles. Returns
/// how many of the vectors had the least distance that there can be.
int check_case(const ScanCase& made, int count) {
    std::vector<Expected> expected(count);
    int bounded = 0;
    for (int v = 0; v < count; v++) {
        expected[v] = formula(made, v);
        bounded += expected[v].bounded;
    }
    std::vector<float> first;
    for (const Simd* level : levels()) {
        std::vector<float> distance(kScanBatch, 0);
        scan_planes(*level, made, count, 0, distance.data());
        distance.resize(count);
        if (first.empty()) {
            first = distance;
        }
        for (int v = 0; v < count; v++) {
            EXPECT_NEAR(distance[v], expected[v].distance, expected[v].error)
                    << level->name << " vector " << v;
        }
        EXPECT_TRUE(same_bits(distance, first)) << level->name;
        // bounds: at one of the distances (equal counts), between them, none and all
        for (float bound :
             {distance[count / 2], float(expected[0].distance + 1), -1e30f, 1e30f, NAN}) {
            std::vector<float> again(kScanBatch);
            const uint64_t within = scan_planes(*level, made, count, bound, again.data());
            uint64_t wanted = 0;
            for (int v = 0; v < count; v++) {
                wanted |= uint64_t(first[v] <= bound) << v;
            }
            EXPECT_EQ(within, wanted) << level->name << " " << count << " bound " << bound;
        }
    }
    return bounded;
}

/// The same of one plane, two planes, and of two queries at once.
int check_scan(const Layout& layout, int count, int kind, Random& random) {
    ScanCase made = make_case(layout, count, kind, random);
    const int bounded = check_case(made, count);
    std::vector<int8_t> opposite(made.q.size());
    for (size_t i = 0; i < opposite.size(); i++) {
        opposite[i] = int8_t(-made.q[i]);
    }
    ListScan other = scan_of(layout, opposite);
    other.list_distance = 7;
    std::copy_n(made.list.mul, kGammaSteps, other.add);
    std::copy_n(made.list.add, kGammaSteps, other.mul);
    other.inner_product = !made.list.inner_product;
    other.reach = 2;
    other.length_unit = 0.7f;
    other.usual_length = 3;
    other.far_add = 0.4f;
    other.far_mul = 2e-3f;
    const ListScan* two[] = {&made.list, &other};
    check_together(two, made.blocks.data(), count);
    add_fine(layout, kind == 0 ? 3 : 0, random, made);
    check_case(made, count);
    add_fine(layout, kind, random, made);
    check_case(made, count);
    return bounded;
}

// Infinities and what is no number, in each place a list has for them: a vector gets the estimate
// unless what is known is more.
TEST(ScanBlocks, WhatIsNoNumberIsTheSameOnAllLevels) {
    Random random(9);
    const Layout layout = Layout::allocate(5, std::vector<double>(20, 1), 0);
    for (int trial = 0; trial < 300; trial++) {
        ScanCase made = make_case(layout, kScanBatch, 0, random);
        ListScan& list = made.list;
        const int gamma = int(random.between(0, kGammaSteps - 1));
        float* const places[] = {&list.list_distance, &list.add[gamma], &list.mul[gamma],
                                 &list.length_unit,   &list.reach,      &list.reach};
        const float wild = std::array{NAN, INFINITY, -INFINITY, 3e38f}[trial % 4];
        const int place = trial / 4 % 6;
        *places[place] = wild;
        if (place == 5) { // as both are where a query is too far away for floats
            list.list_distance = wild;
        }
        ListScan unbounded = list;
        unbounded.inner_product = true;
        unbounded.reach = -INFINITY;
        unbounded.length_unit = 0;
        std::vector<float> estimate(kScanBatch);
        levels()[0]->scan.blocks(unbounded, made.blocks.data(), kScanBatch, 0, estimate.data());
        for (const Simd* level : levels()) {
            SCOPED_TRACE(std::string(level->name) + " trial " + std::to_string(trial));
            std::vector<float> distance(kScanBatch);
            const uint64_t within =
                    level->scan.blocks(list, made.blocks.data(), kScanBatch, 50, distance.data());
            for (int v = 0; v < kScanBatch; v++) {
                const uint8_t* code = &made.codes[size_t(v) * layout.code_size()];
                const float l = decode_length(
                        uint16_t(code[layout.code_bytes] | code[layout.code_bytes + 1] << 8));
                const float away = list.length_unit * l;
                const float apart = list.reach - away;
                const float least = list.inner_product ? apart : apart * apart;
                const float wanted = least > estimate[v] ? least : estimate[v];
                // the sign and payload of a NaN mean nothing
                ASSERT_TRUE(std::isnan(wanted) ? std::isnan(distance[v]) : distance[v] == wanted)
                        << v << ": " << distance[v] << " for " << wanted;
                ASSERT_EQ(within >> v & 1, uint64_t(wanted <= 50)) << v;
            }
        }
    }
}

TEST(ScanBlocks, EveryCodeSizeAndCount) {
    Random random(5);
    int bounded = 0, all = 0;
    for (int bytes = 1; bytes <= 70; bytes++) {
        std::vector<double> variance(3 * bytes);
        for (size_t i = 0; i < variance.size(); i++) {
            variance[i] = std::exp(-double(i) * 5 / double(variance.size()) * random.unit());
        }
        std::sort(variance.rbegin(), variance.rend());
        const Layout layout = Layout::allocate(bytes, variance, 0.25);
        for (int count = 1; count <= kScanBatch; count += 1 + (bytes * count) % 3) {
            bounded += check_scan(layout, count, (bytes + count) % 4, random);
            all += count;
            if (HasFailure()) {
                FAIL() << bytes << " bytes";
            }
        }
    }
    // both sides of the bound were seen
    EXPECT_GT(bounded, all / 8);
    EXPECT_LT(bounded, all - all / 8);
}

TEST(ScanBlocks, EveryWidthAndShift) {
    Random random(6);
    for (int lanes : {4, 2, 1}) {
        for (int width = 1; width <= 8; width++) {
            for (int shift = 0; shift + width <= 8; shift++) {
                const Layout layout =
                        Layout::from_fields(lanes, {{0, lanes, width, shift, 0, 0, 0, false}});
                for (int kind = 0; kind < 4; kind++) {
                    check_scan(layout, 1 + int(random.between(0, 15)), kind, random);
                    ASSERT_FALSE(HasFailure()) << lanes << " " << width << " " << shift;
                }
            }
        }
    }
}

// Sums of 16-bit pairs would saturate if they were widened too late.
TEST(ScanBlocks, ManyWideFieldsDoNotSaturate) {
    Random random(7);
    for (int width = 1; width <= 8; width++) {
        std::vector<Field> fields;
        const int rows = 17;
        for (int r = 0; r < rows; r++) {
            for (int shift = 0; shift + width <= 8; shift += width) {
                fields.push_back({4 * int(fields.size()), 4, width, shift, r, 0, 0, false});
            }
        }
        const Layout layout = Layout::from_fields(4 * rows, fields);
        for (int kind = 0; kind < 4; kind++) {
            check_scan(layout, kScanBatch, kind, random);
            check_scan(layout, 5, kind, random);
            ASSERT_FALSE(HasFailure()) << width << " " << kind;
        }
    }
    // the largest code: 4096 dimensions of 8 bits
    const Layout largest = Layout::allocate(4096, std::vector<double>(4096, 1), 0);
    check_scan(largest, 16, 1, random);
    check_scan(largest, 3, 3, random);
}

} // namespace
} // namespace faiss_vlc
