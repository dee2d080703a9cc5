#include <faiss_vlc/train/stages/group.h>

#include <algorithm>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/model/rank_tables.h>

namespace faiss_vlc {

namespace {

constexpr int kIterations = 12;

/// floor(sum / weight + 1/2)
int32_t rounded_mean(int64_t sum, int64_t weight) {
    const int64_t twice = 2 * sum + weight;
    return int32_t(twice >= 0 ? twice / (2 * weight) : -((-twice + 2 * weight - 1) / (2 * weight)));
}

/// Of each anchor the nearest centre, the first of equal ones.
void find_nearest(int m, int dp, const int8_t* anchors8, const RankTables& centres,
                  std::vector<int32_t>& nearest) {
    constexpr int kAtOnce = 64;
    const AnchorTiles tiles = centres.tiles(centres.norm);
#pragma omp parallel for schedule(static) if (m > kAtOnce)
    for (int j = 0; j < m; j += kAtOnce) {
        simd().nearest.rows(tiles, std::min(kAtOnce, m - j), anchors8 + size_t(j) * dp,
                            &nearest[j]);
    }
}

/// Centres become the means of their anchors' rows; those without rows stay.
void move_centres(int m, int dp, const int8_t* anchors8, const int32_t* count,
                  const std::vector<int32_t>& nearest, std::vector<int8_t>& centres) {
    constexpr int kColumns = 64;
    const size_t groups = centres.size() / dp;
    std::vector<int64_t> sums(centres.size(), 0), weight(groups, 0);
    for (int j = 0; j < m; j++) {
        weight[nearest[j]] += count[j];
    }
#pragma omp parallel for schedule(static)
    for (int first = 0; first < dp; first += kColumns) {
        const int end = std::min(dp, first + kColumns);
        for (int j = 0; j < m; j++) {
            int64_t* sum = &sums[size_t(nearest[j]) * dp];
            for (int k = first; k < end; k++) {
                sum[k] += int64_t(count[j]) * anchors8[size_t(j) * dp + k];
            }
        }
        for (size_t g = 0; g < groups; g++) {
            for (int k = first; weight[g] > 0 && k < end; k++) {
                centres[g * dp + k] = int8_t(rounded_mean(sums[g * dp + k], weight[g]));
            }
        }
    }
}

} // namespace

int choose_groups(const Shape& shape, int code_size) {
    // axes that are likely to be kept
    const int64_t axes = std::min(shape.d, 5 * code_size);
    int groups = 16;
    while (groups > 1 && (shape.n_train < int64_t(groups) * 4 * shape.d || shape.m < groups * 8 ||
                          groups * axes * shape.d * 6 > shape.n * code_size)) {
        groups /= 2;
    }
    return groups;
}

std::vector<uint8_t> group_anchors(int m, int dp, const int8_t* anchors8, const int32_t* count,
                                   int groups, uint32_t seed) {
    std::vector<int8_t> centres(size_t(groups) * dp);
    for (int g = 0; g < groups; g++) {
        const int8_t* a = anchors8 + size_t(hash32(seed, uint32_t(g), 5) % uint32_t(m)) * dp;
        std::copy_n(a, dp, &centres[size_t(g) * dp]);
    }
    std::vector<int32_t> nearest(m);
    for (int iteration = 0; iteration < kIterations; iteration++) {
        find_nearest(m, dp, anchors8, RankTables(groups, dp, centres.data()), nearest);
        move_centres(m, dp, anchors8, count, nearest, centres);
    }
    std::vector<uint8_t> group(nearest.begin(), nearest.end());
    std::vector<int> number(groups, -1);
    int used = 0;
    for (uint8_t& g : group) {
        number[g] = number[g] < 0 ? used++ : number[g];
        g = uint8_t(number[g]);
    }
    return group;
}

} // namespace faiss_vlc
