#include <faiss_vlc/model/lattice.h>

#include <algorithm>
#include <cmath>
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

/// The rows that are no outliers.
std::vector<int64_t> near_rows(int64_t n, int d, const float* x, const std::vector<float>& middle) {
    std::vector<double> square(n, 0);
#pragma omp parallel for if (n > 1000)
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < d; k++) {
            const double u = double(x[i * d + k]) - middle[k];
            square[i] += u * u;
        }
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

/// The smallest bound that all but 1 in 10,000 of the rows' magnitudes stay within, to 1/32 of a
/// power of two: counted in bins of the float's own bits, so no sorting and no libm.
float robust_range(const std::vector<int64_t>& rows, int d, const float* x,
                   const std::vector<float>& mean) {
    const int64_t n = int64_t(rows.size());
    constexpr int kShift = 18; // 5 mantissa bits
    std::vector<int64_t> bins(1 << (31 - kShift), 0);
    Rescue rescue;
#pragma omp parallel if (n > 1000)
    rescue.run([&] {
        std::vector<int64_t> own(bins.size(), 0);
#pragma omp for nowait
        for (int64_t i = 0; i < n; i++) {
            for (int k = 0; k < d; k++) {
                const float magnitude = std::fabs(x[rows[i] * d + k] - mean[k]);
                uint32_t bits;
                std::copy_n(reinterpret_cast<const char*>(&magnitude), 4,
                            reinterpret_cast<char*>(&bits));
                own[bits >> kShift]++;
            }
        }
#pragma omp critical(faiss_vlc_robust_range)
        for (size_t bin = 0; bin < bins.size(); bin++) {
            bins[bin] += own[bin];
        }
    });
    rescue.rethrow();
    int64_t left = n * d / 10000;
    size_t bin = bins.size() - 1;
    while (bin > 0 && (left -= bins[bin]) >= 0) {
        bin--;
    }
    const uint32_t bits = uint32_t(bin + 1) << kShift; // the bin's upper end
    float bound;
    std::copy_n(reinterpret_cast<const char*>(&bits), 4, reinterpret_cast<char*>(&bound));
    return bin == 0 ? 0 : std::min(bound, std::numeric_limits<float>::max());
}

} // namespace

Lattice Lattice::fit(int64_t n, int d, const float* x) {
    Lattice lattice;
    lattice.d = d;
    lattice.mean.assign(d, 0);
    // First the medians of up to a thousand rows, which a few wild values cannot move; then means
    // of values clamped to a few times the range around them.
    const int64_t rows = std::min<int64_t>(n, 1001);
    std::vector<float> column(rows);
    for (int k = 0; k < d && rows > 0; k++) {
        for (int64_t i = 0; i < rows; i++) {
            column[i] = x[i * (n / rows) * d + k];
        }
        std::nth_element(column.begin(), column.begin() + rows / 2, column.end());
        lattice.mean[k] = column[rows / 2];
    }
    const std::vector<int64_t> near = near_rows(n, d, x, lattice.mean);
    const double bound = 4.0 * robust_range(near, d, x, lattice.mean);
    std::vector<double> sum(d, 0);
    // by columns, so that each sum is added up in the order of the rows
    const int columns = 16;
#pragma omp parallel for if (n > 1000)
    for (int first = 0; first < d; first += columns) {
        const int last = std::min(d, first + columns);
        for (int64_t i = 0; i < n; i++) {
            for (int k = first; k < last; k++) {
                const double u = double(x[i * d + k]) - lattice.mean[k];
                sum[k] += std::min(bound, std::max(-bound, u));
            }
        }
    }
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
