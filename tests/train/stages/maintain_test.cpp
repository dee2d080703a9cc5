#include <faiss_vlc/train/stages/maintain.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/train/stages/update.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

Shape shape_of(int m, int d, int64_t n_train = 0) {
    Shape shape;
    shape.n = shape.n_train = n_train;
    shape.m = m;
    shape.d = d;
    shape.dp = padded_dim(d);
    return shape;
}

/// Anchors of a shape with everything that moves change.
struct Anchored {
    explicit Anchored(const Shape& s, std::vector<int32_t> values, uint64_t seed)
        : shape(s), anchor(std::move(values)), anchor8(anchor.size()), norm(s.m) {
        for (size_t i = 0; i < anchor.size(); i++) {
            anchor[i] = int(i % s.dp) < s.d ? anchor[i] : 0;
        }
        Random random(seed);
        bias = random.values<int32_t>(s.m, -1000, 1000);
        count = random.values<int32_t>(s.m, 0, 50);
        spread = random.values<int32_t>(s.m, 0, 5000);
        refresh_anchors(0, s.m, s.dp, anchor.data(), anchor8.data(), norm.data());
    }
    void apply(const std::vector<Move>& moves) {
        apply_moves(shape, moves.data(), int(moves.size()), count.data(),
                    {anchor.data(), anchor8.data(), norm.data(), spread.data(), bias.data()});
    }
    /// The int8 copies and norms belong to the anchors.
    void expect_fresh() const {
        for (int j = 0; j < shape.m; j++) {
            int64_t square = 0;
            for (int k = 0; k < shape.dp; k++) {
                const size_t at = size_t(j) * shape.dp + k;
                ASSERT_EQ(anchor8[at], int(std::floor(anchor[at] / 65536.0 + 0.5)));
                square += int64_t(anchor8[at]) * anchor8[at];
            }
            ASSERT_EQ(norm[j], square);
        }
    }

    Shape shape;
    std::vector<int32_t> anchor;
    std::vector<int8_t> anchor8;
    std::vector<int32_t> norm, bias, count, spread;
};

TEST(Nearest, MatchesBruteForce) {
    Random random(1);
    for (int m : {1, 2, 3, 17, 101, 130}) {
        for (int d : {1, 16, 21}) {
            const int dp = padded_dim(d);
            std::vector<int8_t> a(size_t(m) * dp, 0);
            std::vector<int32_t> norm(m, 0), label(m, 9), dist(m, 9);
            const int range = m % 2 ? 1 : 127;
            for (int j = 0; j < m; j++) {
                for (int k = 0; k < d; k++) {
                    a[j * dp + k] = int8_t(random.between(-range, range));
                    norm[j] += a[j * dp + k] * a[j * dp + k];
                }
            }
            nearest_anchors(m, dp, a.data(), norm.data(), label.data(), dist.data());
            for (int j = 0; j < m; j++) {
                int best = -1;
                int64_t least = INT_MAX;
                for (int o = 0; o < m; o++) {
                    int64_t square = 0;
                    for (int k = 0; k < d; k++) {
                        const int64_t u = a[j * dp + k] - a[o * dp + k];
                        square += u * u;
                    }
                    if (o != j && square < least) {
                        best = o;
                        least = square;
                    }
                }
                ASSERT_EQ(label[j], best);
                ASSERT_EQ(dist[j], least);
            }
        }
    }
}

TEST(Apply, MergesToTheWeightedMean) {
    Random random(2);
    for (int d : {1, 16, 19}) {
        const Shape shape = shape_of(6, d);
        Anchored a(shape, random.values<int32_t>(6 * shape.dp, -kMaxAnchor, kMaxAnchor), 3);
        a.count = {3, 0, 0, 2000000000, 7, 1};
        const Anchored before = a;
        a.apply({{Move::merge, 0, 1, 0}, {Move::merge, 4, 3, 0}});
        a.expect_fresh();
        const int pairs[2][2] = {{0, 1}, {4, 3}};
        for (const auto& [dst, src] : pairs) {
            const double c = std::max(1, a.count[dst]), s = std::max(1, a.count[src]);
            for (int k = 0; k < d; k++) {
                const double mean = (before.anchor[dst * shape.dp + k] * c +
                                     before.anchor[src * shape.dp + k] * s) /
                                    (c + s);
                ASSERT_NEAR(a.anchor[dst * shape.dp + k], mean, 0.5 + 1e-6);
                ASSERT_EQ(a.anchor[src * shape.dp + k], before.anchor[src * shape.dp + k]);
            }
        }
        ASSERT_EQ(a.bias, before.bias);
        for (int j : {2, 5}) {
            ASSERT_TRUE(std::equal(a.anchor.begin() + j * shape.dp,
                                   a.anchor.begin() + (j + 1) * shape.dp,
                                   before.anchor.begin() + j * shape.dp));
        }
    }
    // halves go away from zero
    Anchored a(shape_of(2, 2), std::vector<int32_t>(32, 0), 1);
    a.count = {1, 1};
    a.anchor[0] = 1;
    a.anchor[1] = -1;
    a.apply({{Move::merge, 0, 1, 0}});
    EXPECT_EQ(a.anchor[0], 1);
    EXPECT_EQ(a.anchor[1], -1);
}

TEST(Apply, SplitsSymmetricallyBySpread) {
    Random random(4);
    for (int d : {1, 16, 19, 100}) {
        const Shape shape = shape_of(4, d);
        Anchored a(shape, random.values<int32_t>(4 * shape.dp, -kMaxAnchor, kMaxAnchor), 5);
        a.spread = {0, 160, 0, 30000};
        const Anchored before = a;
        const uint32_t salt = 77;
        a.apply({{Move::split, 0, 1, salt}, {Move::split, 2, 3, salt}});
        a.expect_fresh();
        const int root = int(std::floor(std::sqrt(double(d))));
        for (int src : {1, 3}) {
            const int dst = src - 1;
            for (int k = 0; k < shape.dp; k++) {
                const int64_t at = before.anchor[src * shape.dp + k];
                const int64_t random16 =
                        int64_t(hash32(salt, uint32_t(src), uint32_t(k)) % 65536) - 32768;
                const int64_t offset = k < d ? random16 * before.spread[src] / (16 * root) : 0;
                const auto clamped = [](int64_t v) {
                    return std::clamp<int64_t>(v, -127 * 65536, 127 * 65536);
                };
                ASSERT_EQ(a.anchor[dst * shape.dp + k], clamped(at + offset));
                ASSERT_EQ(a.anchor[src * shape.dp + k], clamped(at - offset));
            }
            ASSERT_EQ(a.bias[dst], before.bias[src]);
            ASSERT_EQ(a.bias[src], before.bias[src]);
        }
    }
    // The halves part by a good share of the spread, which counts in sixteenths.
    const Shape shape = shape_of(2, 100);
    Anchored a(shape, std::vector<int32_t>(2 * shape.dp, 0), 5);
    a.spread = {0, 20 * 16};
    a.apply({{Move::split, 0, 1, 1}});
    double square = 0;
    for (int k = 0; k < 100; k++) {
        square += std::pow(a.anchor[k] / 65536.0, 2);
    }
    EXPECT_GT(std::sqrt(square), 0.2 * 20);
    EXPECT_LT(std::sqrt(square), 0.4 * 20);
}

TEST(Quantize, SnapsToEachGrid) {
    Random random(6);
    const Shape shape = shape_of(5, 21);
    Anchored a(shape, random.values<int32_t>(5 * shape.dp, -kMaxAnchor, kMaxAnchor), 7);
    a.anchor[0] = 3 << 15;
    a.anchor[1] = 1;
    a.anchor[2] = kMaxAnchor;
    a.anchor[3] = (100 << 16) + (1 << 11); // half a step of float16 at 64 to 128 is 2^-5
    a.anchor[4] = (100 << 16) + (3 << 11);
    a.spread = {0, 1, 2049, 4102, 60000}; // 128 1/16 and 256 3/8 are ties
    refresh_anchors(0, 5, shape.dp, a.anchor.data(), a.anchor8.data(), a.norm.data());
    Anchored b = a;
    const Anchored before = a;
    quantize_anchors(shape, AnchorGrid::int8, a.anchor.data(), a.anchor8.data(), a.norm.data(),
                     a.spread.data());
    a.expect_fresh();
    for (size_t i = 0; i < a.anchor.size(); i++) {
        ASSERT_EQ(a.anchor[i], before.anchor8[i] * 65536);
    }
    quantize_anchors(shape, AnchorGrid::float16, b.anchor.data(), b.anchor8.data(), b.norm.data(),
                     b.spread.data());
    b.expect_fresh();
    std::vector<double> halves;
    for (int h = 0; h < 0x7c00; h++) {
        halves.push_back(half_to_float(uint16_t(h)));
    }
    for (size_t i = 0; i < b.anchor.size(); i++) {
        const double wanted = std::fabs(before.anchor[i] / 65536.0);
        const double met = std::fabs(b.anchor[i] / 65536.0);
        const auto above = std::lower_bound(halves.begin(), halves.end(), wanted);
        const double nearest =
                above == halves.begin() ? *above : std::min(*above - wanted, wanted - *(above - 1));
        ASSERT_TRUE(std::binary_search(halves.begin(), halves.end(), met)) << met;
        ASSERT_EQ(std::fabs(met - wanted), above == halves.begin() ? *above - wanted : nearest);
    }
    EXPECT_EQ(b.anchor[3], (100 << 16));             // ties to even
    EXPECT_EQ(b.anchor[4], (100 << 16) + (1 << 13)); // 1.5 steps: to 2
    EXPECT_EQ(a.spread, b.spread);
    EXPECT_EQ(a.spread, (std::vector<int32_t>{0, 1, 2048, 4104, 60000}));
}

/// plan_moves of vectors.
struct Plan : MovePlan {
    void make(const Shape& shape, const MaintainParams& params, const std::vector<int32_t>& count,
              const std::vector<int64_t>& energy, const std::vector<int32_t>& label,
              const std::vector<int32_t>& dist) {
        plan_moves(shape, params, 5, {count.data(), energy.data(), label.data(), dist.data()},
                   *this);
    }
};

void expect_disjoint(const std::vector<Move>& moves, int m) {
    std::set<int> seen;
    for (const Move& move : moves) {
        for (int j : {move.dst, move.src}) {
            ASSERT_TRUE(j >= 0 && j < m);
            ASSERT_TRUE(seen.insert(j).second) << "anchor " << j << " is in two moves";
        }
    }
}

TEST(Plan, NoAnchorIsInTwoMovesOfOneList) {
    Random random(8);
    int merged = 0, filled = 0;
    for (int trial = 0; trial < 5000; trial++) {
        const int m = int(random.between(1, 30));
        std::vector<int32_t> count(m), label(m, -1), dist(m, INT_MAX);
        std::vector<int64_t> energy(m);
        int64_t n = 0;
        for (int j = 0; j < m; j++) {
            count[j] = random.between(0, 3) ? int32_t(random.between(0, 5))
                                            : int32_t(random.between(0, 500));
            energy[j] = count[j] ? count[j] * random.between(0, 100) : 0;
            n += count[j];
            if (m > 1) {
                do {
                    label[j] = int32_t(random.between(0, m - 1));
                } while (label[j] == j);
                dist[j] = int32_t(random.between(0, random.between(0, 1) ? 3 : 1000));
            }
        }
        MaintainParams params;
        params.merge_fraction = trial % 2 ? 1.0f : 0.25f;
        params.split_factor = 1 + float(random.unit() * 4);
        Plan plan;
        const Shape shape = shape_of(m, 4, n);
        plan.make(shape, params, count, energy, label, dist);
        expect_disjoint(plan.merges, m);
        expect_disjoint(plan.splits, m);
        std::set<int> freed;
        for (const Move& move : plan.merges) {
            ASSERT_EQ(move.kind, Move::merge);
            ASSERT_TRUE(label[move.dst] == move.src || label[move.src] == move.dst);
            freed.insert(move.src);
        }
        size_t by_merge = 0;
        for (const Move& move : plan.splits) {
            ASSERT_EQ(move.kind, Move::split);
            ASSERT_GT(count[move.src], 1);
            // what a split fills was empty or merged away, and never a neighbour that took it in
            ASSERT_TRUE(count[move.dst] == 0 || freed.count(move.dst));
            by_merge += freed.count(move.dst);
            for (const Move& merge : plan.merges) {
                ASSERT_NE(move.src, merge.dst);
            }
        }
        ASSERT_EQ(by_merge, plan.merges.size());
        merged += int(plan.merges.size());
        filled += int(plan.splits.size() - by_merge);
    }
    EXPECT_GT(merged, 100);
    EXPECT_GT(filled, 100);
}

TEST(Plan, MergesTwinsForAnOverfullList) {
    // 0 and 3 are twins, 1 holds most of the vectors, 2 and 4 are as they should be
    const std::vector<int32_t> count = {10, 400, 40, 10, 40};
    const std::vector<int64_t> energy = {100, 90000, 400, 100, 400};
    const std::vector<int32_t> label = {3, 0, 1, 0, 2};
    const std::vector<int32_t> dist = {4, 900, 900, 4, 900};
    Plan plan;
    plan.make(shape_of(5, 4, 500), {0.25f, 2}, count, energy, label, dist);
    ASSERT_EQ(plan.merges.size(), 1u);
    EXPECT_EQ(plan.merges[0].dst, 0);
    EXPECT_EQ(plan.merges[0].src, 3);
    ASSERT_EQ(plan.splits.size(), 1u);
    EXPECT_EQ(plan.splits[0].dst, 3);
    EXPECT_EQ(plan.splits[0].src, 1);
    // nothing too big: twins stay
    plan.make(shape_of(5, 4, 500), {0.25f, 50}, count, energy, label, dist);
    EXPECT_TRUE(plan.merges.empty() && plan.splits.empty());
    // too far apart
    plan.make(shape_of(5, 4, 500), {0.05f, 2}, count, energy, label, dist);
    EXPECT_TRUE(plan.merges.empty() && plan.splits.empty());
}

TEST(Plan, EmptyAnchorsTakeHalfOfTheMostEnergetic) {
    Plan plan;
    plan.make(shape_of(4, 4, 60), {}, {0, 20, 40, 0}, {0, 50, 70, 0}, {1, 2, 1, 1}, {9, 9, 9, 9});
    ASSERT_EQ(plan.splits.size(), 2u);
    EXPECT_EQ(plan.splits[0].dst, 0);
    EXPECT_EQ(plan.splits[0].src, 2);
    EXPECT_EQ(plan.splits[1].dst, 3);
    EXPECT_EQ(plan.splits[1].src, 1);
    EXPECT_TRUE(plan.merges.empty());
    // nothing to split: one vector each, or no energy
    plan.make(shape_of(3, 4, 2), {}, {0, 1, 1}, {0, 50, 70}, {1, 2, 1}, {9, 9, 9});
    EXPECT_TRUE(plan.splits.empty());
    plan.make(shape_of(2, 4, 9), {}, {0, 9}, {0, 0}, {1, 0}, {9, 9});
    EXPECT_TRUE(plan.splits.empty());
    plan.make(shape_of(1, 4, 9), {}, {9}, {100}, {-1}, {INT_MAX});
    EXPECT_TRUE(plan.splits.empty());
}

// Far blobs of unequal size, and more starting anchors than fit in the small one: training has to
// move anchors over, which gradients alone can't.
TEST(Maintain, TrainingMergesAndSplits) {
    constexpr int kDim = 8;
    Random random(9);
    std::vector<float> x;
    for (int i = 0; i < 2000; i++) {
        const int blob = i % 20 == 0 ? 1 + i / 20 % 6 : 0; // one dense blob, six sparse wide ones
        for (int k = 0; k < kDim; k++) {
            const double centre = blob && k == blob ? 60 : 0;
            x.push_back(float(centre + random.normal() * (blob ? 6.0 : 0.2)));
        }
    }
    VLCParameters params;
    params.m = 16;
    params.device = "reference";
    params.merge_fraction = 0.9f;
    params.split_factor = 1.5f;
    const Sample sample = draw_sample(2000, kDim, x.data(), params);
    ReferenceEngine engine;
    const Anchors with = anneal(engine, sample, params, false);
    EXPECT_GT(with.merges, 0);
    EXPECT_GT(with.splits, 0);
    params.maintain_until = 0;
    const Anchors without = anneal(engine, sample, params, false);
    EXPECT_EQ(without.merges + without.splits, 0);
    const auto energy = [](const Anchors& a) {
        double sum = 0;
        for (int64_t e : a.energy) {
            sum += double(e);
        }
        return sum;
    };
    EXPECT_LT(energy(with), energy(without));
}

} // namespace
} // namespace faiss_vlc
