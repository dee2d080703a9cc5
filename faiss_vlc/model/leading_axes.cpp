#include <faiss_vlc/model/leading_axes.h>

#include <algorithm>
#include <cmath>

#include <Eigen/Eigenvalues>

#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/interrupt.h>

namespace faiss_vlc {

namespace {

constexpr int kBlockAxes = 256; ///< found at once
constexpr int kSpareAxes = 64;  ///< iterated with them, so that the last ones converge too
constexpr int kIterations = 2;  ///< products with the form before the Ritz vectors'
constexpr int kAttempts = 8;    ///< to make vectors orthogonal
constexpr double kLost = 1e-5;  ///< of a vector: what is left of it is rounding

double column_square(const float* tile, int rows, int column) {
    double sum = 0;
    for (int k = 0; k < rows; k++) {
        const double v = tile[size_t(k) * 16 + column];
        sum += v * v;
    }
    return sum;
}

void scale_column(float* tile, int rows, int column, double by) {
    for (int k = 0; k < rows; k++) {
        float& v = tile[size_t(k) * 16 + column];
        v = float(v * by);
    }
}

/// Takes from a column what it has of those before it in the tile, which have norm 1.
void leave_earlier_columns(float* tile, int rows, int column) {
    for (int earlier = 0; earlier < column; earlier++) {
        double dot = 0;
        for (int k = 0; k < rows; k++) {
            dot += double(tile[size_t(k) * 16 + earlier]) * tile[size_t(k) * 16 + column];
        }
        for (int k = 0; k < rows; k++) {
            float& v = tile[size_t(k) * 16 + column];
            v = float(v - dot * tile[size_t(k) * 16 + earlier]);
        }
    }
}

/// Eigenvalues of a matrix of n x n, made symmetric, falling, and the eigenvectors as columns.
void solve_small(int n, const Panels& matrix, Panels& vectors, std::vector<double>& values) {
    Eigen::MatrixXd whole(n, n);
    for (int k = 0; k < n; k++) {
        for (int l = 0; l < n; l++) {
            whole(k, l) = 0.5 * (double(matrix.at(k, l)) + double(matrix.at(l, k)));
        }
    }
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(whole);
    const bool solved = solver.info() == Eigen::Success; // else they stay as they are
    values.resize(n);
    for (int i = 0; i < n; i++) {
        values[i] = std::max(0.0, solved ? solver.eigenvalues()[n - 1 - i] : whole(i, i));
        for (int k = 0; k < n; k++) {
            vectors.at(k, i) = solved ? float(solver.eigenvectors()(k, n - 1 - i)) : float(k == i);
        }
    }
}

} // namespace

DenseForm::DenseForm(int d, const int64_t* covariance)
    : d_(d), stride_((d + 15) / 16 * 16 + 16), values_(size_t(d) * stride_, 0) {
    double largest = 1;
    for (int64_t i = 0; i < d; i++) { // on the diagonal, as no eigenvalue is negative
        largest = std::max(largest, double(covariance[i * d + i]));
        trace_ += double(covariance[i * d + i]);
    }
    trace_ /= largest;
    for (int64_t k = 0; k < d; k++) {
        for (int64_t l = 0; l < d; l++) {
            values_[k * stride_ + l] = float(double(covariance[k * d + l]) / largest);
        }
    }
}

Panels DenseForm::times(const Panels& x) const {
    Panels out(d_, x.tiles * 16);
    add_product({values_.data(), stride_, 1}, x, out);
    return out;
}

/// A column of hashes in [-1, 1).
void LeadingAxes::fill(Panels& y, int column, int attempt) const {
    for (int k = 0; k < y.rows; k++) {
        const uint32_t hash =
                hash32(uint32_t(k), uint32_t(count() + column), 0x5eed0000u + uint32_t(attempt));
        y.at(k, column) = float(int32_t(hash)) * (1.0f / 2147483648.0f);
    }
}

/// Makes a tile's columns orthonormal to each other and to all that is known; they then are known.
void LeadingAxes::orthonormalise_tile(Panels& y, int t, int width) {
    const int d = y.rows;
    float* tile = y.tile(t);
    bool settled = false;
    for (int attempt = 0; attempt < kAttempts && !settled; attempt++) {
        double before[16];
        for (int c = 0; c < width; c++) {
            before[c] = column_square(tile, d, c);
            if (!(before[c] > 0)) {
                fill(y, t * 16 + c, attempt);
                before[c] = column_square(tile, d, c);
            }
            scale_column(tile, d, c, 1 / std::sqrt(before[c]));
        }
        if (known_ > 0) {
            Panels part(d, 16), shadow(known_, 16);
            part.values.assign(tile, tile + size_t(d) * 16);
            add_product(axes_from(0), part, shadow);
            for (float& v : shadow.values) {
                v = -v;
            }
            add_product({axes_.data(), 1, stride()}, shadow, part);
            std::copy(part.values.begin(), part.values.end(), tile);
        }
        settled = true;
        for (int c = 0; c < width; c++) {
            leave_earlier_columns(tile, d, c);
            const double left = column_square(tile, d, c);
            settled = settled && left > 0.5;
            const bool lost = !(left > kLost * kLost);
            scale_column(tile, d, c, lost ? 0 : 1 / std::sqrt(left));
        }
    }
    for (int c = 0; c < width; c++, known_++) {
        for (int k = 0; k < d; k++) {
            axis(known_)[k] = tile[size_t(k) * 16 + c];
        }
    }
}

void LeadingAxes::orthonormalise(Panels& y, int columns) {
    known_ = count();
    for (int t = 0; t * 16 < columns; t++) {
        orthonormalise_tile(y, t, std::min(16, columns - t * 16));
    }
}

/// Of the space of q's columns takes the `kept` strongest Ritz vectors, and spares the others.
void LeadingAxes::take_ritz(const Panels& q, int columns, int kept) {
    const int d = q.rows;
    Panels product(columns, columns), turned(d, columns);
    add_product(axes_from(count()), form_.times(q), product);
    Panels turn(columns, columns);
    std::vector<double> values;
    solve_small(columns, product, turn, values);
    add_product({axes_from(count()).at, 1, stride()}, turn, turned);
    spare_.assign(columns - kept, std::vector<float>(d));
    const int first = count();
    for (int i = 0; i < columns; i++) {
        float* out = i < kept ? axis(first + i) : spare_[i - kept].data();
        for (int k = 0; k < d; k++) {
            out[k] = turned.at(k, i);
        }
    }
    values_.insert(values_.end(), values.begin(), values.begin() + kept);
}

void LeadingAxes::grow(int more) {
    const int d = form_.d();
    const int wanted = std::min(d, count() + more);
    while (count() < wanted) {
        check_interrupt();
        const int kept = std::min(kBlockAxes, wanted - count());
        const int columns = std::min(kept + kSpareAxes, d - count());
        axes_.resize(size_t(count() + columns) * stride());
        Panels q(d, columns);
        for (int i = 0; i < columns; i++) {
            if (i < int(spare_.size())) {
                for (int k = 0; k < d; k++) {
                    q.at(k, i) = spare_[i][k];
                }
            } else {
                fill(q, i, 0);
            }
        }
        orthonormalise(q, columns);
        for (int iteration = 0; iteration < kIterations; iteration++) {
            q = form_.times(q);
            orthonormalise(q, columns);
        }
        take_ritz(q, columns, kept);
    }
}

Frame LeadingAxes::frame() const {
    return Frame::rounded(form_.d(), count(), axes_.data(), stride());
}

} // namespace faiss_vlc
