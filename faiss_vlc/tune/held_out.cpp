#include <faiss_vlc/tune/held_out.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/query/query.h>

namespace faiss_vlc {

template <class Value>
int Truth::found(size_t query, const Value* value, int count) const {
    std::vector<std::pair<Value, int>> best; // a heap, the worst on top
    best.reserve(count);
    Value bound = std::numeric_limits<Value>::max();
    for (int i = 0; i < base; i++) {
        if (!(value[i] < bound)) {
            continue;
        }
        if (int(best.size()) == count) {
            std::pop_heap(best.begin(), best.end());
            best.pop_back();
        }
        best.emplace_back(value[i], i);
        std::push_heap(best.begin(), best.end());
        if (int(best.size()) == count) {
            bound = best.front().first;
        }
    }
    const auto right = std::count_if(best.begin(), best.end(), [&](const auto& one) {
        return distance[query * base + one.second] <= farthest[query];
    });
    return std::min(int(right), neighbours);
}

template int Truth::found(size_t, const float*, int) const;

namespace {

constexpr float kNever = std::numeric_limits<float>::infinity();

/// A row in lattice units: distances of the data may leave the range of float.
void scale_row(const Sample& sample, const float* x, bool products, float* out) {
    const Lattice& lattice = sample.lattice;
    for (int k = 0; k < sample.shape.d; k++) {
        out[k] = (x[k] - (products ? 0 : lattice.mean[k])) * lattice.scale;
    }
}

/// A query as lists are ranked by it: on the lattice, or for inner products with a scale of its
/// own.
void round_query(const Sample& sample, const float* x, bool products, int8_t* out) {
    if (!products) {
        sample.lattice.encode_row(x, out);
        return;
    }
    float largest = 0;
    for (int k = 0; k < sample.shape.d; k++) {
        largest = std::max(largest, std::fabs(x[k]));
    }
    const float scale = largest > 0 ? 127.0f / largest : 0.0f;
    for (int k = 0; k < sample.shape.d; k++) {
        out[k] = int8_t(round_even(x[k] * scale));
    }
}

/// Distances of queries from rows, all rounded to the lattice: queries x base.
std::vector<int32_t> lattice_distances(const Sample& sample, const Trial& trial, bool products) {
    const int dp = sample.shape.dp;
    const int n = int(trial.base.size());
    const int queries = int(trial.queries.size());
    const int tiles = (queries + 15) / 16;
    const int groups = dp / 4;
    std::vector<int8_t> packed(size_t(tiles) * groups * 64, 0), row(dp, 0);
    std::vector<int32_t> norm(size_t(tiles) * 16, 0), sums(norm);
    for (int q = 0; q < queries; q++) {
        round_query(sample, trial.queries[q], products, row.data());
        for (int k = 0; k < dp; k++) {
            packed[(size_t(q / 16) * groups + k / 4) * 64 + q % 16 * 4 + k % 4] = row[k];
            norm[q] += products ? 0 : row[k] * row[k];
            sums[q] += row[k];
        }
    }
    const AnchorTiles all{tiles, groups, packed.data(), sums.data(), norm.data()};
    std::vector<int32_t> distance(size_t(queries) * n);
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        std::vector<int8_t> x(dp);
        std::vector<int32_t> scores(norm.size());
#pragma omp for schedule(static) nowait
        for (int i = 0; i < n; i++) {
            sample.lattice.encode_row(sample.vector(trial.base[i]), x.data());
            int32_t own = 0;
            for (int k = 0; k < dp && !products; k++) {
                own += x[k] * x[k];
            }
            simd().rank.tiles(all, x.data(), products ? -1 : -2, scores.data());
            for (int q = 0; q < queries; q++) {
                distance[size_t(q) * n + i] = scores[q] + own;
            }
        }
    });
    rescue.rethrow();
    return distance;
}

/// How many true neighbours lie among as many rows as a list has, by distance on the lattice.
int64_t found_on_lattice(const Sample& sample, const Trial& trial, const Truth& truth,
                         const Model& model) {
    constexpr int kLeast = 20; // fewer, of a sample, are farther apart than in a list
    const std::vector<int32_t> distance =
            lattice_distances(sample, trial, model.metric == faiss::METRIC_INNER_PRODUCT);
    const int count = std::min(truth.base, std::max(kLeast, truth.base / model.m));
    int64_t total = 0;
    Rescue rescue;
#pragma omp parallel for schedule(static) reduction(+ : total)
    for (size_t q = 0; q < trial.queries.size(); q++) {
        rescue.run([&] { total += truth.found(q, &distance[q * truth.base], count); });
    }
    rescue.rethrow();
    return total;
}

/// The terms' distances of queries from the lists of their candidates, by rows: queries x base.
/// Those of whole words are distances from 0.
std::vector<float> list_distances(const Anchors& anchors, const Trial& wide, const Terms& terms,
                                  const Model& model) {
    const size_t n = wide.base.size(), queries = wide.queries.size();
    std::vector<float> distance(queries * n);
    Model of_residuals;
    if (model.whole_words) {
        of_residuals = model;
        of_residuals.whole_words = false;
        of_residuals.finish();
    }
    Rescue rescue;
#pragma omp parallel for schedule(static)
    for (size_t q = 0; q < queries; q++) {
        rescue.run([&] {
            std::vector<float> of_list;
            if (model.whole_words) {
                const bool products = model.metric == faiss::METRIC_INNER_PRODUCT;
                std::vector<float> x(model.dp(), 0);
                for (int k = 0; k < model.d; k++) {
                    const float mean = products ? 0 : model.lattice.mean[k];
                    x[k] = (wide.queries[q][k] - mean) * model.lattice.scale;
                }
                for (int j = 0; j < model.m; j++) {
                    of_list.push_back(products ? -of_residuals.anchor_dot(x.data(), j)
                                               : of_residuals.anchor_distance(x.data(), j));
                }
            }
            for (size_t c = 0; c < n; c++) {
                const int32_t row = wide.candidate[q * n + c];
                distance[q * n + row] = of_list.empty() ? terms.list_distance[q * n + c]
                                                        : of_list[anchors.label[wide.base[row]]];
            }
        });
    }
    rescue.rethrow();
    return distance;
}

/// Which lists the default nprobe reaches for each query: queries x m.
std::vector<uint8_t> probed_lists(const Trial& trial, const Model& model) {
    std::vector<uint8_t> probed(trial.queries.size() * model.m, 0);
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        Query query(model);
#pragma omp for schedule(static) nowait
        for (size_t q = 0; q < trial.queries.size(); q++) {
            query.set(trial.queries[q]);
            for (const int64_t j : query.rank(model.default_nprobe)) {
                probed[q * model.m + j] = 1;
            }
        }
    });
    rescue.rethrow();
    return probed;
}

} // namespace

Truth find_truth(const Sample& sample, const Trial& trial, bool products) {
    constexpr float kEqual = 1e-6f; // rounding must not tell equal rows apart
    const int d = sample.shape.d;
    const size_t queries = trial.queries.size();
    Truth truth;
    truth.base = int(trial.base.size());
    truth.neighbours = trial.neighbours;
    truth.distance.resize(queries * truth.base);
    truth.farthest.resize(queries);
    std::vector<float> asked(queries * d);
    for (size_t q = 0; q < queries; q++) {
        scale_row(sample, trial.queries[q], products, &asked[q * d]);
    }
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        std::vector<float> row(d);
#pragma omp for schedule(static) nowait
        for (int i = 0; i < truth.base; i++) {
            scale_row(sample, sample.vector(trial.base[i]), products, row.data());
            for (size_t q = 0; q < queries; q++) {
                const float* x = &asked[q * d];
                truth.distance[q * truth.base + i] = products ? -canonical_dot(d, x, row.data())
                                                              : canonical_l2(d, x, row.data());
            }
        }
    });
    rescue.rethrow();
#pragma omp parallel for schedule(static)
    for (size_t q = 0; q < queries; q++) {
        rescue.run([&] {
            const float* own = &truth.distance[q * truth.base];
            std::vector<float> sorted(own, own + truth.base);
            const auto last = sorted.begin() + truth.neighbours - 1;
            std::nth_element(sorted.begin(), last, sorted.end());
            truth.farthest[q] = *last + kEqual * std::fabs(*last);
        });
    }
    rescue.rethrow();
    return truth;
}

namespace {

/// All values but the `count` least become kNever.
void keep_best(size_t count, std::vector<float>& values) {
    if (count >= values.size()) {
        return;
    }
    std::vector<float> sorted = values;
    std::nth_element(sorted.begin(), sorted.begin() + ptrdiff_t(count), sorted.end());
    for (float& value : values) {
        value = value < sorted[count] ? value : kNever;
    }
}

} // namespace

HeldOutRecall measure_recall(const Sample& sample, const Anchors& anchors, const Trial& wide,
                             const Terms& terms, const Model& model,
                             const std::vector<float>& refined) {
    const bool products = model.metric == faiss::METRIC_INNER_PRODUCT;
    const Truth truth = find_truth(sample, wide, products);
    const std::vector<uint8_t> probed = probed_lists(wide, model);
    const size_t n = wide.base.size(), queries = wide.queries.size();
    Estimator plain = model.estimator;
    plain.t1 = plain.t2 = plain.c = 0;
    const std::vector<float> list_distance = list_distances(anchors, wide, terms, model);
    int64_t in_lists = 0, decoded = 0, estimated = 0, in_probed = 0;
    Rescue rescue;
#pragma omp parallel for schedule(static) reduction(+ : in_lists, decoded, estimated, in_probed)
    for (size_t q = 0; q < queries; q++) {
        rescue.run([&] {
            const int32_t* row = &wide.candidate[q * n];
            std::vector<float> estimate, by_row(n);
            const auto count = [&](bool all) {
                for (size_t c = 0; c < n; c++) {
                    const int j = anchors.label[wide.base[row[c]]];
                    by_row[row[c]] = all || probed[q * model.m + j] ? estimate[c] : kNever;
                }
                return truth.found(q, by_row.data(), truth.neighbours);
            };
            const auto count_best = [&](bool all) { // as count(), in two tiers if there are
                if (refined.empty()) {
                    return count(all);
                }
                const std::vector<float> first = estimate;
                count(all);
                const double lists = all ? model.m : model.default_nprobe;
                keep_best(size_t(model.second->count_for(truth.neighbours, int64_t(n),
                                                         lists / model.default_nprobe)),
                          by_row);
                for (size_t c = 0; c < n; c++) {
                    estimate[c] = by_row[row[c]] < kNever ? refined[q * n + c] : kNever;
                }
                const int found = count(all);
                estimate = first;
                return found;
            };
            if (refined.empty()) {
                estimate_all(wide, terms, model, plain, q, estimate);
            } else {
                estimate.assign(&refined[q * n], &refined[q * n] + n);
            }
            decoded += count(true);
            estimate_all(wide, terms, model, model.estimator, q, estimate);
            estimated += count_best(true);
            in_probed += count_best(false);
            for (size_t c = 0; c < n; c++) {
                estimate[c] = truth.distance[q * n + row[c]];
            }
            in_lists += count(false);
        });
    }
    rescue.rethrow();
    HeldOutRecall recall;
    recall.queries = int64_t(queries);
    recall.base = int64_t(n);
    recall.sought = int64_t(queries) * truth.neighbours;
    recall.nprobe = model.default_nprobe;
    recall.in_lists = in_lists;
    recall.decoded = decoded;
    recall.estimated = estimated;
    recall.probed = in_probed;
    recall.product =
            found_by_product(sample, anchors, wide, model, truth, list_distance, model.code_size());
    recall.on_lattice = found_on_lattice(sample, wide, truth, model);
    return recall;
}

float fit_usual_length(const Sample& sample, const Anchors& anchors, const Model& model) {
    constexpr float kBeyond = 1.25f; // times what was seen is still usual
    constexpr int64_t kRows = 4096;
    const int64_t n = sample.shape.n;
    std::vector<float> length, lattice(model.dp(), 0);
    for (int64_t row = n - std::min(n, kRows); row < n; row++) {
        scale_row(sample, sample.vector(row), false, lattice.data());
        const int j = anchors.label[row];
        length.push_back(std::sqrt(model.anchor_distance(lattice.data(), j)) /
                         model.estimator.length_unit(model.spread[j]));
    }
    const auto last = length.end() - 1 - ptrdiff_t(length.size() / 256); // these may be wild
    std::nth_element(length.begin(), last, length.end());
    return std::min(kBeyond * *last, kUnbounded);
}

} // namespace faiss_vlc
