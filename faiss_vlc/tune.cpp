#include <faiss_vlc/tune.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include <faiss/impl/AuxIndexStructures.h>

#include <faiss_vlc/encode.h>
#include <faiss_vlc/half.h>
#include <faiss_vlc/numeric.h>
#include <faiss_vlc/parallel.h>
#include <faiss_vlc/simd.h>

namespace faiss_vlc {

namespace {

constexpr int kTrueNeighbours = 10;
constexpr int kMaxQueries = 600;
constexpr int kMaxBase = 32768;
constexpr int kCandidates = 256; ///< per query: farther ones hardly get among the first 10
constexpr int kMaxVarianceRows = 32768;
static_assert(kMaxQueries + kMaxBase <= kKeptRows && kMaxVarianceRows <= kKeptRows,
              "vectors beyond are not kept");

/// Held-out queries, and for each the nearest rows of the base by true distance.
struct Trial {
    std::vector<int64_t> queries;   ///< sample rows
    std::vector<int64_t> base;      ///< sample rows
    int neighbours = 0;             ///< min(10, candidates)
    int candidates = 0;             ///< per query
    std::vector<int32_t> candidate; ///< queries x candidates, indices into base, nearest first
};

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
    for (int i = 0; i < n; i++) {
        const int8_t* x8 = &sample.x8[size_t(trial.base[i]) * shape.dp];
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
                simd().rank_tiles(tiles, groups, &sample.x8[size_t(trial.queries[q]) * shape.dp],
                                  packed.data(), sums.data(), norm.data(), -2, scores.data());
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

/// What the estimate of each (query, candidate) is made of, for one layout.
struct Terms {
    std::vector<float> list_distance, dot; ///< D and <q - a, r^> (or -<q, a> and <q, r^>)
    std::vector<float> square, gamma;      ///< |r|^2 and gamma as stored
    std::vector<float> query_norm;         ///< per query
};

Terms estimate_terms(const Sample& sample, const Anchors& anchors, const Trial& trial,
                     const Model& model) {
    const int n = int(trial.base.size());
    const int d = model.d;
    const int code_size = model.layout.code_size();
    const int slots = model.slots();
    std::vector<uint8_t> codes(size_t(n) * code_size);
    std::vector<float> decoded(size_t(n) * slots); // residuals in the frame
    Rescue rescue;
#pragma omp parallel
    {
        std::optional<Model::Coder> own;
        rescue.run([&] { own.emplace(model); });
#pragma omp for schedule(static)
        for (int i = 0; i < n; i++) {
            if (!own) {
                continue; // its thread found no memory
            }
            Model::Coder& coder = *own;
            const int64_t row = trial.base[i];
            const int j = anchors.label[row];
            coder.encode(sample.vector(row), j, &codes[size_t(i) * code_size]);
            const float unit = 0.5f * model.spread[j];
            const float* steps = model.steps_of(j);
            for (int s = 0; s < slots; s++) {
                decoded[size_t(i) * slots + s] =
                        float(2 * coder.level[s] - model.levels_less_one[s]) * (steps[s] * unit);
            }
        }
    }
    rescue.rethrow();
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    Terms terms;
    const size_t count = trial.candidate.size();
    terms.list_distance.resize(count);
    terms.dot.resize(count);
    terms.square.resize(count);
    terms.gamma.resize(count);
    terms.query_norm.resize(trial.queries.size());
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t q = 0; q < trial.queries.size(); q++) {
        rescue.run([&] {
            const float* x = sample.vector(trial.queries[q]);
            std::vector<float> lattice(model.dp(), 0), residual(slots);
            std::vector<float> rotated(model.frames.size() * slots);
            for (int k = 0; k < d; k++) {
                lattice[k] =
                        (x[k] - (inner_product ? 0 : model.lattice.mean[k])) * model.lattice.scale;
            }
            for (size_t g = 0; g < model.frames.size(); g++) {
                model.frames[g].rotate(lattice.data(), &rotated[g * slots]);
            }
            terms.query_norm[q] = std::sqrt(canonical_dot(d, lattice.data(), lattice.data()));
            for (int c = 0; c < trial.candidates; c++) {
                const size_t at = q * trial.candidates + c;
                const int i = trial.candidate[at];
                const int j = anchors.label[trial.base[i]];
                const float* y = &rotated[size_t(model.group[j]) * slots];
                const float* b = &model.anchor_rotated[size_t(j) * slots];
                for (int s = 0; s < slots; s++) {
                    residual[s] = inner_product ? y[s] : y[s] - b[s];
                }
                terms.list_distance[at] = inner_product ? -model.anchor_dot(lattice.data(), j)
                                                        : model.anchor_distance(lattice.data(), j);
                terms.dot[at] = canonical_dot(slots, residual.data(), &decoded[size_t(i) * slots]);
                const uint8_t* factors = &codes[size_t(i) * code_size + model.layout.code_bytes];
                const uint16_t word = uint16_t(factors[0] | factors[1] << 8);
                terms.square[at] = decode_rho(word) * model.estimator.energy * model.spread[j] *
                                   model.spread[j];
                terms.gamma[at] = model.estimator.gamma(word & (kGammaSteps - 1));
            }
        });
    }
    rescue.rethrow();
    return terms;
}

/// How many of the true neighbours the estimate finds, over all queries.
int64_t found(const Trial& trial, const Terms& terms, const Model& model, const Estimator& e) {
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const float energy = e.energy > 0 ? e.energy : 1.0f;
    int64_t total = 0;
    Rescue rescue;
#pragma omp parallel for schedule(static) reduction(+ : total)
    for (size_t q = 0; q < trial.queries.size(); q++) {
        rescue.run([&] {
            std::vector<float> estimate(trial.candidates);
            for (int c = 0; c < trial.candidates; c++) {
                const size_t at = q * trial.candidates + c;
                const float g = terms.gamma[at];
                const float miss = 1.0f - g;
                const float scale = 1.0f + e.t2 * (1.0f / g - 1.0f);
                const float square = terms.square[at];
                const float own = inner_product ? 0.0f : g + e.t1 * miss;
                const float penalty = inner_product ? e.c * terms.query_norm[q] / std::sqrt(energy)
                                                    : e.c * terms.list_distance[at] / energy;
                estimate[c] = terms.list_distance[at] + square * (own + penalty * miss) -
                              (inner_product ? 1.0f : 2.0f) * scale * terms.dot[at];
            }
            std::vector<float> sorted = estimate;
            std::nth_element(sorted.begin(), sorted.begin() + trial.neighbours - 1, sorted.end());
            const float bound = sorted[trial.neighbours - 1];
            for (int c = 0; c < trial.neighbours; c++) {
                total += estimate[c] <= bound;
            }
        });
    }
    rescue.rethrow();
    return total;
}

/// Chooses t1, t2 and c one after the other (the optimum is flat), starting from and replacing
/// `estimator`. Returns what is found.
int64_t choose_estimator(const Trial& trial, const Terms& terms, const Model& model,
                         const VLCParameters& params, bool thorough, Estimator& estimator) {
    int64_t best = found(trial, terms, model, estimator);
    const auto try_values = [&](float Estimator::*member, float fixed,
                                std::initializer_list<float> values) {
        if (fixed >= 0) {
            return;
        }
        for (float value : values) {
            Estimator other = estimator;
            other.*member = value;
            const int64_t met = found(trial, terms, model, other);
            if (met > best) {
                best = met;
                estimator = other;
            }
        }
    };
    if (!thorough) {
        try_values(&Estimator::c, params.c, {0.0f, 0.15f});
        try_values(&Estimator::t2, params.t2, {0.5f, 0.9f});
        return best;
    }
    for (int round = 0; round < 2; round++) {
        try_values(&Estimator::c, params.c, {0.0f, 0.1f, 0.2f, 0.3f, 0.45f, 0.6f, 0.8f});
        try_values(&Estimator::t2, params.t2, {0.2f, 0.35f, 0.5f, 0.6f, 0.7f, 0.8f, 0.9f, 1.0f});
        if (model.metric != faiss::METRIC_INNER_PRODUCT) {
            try_values(&Estimator::t1, params.t1, {0.25f, 0.5f, 0.65f, 0.8f, 0.9f, 1.0f});
        }
    }
    return best;
}

/// Spread of each list relative to the whole, drawn towards it where few vectors speak.
void set_spreads(const Anchors& anchors, const Shape& shape, Model& model) {
    constexpr double kPrior = 8; // vectors
    const double total =
            double(std::accumulate(anchors.energy.begin(), anchors.energy.end(), int64_t(0)));
    const double mean = total / double(std::max<int64_t>(1, shape.n_train));
    model.spread.assign(shape.m, 1.0f);
    for (int j = 0; j < shape.m && mean > 0; j++) {
        const double energy =
                (double(anchors.energy[j]) + kPrior * mean) / (anchors.count[j] + kPrior);
        model.spread[j] = half_to_float(float_to_half(float(std::sqrt(energy / mean))));
    }
}

/// Rows of the sample that shapes are fitted to: held-out ones first.
std::vector<int64_t> fitting_rows(const Shape& shape) {
    std::vector<int64_t> rows(std::min<int64_t>(shape.n, kMaxVarianceRows));
    for (size_t i = 0; i < rows.size(); i++) {
        rows[i] = shape.n - 1 - int64_t(i);
    }
    return rows;
}

/// Variance of residual / spread along each axis of the full frames, frames x d.
std::vector<double> axis_variance(const Sample& sample, const Anchors& anchors,
                                  const Model& model) {
    const int d = model.d;
    std::vector<Frame> frames = model.frames;
    std::vector<int> all(d);
    std::iota(all.begin(), all.end(), 0);
    for (Frame& frame : frames) {
        frame.arrange(all);
    }
    const std::vector<int64_t> rows = fitting_rows(sample.shape);
    std::vector<std::vector<int64_t>> of_frame(frames.size());
    for (int64_t row : rows) {
        of_frame[model.group[anchors.label[row]]].push_back(row);
    }
    constexpr int kParts = 64; // sums in a fixed order, whatever the threads
    std::vector<double> variance(frames.size() * d, 0);
    for (size_t g = 0; g < frames.size(); g++) {
        std::vector<double> sums(size_t(kParts) * d, 0);
        Rescue rescue;
#pragma omp parallel for schedule(static)
        for (int part = 0; part < kParts; part++) {
            rescue.run([&] {
                std::vector<float> residual(d), rotated(frames[g].slots());
                for (size_t i = part; i < of_frame[g].size(); i += kParts) {
                    const int64_t row = of_frame[g][i];
                    const int j = anchors.label[row];
                    const float* x = sample.vector(row);
                    const int32_t* a = &anchors.anchor[size_t(j) * sample.shape.dp];
                    for (int k = 0; k < d; k++) {
                        // clamped as on the lattice: a wild component must not own an axis
                        const float u = (x[k] - model.lattice.mean[k]) * model.lattice.scale;
                        residual[k] = std::min(127.0f, std::max(-127.0f, u)) -
                                      float(a[k]) * (1.0f / (1 << kAnchorBits));
                    }
                    frames[g].rotate(residual.data(), rotated.data());
                    const double weight = 1.0 / (double(model.spread[j]) * model.spread[j]);
                    for (int k = 0; k < d; k++) {
                        sums[size_t(part) * d + k] += weight * rotated[k] * rotated[k];
                    }
                }
            });
        }
        rescue.rethrow();
        for (int part = 0; part < kParts; part++) {
            for (int k = 0; k < d; k++) {
                variance[g * d + k] += sums[size_t(part) * d + k];
            }
        }
        for (int k = 0; k < d; k++) {
            variance[g * d + k] /= double(std::max<size_t>(1, of_frame[g].size()));
        }
    }
    return variance;
}

/// The mean of the frames' variances per rank, by which all frames share one layout.
std::vector<double> mean_variance(const Sample& sample, const Anchors& anchors, const Model& model,
                                  const std::vector<double>& variance) {
    std::vector<double> weight(model.frames.size(), 0), mean(model.d, 0);
    for (int j = 0; j < model.m; j++) {
        weight[model.group[j]] += anchors.count[j];
    }
    for (size_t g = 0; g < weight.size(); g++) {
        for (int k = 0; k < model.d; k++) {
            mean[k] += weight[g] / double(sample.shape.n_train) * variance[g * model.d + k];
        }
    }
    return mean;
}

/// Orders axes by falling variance (the covariance weighs lists differently).
void sort_axes(Frame& frame, double* variance) {
    const int d = frame.d;
    std::vector<int> order(d);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return variance[a] > variance[b]; });
    std::vector<int8_t> rows(frame.rows.size());
    std::vector<double> sorted(d);
    for (int i = 0; i < d; i++) {
        std::copy_n(&frame.rows[size_t(order[i]) * d], d, &rows[size_t(i) * d]);
        sorted[i] = variance[order[i]];
    }
    frame.rows.swap(rows);
    std::copy(sorted.begin(), sorted.end(), variance);
}

/// The range of gamma and the mean of |r|^2 / spread^2 under the model's layout.
void fit_factors(const Sample& sample, const Anchors& anchors, Model& model) {
    std::vector<int64_t> rows = fitting_rows(sample.shape);
    rows.resize(std::min<size_t>(rows.size(), 4096));
    std::vector<float> gamma(rows.size());
    std::vector<double> square(rows.size());
    Rescue rescue;
#pragma omp parallel
    {
        std::optional<Model::Coder> own;
        std::vector<uint8_t> code;
        rescue.run([&] {
            code.resize(model.layout.code_size());
            own.emplace(model);
        });
#pragma omp for schedule(static)
        for (size_t i = 0; i < rows.size(); i++) {
            if (!own) {
                continue;
            }
            Model::Coder& coder = *own;
            const int j = anchors.label[rows[i]];
            coder.encode(sample.vector(rows[i]), j, code.data());
            gamma[i] = coder.residual_square > 0 ? float(coder.residual_dot / coder.residual_square)
                                                 : 1.0f;
            square[i] = coder.residual_square / (double(model.spread[j]) * model.spread[j]);
        }
    }
    rescue.rethrow();
    // the largest 1 in 256 are left out, as they may be wild
    std::sort(square.begin(), square.end());
    const size_t usual = square.size() - square.size() / 256;
    double sum = 0;
    for (size_t i = 0; i < usual; i++) {
        sum += square[i];
    }
    model.estimator.energy = float(sum / double(usual));
    std::sort(gamma.begin(), gamma.end());
    const size_t tail = gamma.size() / 256;
    // <r, r^> <= 0 happens with a bit or two per vector: the grid ends above it
    const float low = std::max(0.02f, gamma[tail]);
    const float high = std::max(low + 0.001f, gamma[gamma.size() - 1 - tail]);
    model.estimator.gamma_low = low;
    model.estimator.gamma_step = (high - low) / float(kGammaSteps - 1);
}

/// The number of lists that hold `coverage` of the true neighbours of the trial's queries.
int choose_nprobe(const Sample& sample, const Anchors& anchors, const Trial& trial,
                  const Model& model, float coverage) {
    const int most = std::min(model.m, 1024);
    std::vector<int64_t> at_rank(most + 1, 0);
    Query query(model);
    std::vector<int32_t> rank_of(model.m);
    for (size_t q = 0; q < trial.queries.size(); q++) {
        query.set(sample.vector(trial.queries[q]));
        const std::vector<int64_t>& order = query.rank(most);
        std::fill(rank_of.begin(), rank_of.end(), most);
        for (int r = 0; r < most; r++) {
            rank_of[order[r]] = r;
        }
        for (int c = 0; c < trial.neighbours; c++) {
            const int64_t row = trial.base[trial.candidate[q * trial.candidates + c]];
            at_rank[rank_of[anchors.label[row]]]++;
        }
    }
    const double wanted = double(coverage) * double(trial.queries.size()) * trial.neighbours;
    int64_t covered = 0;
    for (int r = 0; r < most; r++) {
        covered += at_rank[r];
        if (double(covered) >= wanted) {
            return r + 1;
        }
    }
    return most;
}

} // namespace

Model tune_model(const Sample& sample, const Anchors& anchors, const VLCParameters& params,
                 faiss::MetricType metric) {
    const Shape& shape = sample.shape;
    Model model;
    model.d = shape.d;
    model.m = shape.m;
    model.metric = metric;
    model.lattice = sample.lattice;
    model.grid = params.grid;
    model.anchors8.resize(size_t(shape.m) * shape.dp);
    for (size_t i = 0; i < model.anchors8.size(); i++) {
        model.anchors8[i] = round_anchor(anchors.anchor[i]);
    }
    if (params.grid == AnchorGrid::float16) {
        model.anchors16.resize(size_t(shape.m) * shape.d);
        for (int j = 0; j < shape.m; j++) {
            for (int k = 0; k < shape.d; k++) {
                model.anchors16[size_t(j) * shape.d + k] = float_to_half(
                        float(anchors.anchor[size_t(j) * shape.dp + k]) / float(1 << kAnchorBits));
            }
        }
    }
    set_spreads(anchors, shape, model);

    model.group = anchors.group;
    for (int g = 0; g < anchors.groups; g++) {
        const int64_t* covariance = &anchors.covariance[size_t(g) * shape.d * shape.d];
        model.frames.push_back(params.frame == FrameKind::identity
                                       ? Frame::identity(shape.d, covariance)
                                       : Frame::principal(shape.d, covariance));
    }
    std::vector<double> variance = axis_variance(sample, anchors, model);
    for (int g = 0; g < anchors.groups; g++) {
        sort_axes(model.frames[g], &variance[size_t(g) * shape.d]);
    }
    const std::vector<double> mean = mean_variance(sample, anchors, model, variance);

    const Trial trial = make_trial(sample, model);
    std::vector<double> tilts = {0, 0.25, 0.5, 0.75, 1.0};
    if (params.tilt >= 0) {
        tilts = {params.tilt};
    }
    const int code_bytes = params.code_size(shape.d) - kFactorBytes;
    Model best;
    Terms best_terms;
    int64_t best_found = -1;
    for (double tilt : tilts) {
        faiss::InterruptCallback::check();
        Model candidate = model;
        candidate.layout = Layout::allocate(code_bytes, mean, tilt);
        for (int g = 0; g < anchors.groups; g++) {
            candidate.frames[g].keep(candidate.layout.axes);
            for (int i = 0; i < candidate.frames[g].kept; i++) {
                candidate.sigma.push_back(float(std::sqrt(variance[size_t(g) * shape.d + i])));
            }
        }
        candidate.finish();
        fit_factors(sample, anchors, candidate);
        Estimator& e = candidate.estimator;
        e.t1 = params.t1 >= 0 ? params.t1 : 1.0f;
        e.t2 = params.t2 >= 0 ? params.t2 : 0.7f;
        e.c = params.c >= 0 ? params.c : 0.3f;
        Terms terms = estimate_terms(sample, anchors, trial, candidate);
        const int64_t met = choose_estimator(trial, terms, candidate, params, false, e);
        if (met > best_found) {
            best_found = met;
            best = std::move(candidate);
            best_terms = std::move(terms);
        }
    }
    choose_estimator(trial, best_terms, best, params, true, best.estimator);
    best.default_nprobe = choose_nprobe(sample, anchors, trial, best, params.coverage);

    const double unit = 1.0 / (double(model.lattice.scale) * model.lattice.scale);
    int64_t train = 0, held = 0;
    for (int64_t i = 0; i < shape.n; i++) {
        (i < shape.n_train ? train : held) += anchors.dist[i];
    }
    best.record.n = shape.n;
    best.record.iterations = anchors.iterations;
    best.record.seed = params.seed;
    best.record.energy_train = float(double(train) / double(shape.n_train) * unit);
    best.record.energy_held = shape.n > shape.n_train
                                      ? float(double(held) / double(shape.n - shape.n_train) * unit)
                                      : 0;
    return best;
}

} // namespace faiss_vlc
