#include <algorithm>
#include <vector>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

constexpr int kTrueNeighbours = 10;
constexpr int kMaxQueries = 600;
constexpr int kMaxBase = 32768;
constexpr int kCandidates = 256; ///< per query: farther ones hardly get among the first 10
static_assert(kMaxQueries + kMaxBase <= kKeptRows && kMaxVarianceRows <= kKeptRows,
              "vectors beyond are not kept");

} // namespace

Trial make_trial(const Sample& sample, const Model& model) {
    const Shape& shape = sample.shape;
    const int d = shape.d;
    Trial trial;
    const int64_t held = shape.n - shape.n_train;
    // A tiny sample without a held-out part lends training rows, as queries and as base.
    const int64_t query_count = std::min<int64_t>(held > 0 ? held : shape.n, kMaxQueries);
    for (int64_t i = 0; i < query_count; i++) {
        trial.queries.push_back(shape.n - query_count + i);
    }
    const int64_t base_end = held > 0 ? shape.n - query_count : shape.n;
    for (int64_t i = 0; i < std::min<int64_t>(base_end, kMaxBase); i++) {
        trial.base.push_back(base_end - 1 - i); // other held-out rows first: they were not fitted
    }
    const int n = int(trial.base.size());
    trial.candidates = std::min(kCandidates, n);
    trial.neighbours = std::min(kTrueNeighbours, trial.candidates);
    trial.candidate.resize(trial.queries.size() * trial.candidates);

    // The base as ranking tiles: the nearest on the int8 lattice, then ordered exactly.
    const int groups = shape.dp / 4;
    const int tiles = (n + 15) / 16;
    std::vector<int8_t> packed(size_t(tiles) * groups * 64, 0);
    std::vector<int32_t> norm(tiles * 16, 0), sums(tiles * 16, 0);
    const AnchorTiles rows{tiles, groups, packed.data(), sums.data(), norm.data()};
    std::vector<int8_t> x8(shape.dp);
    for (int i = 0; i < n; i++) {
        sample.lattice.encode_row(sample.vector(trial.base[i]), x8.data());
        for (int k = 0; k < shape.dp; k++) {
            packed[(size_t(i / 16) * groups + k / 4) * 64 + i % 16 * 4 + k % 4] = x8[k];
            norm[i] += x8[k] * x8[k];
            sums[i] += x8[k];
        }
    }
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    // Distances in lattice units: those of the data may leave the range of float.
    const float scale = model.lattice.scale;
    const auto scaled = [&](int64_t row) {
        std::vector<float> v(d);
        for (int k = 0; k < d; k++) {
            v[k] = (sample.vector(row)[k] - (inner_product ? 0 : model.lattice.mean[k])) * scale;
        }
        return v;
    };
    std::vector<float> base(size_t(n) * d);
    Rescue rescue;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        rescue.run([&] {
            const std::vector<float> v = scaled(trial.base[i]);
            std::copy(v.begin(), v.end(), &base[size_t(i) * d]);
        });
    }
    rescue.rethrow();
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t q = 0; q < trial.queries.size(); q++) {
        rescue.run([&] {
            const std::vector<float> query = scaled(trial.queries[q]);
            const float* x = query.data();
            std::vector<std::pair<float, int32_t>> order(n);
            if (inner_product) {
                for (int i = 0; i < n; i++) {
                    order[i] = {-canonical_dot(d, x, &base[size_t(i) * d]), i};
                }
            } else {
                std::vector<int32_t> scores(tiles * 16);
                std::vector<int8_t> query8(shape.dp);
                sample.lattice.encode_row(sample.vector(trial.queries[q]), query8.data());
                simd().rank.tiles(rows, query8.data(), -2, scores.data());
                for (int i = 0; i < n; i++) {
                    order[i] = {float(scores[i]), i};
                }
            }
            std::nth_element(order.begin(), order.begin() + trial.candidates - 1, order.end());
            order.resize(trial.candidates);
            for (auto& [distance, i] : order) {
                const float* y = &base[size_t(i) * d];
                distance = inner_product ? -canonical_dot(d, x, y) : canonical_l2(d, x, y);
            }
            std::sort(order.begin(), order.end());
            for (int i = 0; i < trial.candidates; i++) {
                trial.candidate[q * trial.candidates + i] = order[i].second;
            }
        });
    }
    rescue.rethrow();
    return trial;
}

} // namespace faiss_vlc
