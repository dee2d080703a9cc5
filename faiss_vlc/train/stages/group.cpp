#include <faiss_vlc/train/stages/group.h>

#include <algorithm>
#include <climits>

#include <faiss_vlc/lib/integer_math.h>

namespace faiss_vlc {

namespace {

constexpr int kIterations = 12;

/// The nearest of the centres (int32 groups x dp), the first among equals.
int nearest_centre(int dp, const int8_t* a, const std::vector<int32_t>& centres, int groups) {
    int best = 0;
    int64_t least = INT64_MAX;
    for (int g = 0; g < groups; g++) {
        const int32_t* centre = &centres[size_t(g) * dp];
        int64_t distance = 0;
        for (int k = 0; k < dp; k++) {
            distance += (a[k] - centre[k]) * (a[k] - centre[k]);
        }
        if (distance < least) {
            least = distance;
            best = g;
        }
    }
    return best;
}

/// floor(sum / weight + 1/2)
int32_t rounded_mean(int64_t sum, int64_t weight) {
    const int64_t twice = 2 * sum + weight;
    return int32_t(twice >= 0 ? twice / (2 * weight) : -((-twice + 2 * weight - 1) / (2 * weight)));
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
    std::vector<int32_t> centres(size_t(groups) * dp);
    for (int g = 0; g < groups; g++) {
        const int8_t* a = anchors8 + size_t(hash32(seed, uint32_t(g), 5) % uint32_t(m)) * dp;
        std::copy_n(a, dp, &centres[size_t(g) * dp]);
    }
    std::vector<uint8_t> group(m, 0);
    for (int iteration = 0; iteration < kIterations; iteration++) {
#pragma omp parallel for schedule(static)
        for (int j = 0; j < m; j++) {
            group[j] = uint8_t(nearest_centre(dp, anchors8 + size_t(j) * dp, centres, groups));
        }
        std::vector<int64_t> sums(centres.size(), 0), weight(groups, 0);
        for (int j = 0; j < m; j++) {
            weight[group[j]] += count[j];
            for (int k = 0; k < dp; k++) {
                sums[size_t(group[j]) * dp + k] += int64_t(count[j]) * anchors8[size_t(j) * dp + k];
            }
        }
        for (int g = 0; g < groups; g++) {
            for (int k = 0; weight[g] > 0 && k < dp; k++) {
                centres[size_t(g) * dp + k] = rounded_mean(sums[size_t(g) * dp + k], weight[g]);
            }
        }
    }
    std::vector<int> number(groups, -1);
    int used = 0;
    for (uint8_t& g : group) {
        number[g] = number[g] < 0 ? used++ : number[g];
        g = uint8_t(number[g]);
    }
    return group;
}

} // namespace faiss_vlc
