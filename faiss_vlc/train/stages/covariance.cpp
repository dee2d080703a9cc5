#include <faiss_vlc/train/stages/covariance.h>

#include <algorithm>
#include <vector>

namespace faiss_vlc {

void residual_covariance(const Shape& shape, const int8_t* x, const int8_t* anchors8,
                         const int32_t* label, const int32_t* rows, int64_t count, int64_t* sums) {
    constexpr int kBlockRows = 256; // 256 * 254^2 stays below 2^31
    const int d = shape.d;
    std::fill_n(sums, int64_t(d) * d, 0);
    std::vector<int16_t> residual(size_t(d) *
                                  kBlockRows); // dimension-major: dot products over rows
    for (int64_t first = 0; first < count; first += kBlockRows) {
        const int in_block = int(std::min<int64_t>(kBlockRows, count - first));
        std::fill(residual.begin(), residual.end(), int16_t(0));
        for (int i = 0; i < in_block; i++) {
            const int64_t row = rows[first + i];
            const int8_t* a = anchors8 + int64_t(label[row * shape.neighbours]) * shape.dp;
            for (int k = 0; k < d; k++) {
                residual[size_t(k) * kBlockRows + i] = int16_t(x[row * shape.dp + k] - a[k]);
            }
        }
#pragma omp parallel for schedule(dynamic, 8)
        for (int k = 0; k < d; k++) {
            const int16_t* u = &residual[size_t(k) * kBlockRows];
            for (int l = k; l < d; l++) {
                const int16_t* v = &residual[size_t(l) * kBlockRows];
                int32_t sum = 0;
                for (int i = 0; i < kBlockRows; i++) {
                    sum += u[i] * v[i];
                }
                sums[int64_t(k) * d + l] += sum;
            }
        }
    }
    for (int k = 0; k < d; k++) {
        for (int l = 0; l < k; l++) {
            sums[int64_t(k) * d + l] = sums[int64_t(l) * d + k];
        }
    }
}

} // namespace faiss_vlc
