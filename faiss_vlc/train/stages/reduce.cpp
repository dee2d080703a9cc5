#include <faiss_vlc/train/stages/reduce.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/lib/integer_math.h>

namespace faiss_vlc {

const std::array<int16_t, 256>& gibbs_table() {
    static const std::array<int16_t, 256> table = [] {
        std::array<int16_t, 256> t{};
        for (int u = 0; u < 256; u++) {
            t[u] = int16_t(std::floor(256 * stable_exp(-u / 32.0) + 0.5));
        }
        return t;
    }();
    return table;
}

void row_weights(int neighbours, const int32_t* label, const int32_t* dist, const int32_t* bias,
                 const ReduceParams& params, int32_t* weights) {
    const auto& table = gibbs_table();
    int32_t total = 0;
    for (int r = 0; r < neighbours; r++) {
        weights[r] = 0;
        if (label[r] < 0) {
            continue;
        }
        const int64_t excess = int64_t(dist[r]) + bias[label[r]] - dist[0] - bias[label[0]];
        const int64_t u = (std::max<int64_t>(excess, 0) * params.inv_t) >> 16;
        weights[r] = table[std::min<int64_t>(u, 255)];
        total += weights[r];
    }
    const int32_t tau = int32_t(isqrt(params.tau2));
    for (int r = 0; r < neighbours; r++) {
        if (label[r] < 0) {
            continue;
        }
        weights[r] = (256 * weights[r] + total / 2) / total;
        if (params.robust != Robust::none && dist[r] > params.tau2) {
            const int32_t s = int32_t(isqrt(dist[r]));
            weights[r] = params.robust == Robust::huber
                                 ? int32_t((int64_t(weights[r]) * tau + s / 2) / s)
                                 : 0;
        }
    }
}

void reduce_rows(const Shape& shape, const int8_t* x, const int32_t* label, const int32_t* dist,
                 const int32_t* bias, const ReduceParams& params, const AnchorSums& sums) {
    const auto [weight, sum, count, energy] = sums;
    const int K = shape.neighbours;
    std::fill_n(weight, shape.m, 0);
    std::fill_n(sum, int64_t(shape.m) * shape.dp, 0);
    std::fill_n(count, shape.m, 0);
    std::fill_n(energy, shape.m, 0);
    for (int64_t i = 0; i < shape.n_train; i++) {
        int32_t w[kMaxNeighbours];
        row_weights(K, label + i * K, dist + i * K, bias, params, w);
        count[label[i * K]]++;
        energy[label[i * K]] += dist[i * K];
        for (int r = 0; r < K; r++) {
            if (w[r] == 0) {
                continue;
            }
            const int32_t j = label[i * K + r];
            weight[j] += w[r];
            for (int k = 0; k < shape.dp; k++) {
                sum[int64_t(j) * shape.dp + k] += w[r] * x[i * shape.dp + k];
            }
        }
    }
}

} // namespace faiss_vlc
