#include <faiss_vlc/assign.h>

#include <algorithm>
#include <climits>
#include <utility>

namespace faiss_vlc {

namespace {

int32_t dot(int dp, const int8_t* a, const int8_t* b) {
    int32_t sum = 0;
    for (int k = 0; k < dp; k++) {
        sum += int16_t(a[k]) * int16_t(b[k]);
    }
    return sum;
}

} // namespace

void assign_rows(int64_t n, int m, int dp, int neighbours, const int8_t* x, const int8_t* anchors8,
                 const int32_t* norm, const int32_t* bias, int32_t* label, int32_t* dist) {
#pragma omp parallel for if (n > 100)
    for (int64_t i = 0; i < n; i++) {
        const int8_t* row = x + i * dp;
        using Best = std::pair<int32_t, int32_t>; // score, anchor
        Best best[kClasses];
        std::fill(best, best + kClasses, Best(INT_MAX, INT_MAX));
        for (int j = 0; j < m; j++) {
            const int32_t score =
                    norm[j] + (bias ? bias[j] : 0) - 2 * dot(dp, row, anchors8 + int64_t(j) * dp);
            best[j % kClasses] = std::min(best[j % kClasses], Best(score, j));
        }
        std::partial_sort(best, best + neighbours, best + kClasses);
        const int32_t own = dot(dp, row, row);
        for (int r = 0; r < neighbours; r++) {
            const auto [score, j] = best[r];
            const bool valid = j != INT_MAX;
            label[i * neighbours + r] = valid ? j : -1;
            dist[i * neighbours + r] = valid ? own + score - (bias ? bias[j] : 0) : INT_MAX;
        }
    }
}

AssignSummary summarize_assign(const Shape& shape, const int32_t* label, const int32_t* dist,
                               int32_t* previous) {
    AssignSummary summary;
    for (int64_t i = 0; i < shape.n; i++) {
        const int32_t nearest = label[i * shape.neighbours];
        summary.changes += nearest != previous[i];
        previous[i] = nearest;
        (i < shape.n_train ? summary.energy_train : summary.energy_held) +=
                dist[i * shape.neighbours];
    }
    return summary;
}

} // namespace faiss_vlc
