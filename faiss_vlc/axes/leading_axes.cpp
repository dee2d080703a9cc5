#include <faiss_vlc/axes/leading_axes.h>

#include <algorithm>
#include <cmath>

#include <Eigen/Eigenvalues>

#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/interrupt.h>

namespace faiss_vlc {

namespace {

constexpr int kLeastAxes = 32;    ///< found at once: few at first, where eigenvalues fall steeply,
constexpr int kMostAxes = 256;    ///< then half as many as are known
constexpr int kDegrees = 8;       ///< of all of a block's polynomials together, at least
constexpr int kMostDegree = 6;    ///< of one of them
constexpr double kRange = 1e5;    ///< between what it makes of the strongest vector and of the rest
constexpr double kNothing = 1e-9; ///< of the trace: such eigenvalues are rounding
constexpr int kAttempts = 8;      ///< to make vectors orthogonal
constexpr double kLost = 1e-5;    ///< of a vector: what is left of it is rounding

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

/// The degree at which the strongest vector grows to kRange; `ratio`: its eigenvalue to the cut.
int filter_degree(double ratio) {
    const double t = 2 * ratio - 1;
    double before = 1, now = t;
    int degree = 1;
    while (degree < kMostDegree) {
        const double next = 2 * t * now - before;
        if (next > kRange) {
            break;
        }
        before = now;
        now = next;
        degree++;
    }
    return degree;
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

/// The form's product, less what of it lies along the axes that are found.
Panels LeadingAxes::times(const Panels& x) const {
    Panels out = form_.times(x);
    if (count() > 0) {
        Panels shadow(count(), out.tiles * 16);
        add_product({axes_.data(), stride(), 1}, out, shadow);
        for (float& v : shadow.values) {
            v = -v;
        }
        add_product({axes_.data(), 1, stride()}, shadow, out);
    }
    return out;
}

/// Turns the orthonormal q, and with it its product, to the Ritz vectors of its space.
std::vector<double> LeadingAxes::turn_to_ritz(Panels& q, Panels& product, int columns) const {
    Panels small(columns, columns), turn(columns, columns);
    add_product(axes_from(count()), product, small); // those rows are q's columns
    std::vector<double> values;
    solve_small(columns, small, turn, values);
    std::vector<float> rows(size_t(q.rows) * columns);
    for (Panels* one : {&q, &product}) {
        for (int k = 0; k < q.rows; k++) {
            for (int i = 0; i < columns; i++) {
                rows[size_t(k) * columns + i] = one->at(k, i);
            }
        }
        std::fill(one->values.begin(), one->values.end(), 0.0f);
        add_product({rows.data(), columns, 1}, turn, *one);
    }
    return values;
}

/// Chebyshev's polynomial of the form, on q: eigenvalues in [0, cut] stay within +-1, those above
/// grow as fast as any polynomial of that degree lets them. `product` is the form times q.
void LeadingAxes::filter(double cut, int degree, Panels& q, Panels product) const {
    const auto by = float(2 / cut);
    Panels last = q;
    for (size_t i = 0; i < q.values.size(); i++) {
        q.values[i] = by * product.values[i] - last.values[i];
    }
    for (int m = 2; m <= degree; m++) {
        product = times(q);
        for (size_t i = 0; i < q.values.size(); i++) {
            const float next = 2 * (by * product.values[i] - q.values[i]) - last.values[i];
            last.values[i] = q.values[i];
            q.values[i] = next;
        }
    }
}

void LeadingAxes::find_block(int kept) {
    const int d = form_.d();
    const int columns = std::min(kept + std::max(kLeastAxes, kept / 4), d - count());
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
    q = times(q);
    orthonormalise(q, columns);
    std::vector<double> values;
    for (int degrees = 0;;) {
        Panels product = times(q);
        values = turn_to_ritz(q, product, columns);
        const double cut = columns > kept ? values[kept] : 0;
        if (degrees >= kDegrees || !(cut > kNothing * form_.trace())) {
            break;
        }
        const int degree = filter_degree(values[0] / cut);
        filter(cut, degree, q, std::move(product));
        orthonormalise(q, columns);
        degrees += degree;
    }
    spare_.assign(columns - kept, std::vector<float>(d));
    const int first = count();
    for (int i = 0; i < columns; i++) {
        float* out = i < kept ? axis(first + i) : spare_[i - kept].data();
        for (int k = 0; k < d; k++) {
            out[k] = q.at(k, i);
        }
    }
    values_.insert(values_.end(), values.begin(), values.begin() + kept);
}

void LeadingAxes::grow(int more) {
    const int wanted = std::min(form_.d(), count() + more);
    while (count() < wanted) {
        check_interrupt();
        const int block = std::clamp(count() / 2, kLeastAxes, kMostAxes);
        find_block(std::min(block, wanted - count()));
    }
}

Frame LeadingAxes::frame() const {
    return Frame::rounded(form_.d(), count(), axes_.data(), stride());
}

} // namespace faiss_vlc
