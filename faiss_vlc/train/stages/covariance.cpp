#include <faiss_vlc/train/stages/covariance.h>

#include <algorithm>
#include <memory>
#include <vector>

#include <omp.h>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/aligned.h>
#include <faiss_vlc/lib/parallel.h>

namespace faiss_vlc {

namespace {

constexpr int kExactBlocks = 128;                  ///< 128 * 256 * 254^2 < 2^31
constexpr int64_t kThreadSums = int64_t(64) << 20; ///< numbers that all threads have at most

/// What one thread sums in 32 bits, at and above the diagonal.
class ThreadSums {
public:
    explicit ThreadSums(const Shape& shape)
        : d_(shape.d), dp_(shape.dp), room_(size_t(shape.dp) * kSquareRows),
          sums_(size_t(shape.dp) * shape.dp, 0) {}

    /// Rows x, at most kSquareRows, and their anchors.
    void add(int rows, const int8_t* const* x, const int8_t* const* a) {
        simd().algebra.add_squares(dp_ / 16, rows, x, a, room_.data(), sums_.data());
        blocks_++;
    }
    bool full() const { return blocks_ == kExactBlocks; }

    /// Adds them to d x d numbers.
    void move_to(int64_t* sums) {
#pragma omp critical(faiss_vlc_covariance)
        for (int64_t k = 0; k < d_; k++) {
            for (int64_t l = k; l < d_; l++) {
                sums[k * d_ + l] += sums_[k * dp_ + l];
            }
        }
        std::fill(sums_.begin(), sums_.end(), 0);
        blocks_ = 0;
    }

private:
    int d_, dp_, blocks_ = 0;
    AlignedVector<int16_t> room_;
    AlignedVector<int32_t> sums_;
};

void mirror(int d, int64_t* sums) {
    for (int64_t k = 0; k < d; k++) {
        for (int64_t l = 0; l < k; l++) {
            sums[k * d + l] = sums[l * d + k];
        }
    }
}

} // namespace

bool has_covariance_loops() {
    return simd().algebra.add_squares != nullptr;
}

void covariance_by_loops(const Shape& shape, const int8_t* x, const int8_t* anchors8,
                         const int32_t* label, const int32_t* rows, int64_t count, int64_t* sums) {
    const int64_t blocks = (count + kSquareRows - 1) / kSquareRows;
    const int64_t threads =
            std::min<int64_t>(omp_get_max_threads(), kThreadSums / (int64_t(shape.dp) * shape.dp));
    std::fill_n(sums, int64_t(shape.d) * shape.d, 0);
    Rescue rescue;
#pragma omp parallel num_threads( \
        int(std::clamp <int64_t>(blocks, 1, std::max <int64_t>(1, threads))))
    {
        std::unique_ptr<ThreadSums> own;
        rescue.run([&] { own = std::make_unique<ThreadSums>(shape); });
#pragma omp for schedule(dynamic) nowait
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * kSquareRows;
            const int some = int(std::min<int64_t>(kSquareRows, count - first));
            const int8_t *xs[kSquareRows], *as[kSquareRows];
            for (int i = 0; i < some; i++) {
                const int64_t row = rows[first + i];
                xs[i] = x + row * shape.dp;
                as[i] = anchors8 + int64_t(label[row * shape.neighbours]) * shape.dp;
            }
            if (own) { // null: rethrown below
                own->add(some, xs, as);
                if (own->full()) {
                    own->move_to(sums);
                }
            }
        }
        if (own) {
            own->move_to(sums);
        }
    }
    rescue.rethrow();
    mirror(shape.d, sums);
}

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
    mirror(d, sums);
}

} // namespace faiss_vlc
