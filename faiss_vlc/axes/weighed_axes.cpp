#include <faiss_vlc/axes/weighed_axes.h>

#include <algorithm>
#include <cmath>

#include <Eigen/Eigenvalues>

namespace faiss_vlc {

namespace {

constexpr int kLargest = 127; ///< component of a row

double dot(size_t n, const double* a, const double* b) {
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        sum += a[k] * b[k];
    }
    return sum;
}

/// L of W = L L^T, row by row; what rounding takes below 0 counts as hardly anything.
std::vector<double> cholesky(size_t d, const std::vector<double>& w) {
    constexpr double kLeast = 1e-12;
    std::vector<double> lower(d * d, 0);
    for (size_t j = 0; j < d; j++) {
        const double* row = &lower[j * d];
        const double square = w[j * d + j] - dot(j, row, row);
        lower[j * d + j] = std::sqrt(std::max(kLeast, square));
#pragma omp parallel for schedule(static) if (d > 256)
        for (size_t i = j + 1; i < d; i++) {
            lower[i * d + j] = (w[i * d + j] - dot(j, &lower[i * d], row)) / lower[j * d + j];
        }
    }
    return lower;
}

/// A B, by rows of the result: not Eigen's, whose sums go by the CPU's caches.
std::vector<double> product(size_t d, const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<double> out(d * d, 0);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k < d; k++) {
            const double factor = a[i * d + k];
            for (size_t l = 0; factor != 0 && l < d; l++) {
                out[i * d + l] += factor * b[k * d + l];
            }
        }
    }
    return out;
}

std::vector<double> transposed(size_t d, const std::vector<double>& a) {
    std::vector<double> out(d * d);
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k < d; k++) {
            out[k * d + i] = a[i * d + k];
        }
    }
    return out;
}

/// Makes the rows orthonormal, each by those before it.
void orthonormalize(size_t d, std::vector<double>& rows) {
    for (size_t i = 0; i < d; i++) {
        double* x = &rows[i * d];
        for (int twice = 0; twice < 2; twice++) { // once leaves what rounding left
            for (size_t other = 0; other < i; other++) {
                const double* y = &rows[other * d];
                const double part = dot(d, x, y);
                for (size_t k = 0; k < d; k++) {
                    x[k] -= part * y[k];
                }
            }
            const double norm = std::sqrt(dot(d, x, x));
            for (size_t k = 0; norm > 0 && k < d; k++) {
                x[k] /= norm;
            }
        }
    }
}

/// To int8, with the largest component positive.
void round_row(size_t d, const double* x, int8_t* row) {
    size_t strongest = 0;
    for (size_t k = 1; k < d; k++) {
        if (std::fabs(x[k]) > std::fabs(x[strongest])) {
            strongest = k;
        }
    }
    if (x[strongest] == 0) { // rounding left nothing: any axis will do
        row[strongest] = int8_t(kLargest);
        return;
    }
    for (size_t k = 0; k < d; k++) {
        row[k] = int8_t(std::lrint(x[k] * (kLargest / x[strongest])));
    }
}

} // namespace

WeighedAxes weighed_axes(int d_in, const int64_t* covariance, const std::vector<double>& weight) {
    const size_t d = size_t(d_in);
    double largest = 1;
    for (size_t i = 0; i < d * d; i++) {
        largest = std::max(largest, std::fabs(double(covariance[i])));
    }
    std::vector<double> scaled(d * d);
    for (size_t i = 0; i < d * d; i++) {
        scaled[i] = double(covariance[i]) / largest;
    }
    const std::vector<double> lower = cholesky(d, weight);
    const std::vector<double> upper = transposed(d, lower);
    const std::vector<double> weighed = product(d, product(d, upper, scaled), lower);
    Eigen::MatrixXd matrix(d, d);
    for (size_t k = 0; k < d; k++) {
        for (size_t l = 0; l < d; l++) { // symmetric to the bit
            matrix(k, l) = weighed[std::max(k, l) * d + std::min(k, l)];
        }
    }
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(matrix);
    if (solver.info() != Eigen::Success) {
        return {Frame::principal(d_in, covariance), std::vector<double>(d, 1)};
    }
    std::vector<double> axes(d * d); // rows: strongest first
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k < d; k++) {
            axes[i * d + k] = solver.eigenvectors()(k, d - 1 - i);
        }
    }
    axes = product(d, axes, upper);
    orthonormalize(d, axes);
    WeighedAxes result;
    result.frame.d = result.frame.kept = d_in;
    result.frame.rows.assign(d * d, 0);
    result.weight = product(d, axes, weight);
    for (size_t i = 0; i < d; i++) {
        round_row(d, &axes[i * d], &result.frame.rows[i * d]);
        result.weight[i] = dot(d, &result.weight[i * d], &axes[i * d]); // behind what is read
    }
    result.weight.resize(d);
    return result;
}

} // namespace faiss_vlc
