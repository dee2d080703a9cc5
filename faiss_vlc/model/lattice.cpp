#include <faiss_vlc/model/lattice.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>

namespace faiss_vlc {

namespace {

/// Rows over so many times as far from the middle as the median row are outliers, as long as they
/// are less than a tenth: more of them are data. Below that the lattice has levels enough for both.
constexpr double kFar = 32;

/// |x_r - middle|^2 of N rows next to each other. Each sum in the order of its terms, but the
/// additions of N do not wait for each other.
template <int N>
void squares_of(int d, const float* x, const float* middle, double* square) {
    double sum[N] = {};
    for (int k = 0; k < d; k++) {
        for (int r = 0; r < N; r++) {
            const double u = double(x[int64_t(r) * d + k]) - middle[k];
            sum[r] += u * u;
        }
    }
    std::copy_n(sum, N, square);
}

/// The rows that are no outliers.
std::vector<int64_t> near_rows(int64_t n, int d, const float* x, const std::vector<float>& middle) {
    constexpr int kAtOnce = 8;
    std::vector<double> square(n);
    const int64_t whole = n / kAtOnce * kAtOnce;
#pragma omp parallel for if (n > 1000)
    for (int64_t i = 0; i < whole; i += kAtOnce) {
        squares_of<kAtOnce>(d, x + i * d, middle.data(), &square[i]);
    }
    for (int64_t i = whole; i < n; i++) {
        squares_of<1>(d, x + i * d, middle.data(), &square[i]);
    }
    std::vector<double> sorted = square;
    std::nth_element(sorted.begin(), sorted.begin() + n / 2, sorted.end());
    const double far = n > 0 ? kFar * kFar * sorted[n / 2] : 0;
    std::vector<int64_t> near;
    near.reserve(n);
    for (int64_t i = 0; i < n; i++) {
        if (square[i] <= far) {
            near.push_back(i);
        }
    }
    if (far == 0 || int64_t(near.size()) < n - n / 10) {
        near.resize(n);
        std::iota(near.begin(), near.end(), 0);
    }
    return near;
}

/// Magnitudes around a mean, counted in bins of the float's own bits: no sorting and no libm.
class Magnitudes {
public:
    Magnitudes(int d, const float* x, const std::vector<float>& mean)
        : d_(d), x_(x), mean_(mean), bins_(kBins, 0) {}

    /// Counts those of the rows, one in `step`, that lie in bin `least` or beyond.
    void count(const std::vector<int64_t>& rows, int64_t step, size_t least) {
        const int64_t n = int64_t(rows.size());
        std::fill(bins_.begin(), bins_.end(), 0);
        Rescue rescue;
#pragma omp parallel if (n / step > 1000)
        rescue.run([&] {
            std::vector<int64_t> own(kBins, 0);
#pragma omp for nowait
            for (int64_t i = 0; i < n; i += step) {
                count_row(x_ + rows[i] * d_, least, own.data());
            }
#pragma omp critical(faiss_vlc_magnitudes)
            for (size_t bin = 0; bin < kBins; bin++) {
                bins_[bin] += own[bin];
            }
        });
        rescue.rethrow();
    }

    /// The bin that the next magnitude lies in when the `beyond` largest are left out; 0 also if
    /// there are no more.
    size_t bin_of(int64_t beyond) const {
        size_t bin = kBins - 1;
        while (bin > 0 && (beyond -= bins_[bin]) >= 0) {
            bin--;
        }
        return bin;
    }

    /// A bin's upper end.
    static float end_of(size_t bin) {
        const uint32_t bits = uint32_t(bin + 1) << kShift;
        float end;
        std::memcpy(&end, &bits, sizeof(end));
        return std::min(end, std::numeric_limits<float>::max());
    }

private:
    static constexpr int kShift = 18; ///< 5 mantissa bits
    static constexpr size_t kBins = 1 << (31 - kShift);
    static constexpr int kChunk = 32;

    void count_row(const float* row, size_t least, int64_t* bins) const {
        for (int first = 0; first < d_; first += kChunk) {
            const int some = std::min(kChunk, d_ - first);
            int32_t bin[kChunk], most = 0;
            for (int k = 0; k < some; k++) {
                const float magnitude = std::fabs(row[first + k] - mean_[first + k]);
                int32_t bits;
                std::memcpy(&bits, &magnitude, sizeof(bits));
                bin[k] = bits >> kShift;
                most = std::max(most, bin[k]);
            }
            for (int k = 0; k < some && size_t(most) >= least; k++) {
                if (size_t(bin[k]) >= least) {
                    bins[bin[k]]++;
                }
            }
        }
    }

    int d_;
    const float* x_;
    const std::vector<float>& mean_;
    std::vector<int64_t> bins_;
};

/// The smallest bound that all but 1 in 10,000 of the rows' magnitudes stay within, to 1/32 of a
/// power of two.
float robust_range(const std::vector<int64_t>& rows, int d, const float* x,
                   const std::vector<float>& mean) {
    constexpr int64_t kShare = 10000, kPart = 64;
    const int64_t beyond = int64_t(rows.size()) * d / kShare;
    Magnitudes magnitudes(d, x, mean);
    // A part of the rows shows where the large ones begin: only those need to be counted ...
    magnitudes.count(rows, kPart, 0);
    const size_t least = magnitudes.bin_of(4 * beyond / kPart);
    magnitudes.count(rows, 1, least);
    size_t bin = magnitudes.bin_of(beyond);
    if (bin < least) { // ... unless they were too few
        magnitudes.count(rows, 1, 0);
        bin = magnitudes.bin_of(beyond);
    }
    return bin == 0 ? 0 : Magnitudes::end_of(bin);
}

constexpr int kColumns = 16; ///< of a cache line

/// The medians of up to a thousand rows, which a few wild values cannot move.
std::vector<float> medians(int64_t n, int d, const float* x) {
    const int64_t rows = std::min<int64_t>(n, 1001);
    std::vector<float> middle(d, 0);
    Rescue rescue;
#pragma omp parallel for if (n > 1000)
    for (int first = 0; first < (rows > 0 ? d : 0); first += kColumns) {
        rescue.run([&] {
            const int some = std::min(kColumns, d - first);
            std::vector<float> columns(rows * kColumns);
            for (int64_t i = 0; i < rows; i++) {
                for (int k = 0; k < some; k++) {
                    columns[k * rows + i] = x[i * (n / rows) * d + first + k];
                }
            }
            for (int k = 0; k < some; k++) {
                const auto column = columns.begin() + k * rows;
                std::nth_element(column, column + rows / 2, column + rows);
                middle[first + k] = column[rows / 2];
            }
        });
    }
    rescue.rethrow();
    return middle;
}

/// sum_k += x_rk - middle_k, within +-bound, over rows r in their order, of N columns.
template <int N>
void add_clamped(int64_t n, int d, const float* x, const float* middle, double bound, double* sum) {
    double own[N] = {};
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < N; k++) {
            const double u = double(x[i * d + k]) - middle[k];
            own[k] += std::min(bound, std::max(-bound, u));
        }
    }
    std::copy_n(own, N, sum);
}

std::vector<double> clamped_sums(int64_t n, int d, const float* x, const std::vector<float>& middle,
                                 double bound) {
    std::vector<double> sum(d, 0);
#pragma omp parallel for if (n > 1000)
    for (int k = 0; k < d; k += kColumns) {
        if (k + kColumns <= d) {
            add_clamped<kColumns>(n, d, x + k, &middle[k], bound, &sum[k]);
            continue;
        }
        for (int one = k; one < d; one++) {
            add_clamped<1>(n, d, x + one, &middle[one], bound, &sum[one]);
        }
    }
    return sum;
}

} // namespace

Lattice Lattice::fit(int64_t n, int d, const float* x) {
    Lattice lattice;
    lattice.d = d;
    // First medians; then means of values clamped to a few times the range around them.
    lattice.mean = medians(n, d, x);
    const std::vector<int64_t> near = near_rows(n, d, x, lattice.mean);
    const double bound = 4.0 * robust_range(near, d, x, lattice.mean);
    const std::vector<double> sum = clamped_sums(n, d, x, lattice.mean, bound);
    for (int k = 0; k < d && n > 0; k++) {
        lattice.mean[k] = float(lattice.mean[k] + sum[k] / double(n));
    }
    const float range = robust_range(near, d, x, lattice.mean);
    lattice.scale = range > 0 ? 127.0f / range : 1.0f;
    if (!std::isfinite(lattice.scale)) {
        lattice.scale = 1;
    }
    return lattice;
}

void Lattice::scale_row(const float* row, float* out) const {
    for (int k = 0; k < d; k++) {
        out[k] = (row[k] - mean[k]) * scale;
    }
}

void Lattice::encode_row(const float* row, int8_t* out) const {
    simd().encode.quantize_row(d, row, mean.data(), scale, out);
    std::fill(out + d, out + padded_dim(d), int8_t(0));
}

void Lattice::encode(int64_t n, const float* x, int8_t* out) const {
    const int dp = padded_dim(d);
#pragma omp parallel for if (n > 1000)
    for (int64_t i = 0; i < n; i++) {
        encode_row(x + i * d, out + i * dp);
    }
}

double Lattice::rounding(int64_t n, const float* x) const {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < d; k++) {
            const double at = (double(x[i * d + k]) - mean[k]) * double(scale);
            const double off = at - std::nearbyint(at);
            sum += std::fabs(at) < 127.5 ? off * off : 0;
        }
    }
    return n > 0 ? sum / double(n) : 0;
}

void Lattice::decode_anchor(const int32_t* anchor, float* out) const {
    const float unit = 1.0f / float(1 << kAnchorBits);
    for (int k = 0; k < d; k++) {
        out[k] = float(anchor[k]) * unit / scale + mean[k];
    }
}

} // namespace faiss_vlc
