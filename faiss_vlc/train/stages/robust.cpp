#include <faiss_vlc/train/stages/robust.h>

#include <algorithm>
#include <climits>
#include <numeric>

namespace faiss_vlc {

Typical typical_distances(int64_t n_train, float kappa, std::vector<int32_t>& dist) {
    const int64_t rows = std::min(n_train, kTypicalRows);
    std::nth_element(dist.begin(), dist.begin() + rows / 2, dist.begin() + rows);
    const double median = std::max(1, dist[rows / 2]);
    Typical found;
    found.tau2 = int64_t(std::min(double(kappa) * kappa * median + 0.5, double(INT_MAX)));
    int64_t all = 0;
    int64_t clipped = 0;
    for (int64_t i = 0; i < rows; i++) {
        all += dist[i];
        clipped += std::min<int64_t>(dist[i], found.tau2);
    }
    found.inliers = all > 0 ? double(clipped) / double(all) : 1.0;
    return found;
}

std::vector<int64_t> starting_rows(const Sample& sample, Robust robust) {
    const Shape shape = sample.shape8();
    std::vector<int64_t> rows(shape.m);
    std::iota(rows.begin(), rows.end(), 0);
    if (robust == Robust::none) {
        return rows;
    }
    const int64_t seen = std::min<int64_t>(shape.n_train, 2 * int64_t(shape.m));
    std::vector<int32_t> square(seen, 0);
    for (int64_t i = 0; i < seen; i++) {
        for (int k = 0; k < shape.d; k++) {
            const int32_t v = sample.head()[i * shape.dp + k];
            square[i] += v * v;
        }
    }
    std::vector<int32_t> sorted = square;
    std::nth_element(sorted.begin(), sorted.begin() + seen / 2, sorted.end());
    const int64_t far = 9 * std::max<int64_t>(1, sorted[seen / 2]);
    std::vector<int64_t> near;
    for (int64_t i = 0; i < seen; i++) {
        if (square[i] <= far) {
            near.push_back(i);
        }
    }
    if (int64_t(near.size()) < shape.m) {
        return rows;
    }
    near.resize(shape.m);
    return near;
}

} // namespace faiss_vlc
