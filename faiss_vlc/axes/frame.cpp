#include <faiss_vlc/axes/frame.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include <Eigen/Eigenvalues>

#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

namespace {

constexpr double kUnit = 32767; ///< norm of a vector while it is rotated
constexpr int kLargest = 127;   ///< largest component of a row

/// An axis as int8, its largest component positive.
template <class Axis>
void round_axis(int d, const Axis& axis, int8_t* row) {
    int strongest = 0;
    for (int k = 1; k < d; k++) {
        if (std::fabs(axis[k]) > std::fabs(axis[strongest])) {
            strongest = k;
        }
    }
    const double scale = kLargest / double(axis[strongest]); // also its sign
    for (int k = 0; k < d; k++) {
        row[k] = int8_t(std::lrint(double(axis[k]) * scale));
    }
}

} // namespace

Frame Frame::principal(int d, const int64_t* covariance) {
    Eigen::MatrixXd matrix(d, d);
    double largest = 1;
    for (int64_t i = 0; i < int64_t(d) * d; i++) {
        largest = std::max(largest, std::fabs(double(covariance[i])));
    }
    for (int k = 0; k < d; k++) {
        for (int l = 0; l < d; l++) {
            matrix(k, l) = double(covariance[int64_t(k) * d + l]) / largest;
        }
    }
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(matrix);
    if (solver.info() != Eigen::Success) {
        return identity(d, covariance);
    }
    Frame frame;
    frame.d = d;
    frame.rows.resize(size_t(d) * d);
    for (int i = 0; i < d; i++) {
        round_axis(d, solver.eigenvectors().col(d - 1 - i), &frame.rows[size_t(i) * d]);
    }
    frame.kept = d;
    return frame;
}

Frame Frame::rounded(int d, int count, const float* axes, int64_t stride) {
    Frame frame;
    frame.d = d;
    frame.kept = count;
    frame.rows.resize(size_t(count) * d);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i++) {
        round_axis(d, axes + i * stride, &frame.rows[size_t(i) * d]);
    }
    return frame;
}

Frame Frame::identity(int d, const int64_t* covariance) {
    std::vector<double> variance(d);
    for (int k = 0; k < d; k++) {
        variance[k] = double(covariance[int64_t(k) * d + k]);
    }
    return identity(variance, d);
}

Frame Frame::identity(const std::vector<double>& variance, int count) {
    const int d = int(variance.size());
    std::vector<int> order(d);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return variance[a] > variance[b]; });
    Frame frame;
    frame.d = d;
    frame.kept = std::min(count, d);
    frame.rows.assign(size_t(frame.kept) * d, 0);
    for (int i = 0; i < frame.kept; i++) {
        frame.rows[size_t(i) * d + order[i]] = int8_t(kLargest);
    }
    return frame;
}

Frame Frame::own_axes(int d) {
    Frame frame;
    frame.d = frame.kept = d;
    frame.own = true;
    return frame;
}

void Frame::reorder(const std::vector<int>& order) {
    std::vector<int8_t> moved(rows.size());
    for (size_t i = 0; i < order.size(); i++) {
        std::copy_n(&rows[size_t(order[i]) * d], d, &moved[i * size_t(d)]);
    }
    rows.swap(moved);
}

void Frame::keep(int count) {
    kept = std::min(count, kept);
    if (own) {
        return;
    }
    rows.resize(size_t(kept) * d);
    rows.shrink_to_fit();
}

void Frame::arrange(const std::vector<int>& slot_axis) {
    slot_axis_ = slot_axis;
    slot_axis_.resize((slot_axis.size() + 15) / 16 * 16, -1);
    if (own) {
        return;
    }
    packed_.reset(); // before there is another
    const int pairs = (d + 1) / 2;
    auto packed = std::make_shared<std::vector<int8_t>>(slot_axis_.size() * pairs * 2, int8_t(0));
    inverse_norm_.assign(slot_axis_.size(), 0);
    for (int s = 0; s < slots(); s++) {
        const int axis = slot_axis_[s];
        if (axis < 0 || axis >= kept) {
            continue;
        }
        inverse_norm_[s] = inverse_norm(axis);
        for (int k = 0; k < d; k++) {
            (*packed)[((size_t(s / 16) * pairs + k / 2) * 16 + s % 16) * 2 + k % 2] =
                    rows[size_t(axis) * d + k];
        }
    }
    packed_ = std::move(packed);
}

Frame::Scaling Frame::scaling(int d, const float* x) {
    const double norm = std::sqrt(simd().encode.square_sum(d, x));
    if (!(norm > double(kSmallestQuery))) {
        return {0, 0};
    }
    return {float(kUnit / norm), float(norm / kUnit)};
}

float Frame::quantize(int d, const float* x, int16_t* q) {
    const Scaling by = scaling(d, x);
    if (by.unit == 0) {
        std::fill_n(q, d + d % 2, int16_t(0));
        return 0;
    }
    simd().encode.round_scaled(d, x, by.scale, q);
    if (d % 2) {
        q[d] = 0;
    }
    return by.unit;
}

float Frame::quantize(const float* x, int16_t* q) const {
    const float unit = quantize(d, x, q);
    if (!fine) {
        return unit;
    }
    const float scale = scaling(d, x).scale;
    int16_t* low = q + d + d % 2;
    for (int k = 0; k < d; k++) {
        low[k] = int16_t(round_even((x[k] * scale - float(q[k])) * (1 / kLow)));
    }
    if (d % 2) {
        low[d] = 0;
    }
    return unit;
}

void Frame::copy_own(const int16_t* q, float unit, float* y) const {
    const int16_t* low = q + d + d % 2;
    for (int s = 0; s < slots(); s++) {
        const int axis = slot_axis_[s];
        y[s] = axis < 0 ? 0.0f : float(q[axis]);
        if (fine && axis >= 0) {
            y[s] += float(low[axis]) * kLow;
        }
        y[s] *= unit;
    }
}

/// Adds what was rounded off to the sums of a tile's axes.
void Frame::add_low(const int16_t* low, int tile, float* sums) const {
    const int pairs = (d + 1) / 2;
    int32_t low_sums[16];
    simd().rotate.tiles(1, pairs, low, &(*packed_)[size_t(tile) * pairs * 32], low_sums);
    for (int i = 0; i < 16; i++) {
        sums[i] += float(low_sums[i]) * kLow;
    }
}

void Frame::rotate(const int16_t* q, float unit, float* y) const {
    if (own) {
        copy_own(q, unit, y);
        return;
    }
    const int pairs = (d + 1) / 2, tiles = slots() / 16;
    // y takes the sums first, then what they are worth: both have 4 bytes
    simd().rotate.tiles(tiles, pairs, q, packed_->data(), reinterpret_cast<int32_t*>(y));
    for (int t = 0; t < tiles; t++) {
        float* to = y + size_t(t) * 16;
        int32_t sums[16];
        std::memcpy(sums, to, sizeof(sums));
        std::copy(sums, sums + 16, to);
        if (fine) {
            add_low(q + 2 * size_t(pairs), t, to);
        }
        for (int i = 0; i < 16; i++) {
            to[i] *= unit * inverse_norm_[t * 16 + i];
        }
    }
}

void Frame::rotate_together(int count, const int16_t* const* q, const float* unit,
                            float* const* y) const {
    if (own || fine) {
        for (int v = 0; v < count; v++) {
            rotate(q[v], unit[v], y[v]);
        }
        return;
    }
    const int n = slots();
    // y takes the sums first, then what they are worth: both have 4 bytes
    const int16_t* x[kTogether];
    int32_t* sums[kTogether];
    for (int v = 0; v < kTogether; v++) {
        const int from = v < count ? v : 0; // again what is missing, to the same place
        x[v] = q[from];
        sums[v] = reinterpret_cast<int32_t*>(y[from]);
    }
    simd().rotate.together(n / 16, (d + 1) / 2, x, packed_->data(), sums);
    for (int v = 0; v < count; v++) {
        for (int s = 0; s < n; s++) {
            int32_t sum;
            std::memcpy(&sum, &y[v][s], 4);
            y[v][s] = float(sum) * (unit[v] * inverse_norm_[s]);
        }
    }
}

void Frame::rotate(const float* x, float* y) const {
    constexpr int kStack = 4096;
    int16_t small[kStack];
    std::vector<int16_t> big(scaled_size() > kStack ? scaled_size() : 0);
    int16_t* q = big.empty() ? small : big.data();
    const float unit = quantize(x, q);
    rotate(q, unit, y);
}

float Frame::inverse_norm(int axis) const {
    int32_t square = 0;
    for (int k = 0; k < d; k++) {
        const int32_t v = rows[size_t(axis) * d + k];
        square += v * v;
    }
    return square > 0 ? float(1.0 / std::sqrt(double(square))) : 0.0f;
}

void Frame::rotate_back_add(const float* y, float* out) const {
    for (int s = 0; s < slots(); s++) {
        if (slot_axis_[s] < 0 || slot_axis_[s] >= kept) {
            continue;
        }
        if (own) {
            out[slot_axis_[s]] += y[s];
            continue;
        }
        const float v = y[s] * inverse_norm_[s];
        const int8_t* row = &rows[size_t(slot_axis_[s]) * d];
        for (int k = 0; k < d; k++) {
            out[k] += v * float(row[k]);
        }
    }
}

} // namespace faiss_vlc
