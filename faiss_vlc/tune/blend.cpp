#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numeric>
#include <optional>
#include <vector>

#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/query/level_query.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

/// What the entries of words take off <q - a, r^> where codes have l alone, see WordTables.
float excess_square(const Model& model, float list_distance, float scale, float square) {
    if (!(scale > 0)) {
        return 0;
    }
    const float energy = model.estimator.energy;
    const float query_scale = std::sqrt(list_distance / energy);
    return 0.5f * scale * query_scale * (square / (scale * scale) - model.estimator.kappa * energy);
}

/// Places for the rows of the base in which a list's rows follow each other.
std::vector<int> places_by_list(const Anchors& anchors, const std::vector<int64_t>& base) {
    std::vector<int> next(anchors.count.size() + 1, 0), place(base.size());
    for (const int64_t row : base) {
        next[anchors.label[row] + 1]++;
    }
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (size_t i = 0; i < base.size(); i++) {
        place[i] = next[anchors.label[base[i]]]++;
    }
    return place;
}

/// The numbers of a query's candidates by their places.
std::vector<int> by_place(const std::vector<int>& place, int candidates, const int32_t* candidate) {
    std::vector<int> order(candidates);
    if (size_t(candidates) == place.size()) { // all of the base
        for (int c = 0; c < candidates; c++) {
            order[place[candidate[c]]] = c;
        }
        return order;
    }
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int a, int b) { return place[candidate[a]] < place[candidate[b]]; });
    return order;
}

} // namespace

Terms estimate_terms(const Sample& sample, const Anchors& anchors, const Trial& trial,
                     const Model& model) {
    const int n = int(trial.base.size());
    const int d = model.d;
    const int code_size = model.layout.code_size();
    const int slots = model.slots();
    const std::vector<int> place = places_by_list(anchors, trial.base);
    std::vector<uint8_t> codes(size_t(n) * code_size); // and the following by place
    std::vector<float> decoded(size_t(n) * slots);     // residuals in the frame
    std::vector<float> scale(n), square(n);            // of the codes; |r^|^2
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
            const auto at = size_t(place[i]);
            uint8_t* code = &codes[at * code_size];
            coder.encode(sample.vector(row), j, code);
            rescue.run([&] { model.decode_residual(j, code, &decoded[at * slots]); });
            scale[at] = model.code_scale(j, code);
            square[at] = float(coder.decoded_square());
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
            const float* x = trial.queries[q];
            std::vector<float> lattice(model.dp(), 0), residual(slots);
            std::vector<float> zero(slots, 0);
            std::optional<LevelQuery> levels;
            if (!model.layout.has_words()) {
                levels.emplace(model);
            }
            std::vector<float> rotated(model.frames.size() * slots);
            for (int k = 0; k < d; k++) {
                lattice[k] =
                        (x[k] - (inner_product ? 0 : model.lattice.mean[k])) * model.lattice.scale;
            }
            for (size_t g = 0; g < model.frames.size(); g++) {
                model.frames[g].rotate(lattice.data(), &rotated[g * slots]);
            }
            terms.query_norm[q] = std::sqrt(canonical_dot(d, lattice.data(), lattice.data()));
            const int32_t* candidate = &trial.candidate[q * trial.candidates];
            int list = -1; // that residual and list_distance are of
            float list_distance = 0;
            for (const int c : by_place(place, trial.candidates, candidate)) {
                const size_t at = q * trial.candidates + c;
                const int i = place[candidate[c]];
                const int j = anchors.label[trial.base[candidate[c]]];
                if (j != list) {
                    list = j;
                    list_distance = inner_product ? -model.anchor_dot(lattice.data(), j)
                                                  : model.anchor_distance(lattice.data(), j);
                    const float* y = &rotated[size_t(model.group[j]) * slots];
                    const float* b = &model.derived().anchor_rotated[size_t(j) * slots];
                    if (model.layout.has_words()) {
                        for (int s = 0; s < slots; s++) {
                            residual[s] = inner_product ? y[s] : y[s] - b[s];
                        }
                    } else { // as scanning rounds it
                        const float unit =
                                levels->round(y, inner_product ? zero.data() : b, j) / 127.0f;
                        const float* inverse =
                                &model.derived().inverse_step[size_t(model.group[j]) * slots];
                        for (int s = 0; s < slots; s++) {
                            residual[s] = levels->component(s) * unit * inverse[s];
                        }
                    }
                }
                terms.list_distance[at] = list_distance;
                terms.dot[at] = canonical_dot(slots, residual.data(), &decoded[size_t(i) * slots]);
                const int factor_bytes = model.layout.factor_bytes;
                if (factor_bytes == 0) { // plain decoding
                    terms.square[at] = inner_product ? 0.0f : square[i];
                    terms.gamma[at] = -1;
                    continue;
                }
                if (factor_bytes == 1 && !inner_product) {
                    terms.dot[at] -=
                            excess_square(model, terms.list_distance[at], scale[i], square[i]);
                }
                const uint16_t word = model.factors_of(&codes[size_t(i) * code_size]);
                const float length =
                        decode_length(word) * model.estimator.length_unit(model.spread[j]);
                terms.square[at] = length * length;
                const bool is_far = model.estimator.is_far(decode_length(word));
                const int code = word & (kGammaSteps - 1);
                terms.gamma[at] = is_far ? -model.estimator.far[code] : model.estimator.gamma[code];
            }
        });
    }
    rescue.rethrow();
    return terms;
}

namespace {

/// What a distance cannot be below, see Estimator.
float least_distance(const Terms& terms, size_t at, size_t query, bool inner_product) {
    const float length = std::sqrt(terms.square[at]);
    if (inner_product) {
        return terms.list_distance[at] - terms.query_norm[query] * length;
    }
    const float apart = std::sqrt(std::max(0.0f, terms.list_distance[at])) - length;
    return apart * apart;
}

} // namespace

void estimate_all(const Trial& trial, const Terms& terms, const Model& model, const Estimator& e,
                  size_t q, std::vector<float>& estimate) {
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const float energy = e.energy > 0 ? e.energy : 1.0f;
    estimate.resize(trial.candidates);
    for (int c = 0; c < trial.candidates; c++) {
        const size_t at = q * trial.candidates + c;
        const float g = terms.gamma[at];
        if (model.layout.factor_bytes == 0) { // nothing is known besides
            estimate[c] = terms.list_distance[at] - terms.square[at] * g -
                          (inner_product ? 1.0f : 2.0f) * terms.dot[at];
            continue;
        }
        if (g < 0) { // far: plain decoding
            estimate[c] = std::max(terms.list_distance[at] - terms.square[at] * g -
                                           (inner_product ? 1.0f : 2.0f) * terms.dot[at],
                                   least_distance(terms, at, q, inner_product));
            continue;
        }
        const float miss = 1.0f - g;
        const float scale = e.share(g);
        const float square = terms.square[at];
        const float own = inner_product ? 0.0f : g + e.t1 * miss;
        const float penalty =
                inner_product ? e.c * terms.query_norm[q] / std::sqrt(energy)
                              : e.c * std::min(e.most_distance, terms.list_distance[at]) / energy;
        estimate[c] = terms.list_distance[at] + square * (own + penalty * miss) -
                      (inner_product ? 1.0f : 2.0f) * scale * terms.dot[at];
        estimate[c] = std::max(estimate[c], least_distance(terms, at, q, inner_product));
    }
}

namespace {

/// How many of the true neighbours have the smallest estimates, in 1/64. Rows of one code may have
/// equal estimates: they share the places that are left for them.
int64_t found_64ths(const std::vector<float>& estimate, int neighbours,
                    std::vector<float>& sorted) {
    sorted = estimate;
    std::nth_element(sorted.begin(), sorted.begin() + neighbours - 1, sorted.end());
    const float bound = sorted[neighbours - 1];
    int below = 0, level = 0; // of the true ones
    for (int c = 0; c < neighbours; c++) {
        below += estimate[c] < bound;
        level += estimate[c] == bound;
    }
    if (level == 0) {
        return int64_t(64) * below;
    }
    const auto places = std::count(sorted.begin(), sorted.begin() + neighbours, bound);
    const auto all = places + std::count(sorted.begin() + neighbours, sorted.end(), bound);
    return int64_t(64) * below + int64_t(64) * level * places / all;
}

/// How many of the true neighbours the estimate finds, over all queries.
int64_t found(const Trial& trial, const Terms& terms, const Model& model, const Estimator& e) {
    int64_t total = 0;
    Rescue rescue;
#pragma omp parallel for schedule(static) reduction(+ : total)
    for (size_t q = 0; q < trial.queries.size(); q++) {
        rescue.run([&] {
            std::vector<float> estimate, sorted;
            estimate_all(trial, terms, model, e, q, estimate);
            total += found_64ths(estimate, trial.neighbours, sorted);
        });
    }
    rescue.rethrow();
    return total / 64;
}

/// The same with these terms, as far as the parameters leave them open.
Estimator with_terms(Estimator estimator, const VLCParameters& params, float t1, float t2,
                     float c) {
    estimator.t1 = params.t1 >= 0 ? params.t1 : t1;
    estimator.t2 = params.t2 >= 0 ? params.t2 : t2;
    estimator.c = params.c >= 0 ? params.c : c;
    return estimator;
}

} // namespace

int64_t found_by(const Trial& wide, const Terms& terms, const Model& model) {
    return found(wide, terms, model, model.estimator);
}

int64_t check_estimator(const Trial& wide, const Terms& terms, const Model& model,
                        const VLCParameters& params, Estimator& estimator) {
    constexpr double kClearly = 1.03;
    const struct {
        float t1, t2, c;
    } others[] = {{0, 0, 0}, {1, 1, 0}, {1, -1, 0}, {1, -0.5f, 0}, {0.5f, 0, 0}, {1, 0.5f, 0.2f}};
    int64_t best = found(wide, terms, model, estimator);
    double enough = double(best) * kClearly;
    for (const auto& [t1, t2, c] : others) {
        const Estimator other = with_terms(estimator, params, t1, t2, c);
        const int64_t met = found(wide, terms, model, other);
        if (double(met) > enough) {
            best = met;
            enough = double(met);
            estimator = other;
        }
    }
    return best;
}

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
    const auto start_from = [&](float t1, float t2, float c) {
        const Estimator other = with_terms(estimator, params, t1, t2, c);
        const int64_t met = found(trial, terms, model, other);
        if (met > best) {
            best = met;
            estimator = other;
        }
    };
    start_from(0, 0, 0);
    start_from(1, 1, 0);
    if (!thorough) {
        try_values(&Estimator::c, params.c, {0.0f, 0.15f});
        try_values(&Estimator::t2, params.t2, {0.5f, 0.9f});
        return best;
    }
    const auto rounds = [&](std::initializer_list<float> values_of_c) {
        for (int round = 0; round < 2; round++) {
            try_values(&Estimator::c, params.c, values_of_c);
            try_values(&Estimator::t2, params.t2,
                       {-1.0f, -0.5f, 0.0f, 0.2f, 0.35f, 0.5f, 0.6f, 0.7f, 0.8f, 0.9f, 1.0f});
            if (model.metric != faiss::METRIC_INNER_PRODUCT) {
                try_values(&Estimator::t1, params.t1, {0.0f, 0.25f, 0.5f, 0.65f, 0.8f, 0.9f, 1.0f});
            }
        }
    };
    // c counts longer vectors as less certain, which misleads where later ones are longer than the
    // sample's: it has to find clearly more
    constexpr double kClearly = 1.02;
    estimator = with_terms(estimator, params, estimator.t1, estimator.t2, 0);
    best = found(trial, terms, model, estimator);
    rounds({});
    const Estimator without = estimator;
    const int64_t found_without = best;
    rounds({0.1f, 0.2f, 0.3f, 0.45f, 0.6f, 0.8f});
    if (double(best) < kClearly * double(found_without)) {
        estimator = without;
        best = found_without;
    }
    return best;
}

float usual_distance(const Trial& trial, const Terms& terms) {
    constexpr double kShare = 0.95;
    std::vector<float> distances;
    for (size_t q = 0; q < trial.queries.size(); q++) {
        for (int c = 0; c < trial.neighbours; c++) {
            distances.push_back(terms.list_distance[q * trial.candidates + c]);
        }
    }
    std::sort(distances.begin(), distances.end());
    return distances.empty() ? 0 : distances[size_t(double(distances.size() - 1) * kShare)];
}

} // namespace faiss_vlc
