#include <faiss_vlc/covariance.h>

#include <algorithm>
#include <vector>

namespace faiss_vlc {

void residual_covariance(const Shape& shape, const int8_t* x, const int8_t* anchors8,
                         const int32_t* label, int64_t* sums) {
    constexpr int kRows = 256; // 256 * 254^2 stays below 2^31
    const int d = shape.d;
    std::fill_n(sums, int64_t(d) * d, 0);
    std::vector<int16_t> residual(size_t(d) * kRows); // dimension-major: dot products over rows
    for (int64_t first = 0; first < shape.n_train; first += kRows) {
        const int rows = int(std::min<int64_t>(kRows, shape.n_train - first));
        std::fill(residual.begin(), residual.end(), int16_t(0));
        for (int i = 0; i < rows; i++) {
            const int64_t row = first + i;
            const int8_t* a = anchors8 + int64_t(label[row * shape.neighbours]) * shape.dp;
            for (int k = 0; k < d; k++) {
                residual[size_t(k) * kRows + i] = int16_t(x[row * shape.dp + k] - a[k]);
            }
        }
#pragma omp parallel for schedule(dynamic, 8)
        for (int k = 0; k < d; k++) {
            const int16_t* u = &residual[size_t(k) * kRows];
            for (int l = k; l < d; l++) {
                const int16_t* v = &residual[size_t(l) * kRows];
                int32_t sum = 0;
                for (int i = 0; i < kRows; i++) {
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
