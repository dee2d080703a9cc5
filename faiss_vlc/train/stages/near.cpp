#include <faiss_vlc/train/stages/near.h>

#include <algorithm>
#include <climits>
#include <utility>
#include <vector>

#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/train/stages/assign.h>

namespace faiss_vlc {

void near_lists(int m, int dp, int length, const int8_t* anchors8, const int32_t* norm,
                int32_t* list) {
    const int stride = near_stride(length);
    Rescue rescue;
#pragma omp parallel if (m > 100)
    rescue.run([&] {
        std::vector<std::pair<int32_t, int32_t>> order(m); // score, anchor
#pragma omp for
        for (int j = 0; j < m; j++) {
            const int8_t* a = anchors8 + int64_t(j) * dp;
            for (int o = 0; o < m; o++) {
                order[o] = {norm[o] - 2 * dot8(dp, a, anchors8 + int64_t(o) * dp), o};
            }
            order[j].first = INT_MIN;
            std::nth_element(order.begin(), order.begin() + length - 1, order.end());
            int32_t* own = list + int64_t(j) * stride;
            std::fill_n(own, stride, -1);
            for (int p = 0; p < length; p++) {
                own[p] = order[p].second;
            }
            std::sort(own, own + length);
        }
    });
    rescue.rethrow();
}

void assign_near_rows(int64_t n, const int8_t* x, const AnchorView& anchors, const NearLists& lists,
                      const Assigned& to) {
    const int dp = anchors.dp, length = lists.length, neighbours = to.neighbours;
    const int8_t* const anchors8 = anchors.anchors8;
    const int32_t* const norm = anchors.norm;
    const int32_t* const bias = anchors.bias;
#pragma omp parallel for if (n > 100)
    for (int64_t i = 0; i < n; i++) {
        const int32_t* near = lists.list + int64_t(lists.previous[i]) * near_stride(length);
        BestOfClasses best;
        for (int p = 0; p < length; p++) {
            const int j = near[p];
            best.add(p % kClasses, j,
                     norm[j] + bias[j] - 2 * dot8(dp, x + i * dp, anchors8 + int64_t(j) * dp));
        }
        best.store(neighbours, dot8(dp, x + i * dp, x + i * dp), bias, to.label + i * neighbours,
                   to.dist + i * neighbours);
    }
}

} // namespace faiss_vlc
