#include <faiss_vlc/cli/cli.h>

#include <algorithm>

#include <faiss/utils/distances.h>

#include <faiss_vlc/lib/parallel.h>

namespace faiss_vlc::cli {

namespace {

/// Candidates beyond k that BLAS's rounding may confuse with the k best.
constexpr int64_t kMargin = 16;

} // namespace

ExactNeighbours::ExactNeighbours(const Matrix<float>& queries, int64_t k, faiss::MetricType metric)
    : queries_(queries), k_(k), inner_product_(metric == faiss::METRIC_INNER_PRODUCT),
      best_(queries.n) {}

double ExactNeighbours::distance(const float* x, const float* y) const {
    double sum = 0;
    for (int c = 0; c < queries_.d; c++) {
        const double difference = double(x[c]) - double(y[c]);
        sum += inner_product_ ? -double(x[c]) * double(y[c]) : difference * difference;
    }
    return sum;
}

void ExactNeighbours::add(int64_t n, const float* x) {
    const int64_t wanted = std::min(n, k_ + kMargin);
    std::vector<float> distances(size_t(queries_.n) * wanted);
    std::vector<int64_t> labels(distances.size());
    if (inner_product_) {
        faiss::knn_inner_product(queries_.data.data(), x, queries_.d, queries_.n, n, wanted,
                                 distances.data(), labels.data());
    } else {
        faiss::knn_L2sqr(queries_.data.data(), x, queries_.d, queries_.n, n, wanted,
                         distances.data(), labels.data());
    }
    Rescue rescue;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t q = 0; q < queries_.n; q++) {
        rescue.run([&] {
            std::vector<std::pair<double, int64_t>>& best = best_[q];
            for (int64_t i = 0; i < wanted; i++) {
                const int64_t row = labels[q * wanted + i];
                if (row >= 0) {
                    best.emplace_back(
                            distance(&queries_.data[size_t(q) * queries_.d], x + row * queries_.d),
                            first_ + row);
                }
            }
            std::sort(best.begin(), best.end());
            best.resize(std::min(best.size(), size_t(k_)));
        });
    }
    rescue.rethrow();
    first_ += n;
}

Matrix<int64_t> ExactNeighbours::labels() const {
    Matrix<int64_t> result;
    result.n = queries_.n;
    result.d = int(k_);
    result.data.assign(size_t(result.n) * k_, -1);
    for (int64_t q = 0; q < result.n; q++) {
        for (size_t i = 0; i < best_[q].size(); i++) {
            result.data[q * k_ + i] = best_[q][i].second;
        }
    }
    return result;
}

} // namespace faiss_vlc::cli
