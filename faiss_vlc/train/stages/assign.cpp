#include <faiss_vlc/train/stages/assign.h>

#include <algorithm>
#include <climits>

namespace faiss_vlc {

BestOfClasses::BestOfClasses() {
    std::fill(best_, best_ + kClasses, std::make_pair(INT_MAX, INT_MAX));
}

void BestOfClasses::add(int of_class, int32_t anchor, int32_t score) {
    best_[of_class] = std::min(best_[of_class], std::make_pair(score, anchor));
}

void BestOfClasses::store(int neighbours, int32_t own, const int32_t* bias, int32_t* label,
                          int32_t* dist) {
    std::partial_sort(best_, best_ + neighbours, best_ + kClasses);
    for (int r = 0; r < neighbours; r++) {
        const auto [score, j] = best_[r];
        const bool valid = j != INT_MAX;
        label[r] = valid ? j : -1;
        dist[r] = valid ? own + score - (bias ? bias[j] : 0) : INT_MAX;
    }
}

void assign_rows(int64_t n, const int8_t* x, const AnchorView& anchors, const Assigned& to) {
    const int m = anchors.m, dp = anchors.dp, neighbours = to.neighbours;
    const int8_t* const anchors8 = anchors.anchors8;
    const int32_t* const norm = anchors.norm;
    const int32_t* const bias = anchors.bias;
#pragma omp parallel for if (n > 100)
    for (int64_t i = 0; i < n; i++) {
        const int8_t* row = x + i * dp;
        BestOfClasses best;
        for (int j = 0; j < m; j++) {
            best.add(j % kClasses, j,
                     norm[j] + (bias ? bias[j] : 0) -
                             2 * dot8(dp, row, anchors8 + int64_t(j) * dp));
        }
        best.store(neighbours, dot8(dp, row, row), bias, to.label + i * neighbours,
                   to.dist + i * neighbours);
    }
}

AssignSummary summarize_assign(const Shape& shape, int64_t rows, const int32_t* label,
                               const int32_t* dist, int32_t* previous) {
    AssignSummary summary;
    for (int64_t i = 0; i < rows; i++) {
        const int32_t nearest = label[i * shape.neighbours];
        summary.changes += nearest != previous[i];
        previous[i] = nearest;
        (i < shape.n_train ? summary.energy_train : summary.energy_held) +=
                dist[i * shape.neighbours];
    }
    return summary;
}

} // namespace faiss_vlc
