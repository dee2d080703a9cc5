#include <faiss_vlc/train/stages/reduce.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

using Wide = __int128;

TEST(Gibbs, TableIsRoundedExp) {
    const auto& table = gibbs_table();
    EXPECT_EQ(table[0], 256);
    for (int u = 0; u < 256; u++) {
        EXPECT_EQ(table[u], int(std::lround(256 * std::exp(-u / 32.0)))) << u;
    }
    EXPECT_EQ(table[255], 0);
}

Wide root_of(Wide v) {
    Wide root = Wide(std::sqrt(double(v)));
    while (root * root > v) {
        root--;
    }
    while ((root + 1) * (root + 1) <= v) {
        root++;
    }
    return root;
}

/// The specification in wide integers.
std::vector<int32_t> naive_weights(int K, const int32_t* label, const int32_t* dist,
                                   const int32_t* bias, const ReduceParams& params) {
    std::vector<Wide> e(K, 0);
    Wide total = 0;
    for (int r = 0; r < K; r++) {
        if (label[r] >= 0) {
            const Wide excess = Wide(dist[r]) + bias[label[r]] - dist[0] - bias[label[0]];
            const Wide u = excess < 0 ? Wide(0) : excess * params.inv_t / 65536;
            e[r] = u > 255 ? 0 : Wide(std::floor(256 * std::exp(-double(u) / 32) + 0.5));
            total += e[r];
        }
    }
    std::vector<int32_t> weights(K, 0);
    for (int r = 0; r < K; r++) {
        if (label[r] < 0) {
            continue;
        }
        Wide w = (256 * e[r] + total / 2) / total;
        if (dist[r] > params.tau2 && params.robust == Robust::trim) {
            w = 0;
        } else if (dist[r] > params.tau2 && params.robust == Robust::huber) {
            const Wide s = root_of(dist[r]);
            w = (w * root_of(params.tau2) + s / 2) / s;
        }
        weights[r] = int32_t(w);
    }
    return weights;
}

TEST(Weights, ByHand) {
    const int32_t label[3] = {0, 1, -1};
    const int32_t bias[2] = {0, 0};
    ReduceParams params;
    params.inv_t = 32 * 65536 / 100; // T = 100
    int32_t w[3];
    // excess 100 = T: u = 31 (32 * 65536 / 100 loses a fraction), e = 256 and 256 exp(-31/32) = 97
    const int32_t dist[3] = {50, 150, INT_MAX};
    row_weights(3, label, dist, bias, params, w);
    EXPECT_EQ(w[0], 186); // (65536 + 176) / 353
    EXPECT_EQ(w[1], 70);  // (24832 + 176) / 353
    EXPECT_EQ(w[2], 0);
    params.robust = Robust::huber;
    params.tau2 = 100; // tau 10; sqrt(150) = 12
    row_weights(3, label, dist, bias, params, w);
    EXPECT_EQ(w[0], 186);
    EXPECT_EQ(w[1], 58); // (700 + 6) / 12
    params.robust = Robust::trim;
    row_weights(3, label, dist, bias, params, w);
    EXPECT_EQ(w[0], 186);
    EXPECT_EQ(w[1], 0);
    params.tau2 = 49; // at the threshold is within it, beyond is not
    row_weights(3, label, dist, bias, params, w);
    EXPECT_EQ(w[0], 0);
    params.tau2 = 50;
    row_weights(3, label, dist, bias, params, w);
    EXPECT_EQ(w[0], 186);
}

TEST(Weights, MatchTheSpecification) {
    Random random(1);
    for (int trial = 0; trial < 20000; trial++) {
        const int K = int(random.between(1, 4));
        const int valid = int(random.between(1, K));
        const int64_t reach = trial % 2 ? 1000 : 260000000;
        std::vector<int32_t> label(K, -1), dist(K, INT_MAX), bias(6);
        for (int32_t& b : bias) {
            b = int32_t(random.between(-reach, reach));
        }
        for (int r = 0; r < valid; r++) {
            label[r] = r + 1;
            dist[r] = int32_t(random.between(0, reach));
        }
        // the first is the best by distance plus bias, as assign leaves it
        for (int r = 1; r < valid; r++) {
            if (int64_t(dist[r]) + bias[label[r]] < int64_t(dist[0]) + bias[label[0]]) {
                std::swap(dist[r], dist[0]);
                std::swap(label[r], label[0]);
            }
        }
        ReduceParams params;
        params.inv_t = trial % 7 == 0 ? INT_MAX : int32_t(1 + (random.bits() >> (33 + trial % 30)));
        params.robust = Robust(trial % 3);
        params.tau2 = trial % 11 == 0   ? 0
                      : trial % 13 == 0 ? INT_MAX
                                        : int32_t(random.between(0, reach));
        std::vector<int32_t> w(K, -7);
        row_weights(K, label.data(), dist.data(), bias.data(), params, w.data());
        ASSERT_EQ(w, naive_weights(K, label.data(), dist.data(), bias.data(), params)) << trial;
        int32_t total = 0;
        for (int32_t v : w) {
            ASSERT_TRUE(v >= 0 && v <= 256);
            total += v;
        }
        if (params.robust == Robust::none) {
            ASSERT_NEAR(total, 256, K);
        }
        if (K == 1 && params.robust == Robust::none) {
            ASSERT_EQ(w[0], 256);
        }
    }
}

TEST(Reduce, SumsMatchBruteForce) {
    Random random(2);
    for (int64_t n : {1, 2, 50, 333}) {
        for (int m : {1, 2, 17, 40}) {
            for (int d : {1, 16, 19}) {
                Shape shape;
                shape.n = n;
                shape.n_train = std::max<int64_t>(1, n - n / 10);
                shape.d = d;
                shape.dp = padded_dim(d);
                shape.m = m;
                shape.neighbours = std::min(m, 1 + int(n + m + d) % 4);
                const int K = shape.neighbours;
                std::vector<int8_t> x = random.values<int8_t>(n * shape.dp, -127, 127);
                std::vector<int32_t> bias = random.values<int32_t>(m, -500, 500);
                std::vector<int32_t> label(n * K), dist(n * K);
                for (int64_t i = 0; i < n; i++) {
                    const int first = int(random.between(0, m - 1));
                    for (int r = 0; r < K; r++) {
                        label[i * K + r] = r > 0 && i % 5 == 0 ? -1 : (first + r) % m;
                        dist[i * K + r] =
                                label[i * K + r] < 0 ? INT_MAX : int32_t(random.between(0, 9000));
                    }
                }
                ReduceParams params;
                params.inv_t = int32_t(random.between(1, 100000));
                params.robust = Robust(int(random.between(0, 2)));
                params.tau2 = 4000;
                std::vector<int64_t> weight(m, -1), sum(size_t(m) * shape.dp, -1), energy(m, -1);
                std::vector<int32_t> count(m, -1);
                reduce_rows(shape, x.data(), label.data(), dist.data(), bias.data(), params,
                            {weight.data(), sum.data(), count.data(), energy.data()});
                std::vector<std::vector<int32_t>> w;
                for (int64_t i = 0; i < shape.n_train; i++) {
                    w.push_back(naive_weights(K, &label[i * K], &dist[i * K], bias.data(), params));
                }
                for (int j = 0; j < m; j++) {
                    int64_t weights = 0, rows = 0, energies = 0;
                    std::vector<int64_t> sums(shape.dp, 0);
                    for (int64_t i = 0; i < shape.n_train; i++) {
                        rows += label[i * K] == j;
                        energies += label[i * K] == j ? dist[i * K] : 0;
                        for (int r = 0; r < K; r++) {
                            if (label[i * K + r] == j) {
                                weights += w[i][r];
                                for (int k = 0; k < shape.dp; k++) {
                                    sums[k] += int64_t(w[i][r]) * x[i * shape.dp + k];
                                }
                            }
                        }
                    }
                    ASSERT_EQ(weight[j], weights);
                    ASSERT_EQ(count[j], rows);
                    ASSERT_EQ(energy[j], energies);
                    ASSERT_TRUE(std::equal(sums.begin(), sums.end(), &sum[size_t(j) * shape.dp]));
                }
            }
        }
    }
}

} // namespace
} // namespace faiss_vlc
