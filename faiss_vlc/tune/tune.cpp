#include <faiss_vlc/tune/tune.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

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

/// A model that has what doesn't depend on the layout: lattice, anchors, spreads and frames.
Model model_of(const Sample& sample, const Anchors& anchors, const VLCParameters& params,
               faiss::MetricType metric) {
    const Shape& shape = sample.shape;
    Model model;
    model.d = shape.d;
    model.m = shape.m;
    model.metric = metric;
    model.lattice = sample.lattice;
    model.grid = anchors.grid;
    model.anchors8.resize(size_t(shape.m) * shape.dp);
    for (size_t i = 0; i < model.anchors8.size(); i++) {
        model.anchors8[i] = round_anchor(anchors.anchor[i]);
    }
    if (model.grid == AnchorGrid::float16) {
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
    return model;
}

/// Keeps the layout's axes in each frame, with their deviations. variance: frames x d.
void keep_axes(const Layout& layout, const std::vector<double>& variance, Model& model) {
    model.layout = layout;
    for (size_t g = 0; g < model.frames.size(); g++) {
        model.frames[g].keep(layout.axes);
        for (int i = 0; i < model.frames[g].kept; i++) {
            model.sigma.push_back(float(std::sqrt(variance[g * size_t(model.d) + i])));
        }
    }
}

/// An estimator to start choosing from: what the parameters leave open is as it usually ends.
void start_estimator(const VLCParameters& params, Estimator& estimator) {
    estimator.t1 = params.t1 >= 0 ? params.t1 : 1.0f;
    estimator.t2 = params.t2 >= 0 ? params.t2 : 0.7f;
    estimator.c = params.c >= 0 ? params.c : 0.3f;
}

TrainingRecord record_of(const Sample& sample, const Anchors& anchors, uint32_t seed) {
    const Shape& shape = sample.shape;
    const double unit = 1.0 / (double(sample.lattice.scale) * sample.lattice.scale);
    int64_t train = 0, held = 0;
    for (int64_t i = 0; i < shape.n; i++) {
        (i < shape.n_train ? train : held) += anchors.dist[i];
    }
    TrainingRecord record;
    record.n = shape.n;
    record.iterations = anchors.iterations;
    record.seed = seed;
    record.energy_train = float(double(train) / double(shape.n_train) * unit);
    record.energy_held = shape.n > shape.n_train
                                 ? float(double(held) / double(shape.n - shape.n_train) * unit)
                                 : 0;
    return record;
}

/// The best layout tried so far.
struct Choice {
    Model model;
    Terms terms;
    int64_t found = -1;
};

/// Tries the axes with bits of several tilts.
void try_axes(const Sample& sample, const Anchors& anchors, const Trial& trial,
              const VLCParameters& params, Model from, const Axes& axes, std::vector<double> tilts,
              Choice& best) {
    if (params.tilt >= 0) {
        tilts = {params.tilt};
    }
    from.frames = axes.frames;
    const int code_bytes = params.code_size(from.d) - kFactorBytes;
    for (double tilt : tilts) {
        check_interrupt();
        Model candidate = from;
        keep_axes(Layout::allocate(code_bytes, axes.strength, tilt), axes.variance, candidate);
        candidate.finish();
        fit_factors(sample, anchors, candidate);
        start_estimator(params, candidate.estimator);
        Terms terms = estimate_terms(sample, anchors, trial, candidate);
        const int64_t met =
                choose_estimator(trial, terms, candidate, params, false, candidate.estimator);
        if (met > best.found) {
            best = {std::move(candidate), std::move(terms), met};
        }
    }
}

} // namespace

Model tune_model(const Sample& sample, const Anchors& anchors, const VLCParameters& params,
                 faiss::MetricType metric) {
    Model model = model_of(sample, anchors, params, metric);
    model.estimator.energy = fit_energy(sample, anchors, model);
    const Trial trial = make_trial(sample, model);
    Choice choice;
    try_axes(sample, anchors, trial, params, model, usual_axes(sample, anchors, model),
             {0, 0.25, 0.5, 0.75, 1.0}, choice);
    if (trial.given && params.frame == FrameKind::principal) {
        try_axes(sample, anchors, trial, params, model,
                 axes_by_queries(sample, anchors, trial, model), {0, 0.25}, choice);
    }
    Model& best = choice.model;
    const Terms& best_terms = choice.terms;
    if (metric == faiss::METRIC_L2) {
        best.estimator.most_distance =
                std::clamp(usual_distance(trial, best_terms), 1.0f, kUnbounded);
    }
    choose_estimator(trial, best_terms, best, params, true, best.estimator);
    check_interrupt();
    const Trial wide = widen(trial, best);
    check_estimator(wide, estimate_terms(sample, anchors, wide, best), best, params,
                    best.estimator);
    best.bias_ranks(params.rank_bias >= 0 ? params.rank_bias
                                          : choose_rank_bias(anchors, trial, best));
    best.default_nprobe = choose_nprobe(anchors, trial, best, params.coverage);
    best.record = record_of(sample, anchors, params.seed);
    return std::move(best);
}

} // namespace faiss_vlc
