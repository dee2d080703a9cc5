#include <faiss_vlc/tune/tune.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>
#include <vector>

#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/tune/frames.h>
#include <faiss_vlc/tune/held_out.h>
#include <faiss_vlc/tune/steps.h>
#include <faiss_vlc/tune/word_looks.h>

namespace faiss_vlc {

namespace {

/// RMS length that the lists of a routed sample stand for, by their vectors; 0 of another sample.
double mean_length(const Anchors& anchors, const Shape& shape) {
    double sum = 0;
    for (size_t j = 0; j < anchors.length.size(); j++) {
        sum += double(anchors.count[j]) * double(anchors.length[j]) * double(anchors.length[j]);
    }
    return std::sqrt(sum / double(std::max<int64_t>(1, shape.n_train)));
}

/// Spread of each list relative to the whole, drawn towards it where few vectors speak.
void set_spreads(const Anchors& anchors, const Shape& shape, Model& model) {
    constexpr double kPrior = 8; // vectors
    const double total =
            double(std::accumulate(anchors.energy.begin(), anchors.energy.end(), int64_t(0)));
    const double mean = total / double(std::max<int64_t>(1, shape.n_train));
    model.spread.assign(shape.m, 1.0f);
    const double unit = mean_length(anchors, shape);
    for (int j = 0; j < shape.m && mean > 0; j++) {
        const double energy =
                (double(anchors.energy[j]) + kPrior * mean) / (anchors.count[j] + kPrior);
        const double length = unit > 0 ? double(anchors.length[j]) / unit : 1.0;
        model.spread[j] = half_to_float(float_to_half(float(length * std::sqrt(energy / mean))));
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
    if (sample.routing.used()) {
        model.routing = sample.routing;
        model.routing.anchors = anchors.route;
        model.round_anchors();
    }

    model.group = anchors.group;
    model.frames = make_frames(sample, anchors, params);
    return model;
}

/// Keeps the layout's axes in each frame, with their deviations. variance: frames x axes found.
void keep_axes(const Layout& layout, const std::vector<double>& variance, Model& model) {
    model.layout = layout;
    const size_t found = variance.size() / model.frames.size();
    for (size_t g = 0; g < model.frames.size(); g++) {
        model.frames[g].keep(layout.axes);
        for (int i = 0; i < model.frames[g].kept; i++) {
            model.sigma.push_back(float(std::sqrt(variance[g * found + i])));
        }
    }
}

/// An estimator to start choosing from: what the parameters leave open is as it usually ends.
void start_estimator(const VLCParameters& params, Estimator& estimator) {
    estimator.t1 = params.t1 >= 0 ? params.t1 : 1.0f;
    estimator.t2 = params.t2 >= 0 ? params.t2 : 0.7f;
    estimator.c = params.c >= 0 ? params.c : 0.3f;
}

/// Whether all vectors may get plain decoding, as if they were far: not where a term is set.
bool may_be_plain(const VLCParameters& params, faiss::MetricType metric) {
    return metric == faiss::METRIC_L2 && params.t1 < 0 && params.t2 < 0 && params.c < 0;
}

/// What is found of the true neighbours of a wide and of a narrow trial.
struct Finds {
    int64_t wide;
    int64_t narrow;
};

int64_t sought(const Trial& trial) {
    return int64_t(trial.queries.size()) * trial.neighbours;
}

/// Whether plain decoding finds no less than the terms, or hardly less: a base is denser than the
/// trials, and by the time that neighbours are near, terms may have lost what they gain farther
/// off.
bool prefers_plain(int64_t all, const Finds& by_terms, const Finds& by_decoding) {
    // the narrow trial has more queries, but is passed over where the wide one is clear
    constexpr double kClearly = 0.03;
    constexpr int64_t kHardly = 16; // 1 in so many of what is missed
    const int64_t lost = by_terms.wide - by_decoding.wide;
    const int64_t missed = all - by_terms.wide - by_terms.narrow;
    return double(lost) <= kClearly * double(by_terms.wide) &&
           (lost + by_terms.narrow - by_decoding.narrow) * kHardly <= missed;
}

TrainingRecord record_of(const Sample& sample, const Anchors& anchors, uint32_t seed) {
    const Shape& shape = sample.shape;
    const double unit = 1.0 / (double(sample.lattice.scale) * sample.lattice.scale);
    int64_t train = 0, held = 0;
    const int64_t first = sample.routing.used() ? sample.first_kept : 0;
    for (int64_t i = first; i < shape.n; i++) {
        (i < shape.n_train ? train : held) += anchors.dist[i];
    }
    TrainingRecord record;
    record.n = shape.n;
    record.iterations = anchors.iterations;
    record.seed = seed;
    record.energy_train =
            float(double(train) / double(std::max<int64_t>(1, shape.n_train - first)) * unit);
    record.energy_held = shape.n > shape.n_train
                                 ? float(double(held) / double(shape.n - shape.n_train) * unit)
                                 : 0;
    const double scale = (sample.routing.used() ? sample.routing.lattice : sample.lattice).scale;
    for (const float energy : anchors.course) {
        record.energies.push_back(
                float(std::min(double(energy) / (scale * scale), double(FLT_MAX))));
    }
    return record;
}

/// Whether components often have the same value as in another row: words can hold such values
/// exactly, but not what is left of them when their lists' anchors are taken off.
bool repeats_values(const Sample& sample) {
    constexpr int64_t kPairs = 512;
    constexpr double kOften = 0.3;
    const Shape& shape = sample.shape;
    const int64_t pairs = std::min(kPairs, shape.n - sample.first_kept - 1);
    int64_t equal = 0;
    for (int64_t i = 0; i < pairs; i++) {
        const float *x = sample.vector(shape.n - 1 - i), *y = sample.vector(shape.n - 2 - i);
        for (int k = 0; k < shape.d; k++) {
            equal += x[k] == y[k];
        }
    }
    return double(equal) > kOften * double(pairs * shape.d);
}

/// A model with its estimator, and what that is chosen by.
struct Candidate {
    Model model;
    Terms terms;
    int64_t found = -1; ///< of the trial's true neighbours
    double missed = 0;  ///< the share of |r|^2 that decoding misses
};

/// Choices of a codec, each by what it finds in the same trial.
class CodecTrial {
public:
    /// axes: that codes may have.
    CodecTrial(const Sample& sample, const Anchors& anchors, const Trial& trial,
               const VLCParameters& params, const Model& model, const std::vector<Axes>& axes)
        : sample_(sample), anchors_(anchors), trial_(trial), params_(params), model_(model),
          axes_(axes), code_size_(params.first_size(model.d)) {}

    bool allows_levels() const {
        return params_.codec != Codec::block && code_size_ > kFactorBytes;
    }
    bool allows_words() const { return params_.codec != Codec::lattice || !allows_levels(); }

    /// The best of a few layouts of levels.
    Candidate levels() const;
    /// The best of a few layouts of words; found stays -1 where they can't find clearly more than
    /// levels.
    Candidate words(const Candidate& levels) const;
    /// Whether words find clearly more than levels.
    bool prefers_words(const Candidate& levels, const Candidate& words) const;

private:
    Candidate judged(Model model) const;
    double clearly(const Model& levels) const;
    int64_t widely_found(const Candidate& candidate, const Trial& wide) const;

    const Sample& sample_;
    const Anchors& anchors_;
    const Trial& trial_;
    const VLCParameters& params_;
    const Model& model_;
    const std::vector<Axes>& axes_;
    int code_size_;
};

/// Frees what finish() makes of large frames while a model waits.
void put_away(Model& model) {
    for (Frame& frame : model.frames) {
        if (model.d > kExactDim) {
            frame.arrange({});
        }
    }
}

void take_out(Model& model) {
    if (model.d > kExactDim) {
        model.finish();
    }
}

/// The candidate of a model whose codes are settled.
Candidate CodecTrial::judged(Model model) const {
    Candidate candidate;
    candidate.model = std::move(model);
    Model& own = candidate.model;
    candidate.missed = fit_factors(sample_, anchors_, own);
    start_estimator(params_, own.estimator);
    candidate.terms = estimate_terms(sample_, anchors_, trial_, own);
    candidate.found = choose_estimator(trial_, candidate.terms, own, params_, false, own.estimator);
    return candidate;
}

Candidate CodecTrial::levels() const {
    Candidate best;
    bool fine = false;
    for (const Axes& axes : axes_) {
        std::vector<double> tilts = {0, 0.25, 0.5, 0.75, 1.0};
        if (&axes != &axes_.front()) { // by queries
            tilts = {0, 0.25};
        }
        if (params_.tilt >= 0) {
            tilts = {params_.tilt};
        }
        for (double tilt : tilts) {
            check_interrupt();
            Model model = model_;
            model.frames = axes.frames;
            keep_axes(Layout::allocate(code_size_ - kFactorBytes, axes.strength, tilt),
                      axes.variance, model);
            model.finish();
            model.fine_queries = fine;
            const bool is_first = best.found < 0;
            Candidate candidate = judged(model);
            if (is_first && may_need_fine_queries(model.layout)) {
                model.fine_queries = true;
                Candidate with_fine = judged(std::move(model));
                fine = needs_fine_queries(trial_, candidate.found, with_fine.found);
                if (fine) {
                    candidate = std::move(with_fine);
                }
            }
            if (candidate.found > best.found) {
                best = std::move(candidate);
            }
        }
    }
    return best;
}

/// The share of the true neighbours that words must find more than levels, which are scanned
/// faster, but less so with fine queries or few bytes. Who gives queries wants them found. Before a
/// second tier the first one is there for speed.
double CodecTrial::clearly(const Model& levels) const {
    constexpr int kFewBytes = 24; // a look-up each
    const bool is_small = code_size_ <= kFewBytes && code_size_ * 8 <= model_.d;
    return params_.second_size(model_.d) > 0 ? 0.1
           : trial_.given                    ? 0.005
           : levels.fine_queries             ? 0.015
           : is_small                        ? 0.02
                                             : 0.03;
}

Candidate CodecTrial::words(const Candidate& levels) const {
    constexpr int kIterations = 20;
    constexpr double kMore = 1.01;         // factors carry vectors that training did not see
    constexpr double kHopeless = 1.0;      // times what levels miss
    constexpr double kHopelesslyFew = .98; // times what levels find
    constexpr double kMostGain = 0.02;     // of the neighbours, by more training
    const bool may_give_up = levels.found >= 0 && params_.codec == Codec::automatic;
    const bool by_little = may_give_up && !trial_.given;
    WordLooks looks(sample_, anchors_, model_, axes_, code_size_, params_.seed);
    Candidate best;
    double best_worth = -1;
    bool has_hope[2] = {false, false}; // own axes, turned ones
    const bool repeats = repeats_values(sample_);
    for (const int factor_bytes : {2, 1, 0}) {
        const int code_bytes = code_size_ - factor_bytes;
        if (code_bytes < 1 || (best_worth >= 0 && code_bytes > model_.d)) {
            continue;
        }
        for (const WordAxes kind : {WordAxes::own, WordAxes::principal, WordAxes::whole}) {
            check_interrupt();
            if (kind == WordAxes::whole && (factor_bytes > 0 || !repeats)) {
                continue;
            }
            // one byte of factors less misses less, none at all has another scale
            bool& hope = has_hope[kind == WordAxes::principal];
            if (by_little && !(hope && factor_bytes > 0)) {
                hope = looks.error(factor_bytes, kind) <= kHopeless * levels.missed;
                if (!hope) {
                    continue;
                }
            }
            WordModel words = looks.trained(factor_bytes, kind);
            Candidate candidate = judged(std::move(words.model));
            const double worth = double(candidate.found) * (factor_bytes > 0 ? kMore : 1.0);
            if (worth > best_worth) {
                best_worth = worth;
                best = std::move(candidate);
                put_away(best.model);
            }
        }
        if (by_little && !repeats && best.found >= 0 &&
            double(best.found) < kHopelesslyFew * double(levels.found)) {
            return {};
        }
    }
    const double all = double(trial_.queries.size()) * trial_.neighbours;
    const double enough = double(levels.found) + (clearly(levels.model) - kMostGain) * all;
    if (best.found < 0 || (may_give_up && double(best.found) < enough)) {
        return {};
    }
    looks.forget_rows();
    WordModel more{best.model, {}};
    train_words(WordRows(sample_, anchors_, kMaxVarianceRows, more), kMaxVarianceRows, kIterations,
                params_.seed, more);
    Candidate trained = judged(std::move(more.model));
    if (trained.found > best.found) {
        return trained;
    }
    take_out(best.model);
    return best;
}

int64_t CodecTrial::widely_found(const Candidate& candidate, const Trial& wide) const {
    const Terms terms = estimate_terms(sample_, anchors_, wide, candidate.model);
    Estimator estimator = candidate.model.estimator;
    return check_estimator(wide, terms, candidate.model, params_, estimator);
}

bool CodecTrial::prefers_words(const Candidate& levels, const Candidate& words) const {
    const Trial wide = widen(trial_, levels.model);
    const auto share = [&](const Candidate& candidate) {
        const auto narrow = double(trial_.queries.size() * size_t(trial_.neighbours));
        const auto all = double(wide.queries.size() * size_t(wide.neighbours));
        return 0.5 *
               (double(candidate.found) / narrow + double(widely_found(candidate, wide)) / all);
    };
    return share(words) > share(levels) + clearly(levels.model);
}

} // namespace

Model tune_model(const Sample& sample, const Anchors& anchors, const VLCParameters& params,
                 faiss::MetricType metric) {
    constexpr int kMostTurned = 512; // dimensions; beyond, frames don't have all axes
    Model model = model_of(sample, anchors, params, metric);
    model.estimator.energy = fit_energy(sample, anchors, model);
    const Trial trial = make_trial(sample, model);
    std::vector<Axes> axes{usual_axes(sample, anchors, model)};
    model.fine_rotation = needs_fine_rotation(sample, anchors, model, axes[0].strength,
                                              params.first_size(model.d));
    if (trial.given && params.frame == FrameKind::principal && model.d <= kMostTurned) {
        axes.push_back(axes_by_queries(sample, anchors, trial, model));
    }
    model.frames.clear(); // each candidate has its own
    const CodecTrial codecs(sample, anchors, trial, params, model, axes);
    Candidate chosen;
    if (codecs.allows_levels()) {
        chosen = codecs.levels();
    }
    if (codecs.allows_words()) {
        const bool waits = chosen.found >= 0;
        if (waits) {
            put_away(chosen.model);
        }
        Candidate words = codecs.words(chosen);
        if (waits) {
            take_out(chosen.model);
        }
        if (chosen.found < 0 || (words.found >= 0 && codecs.prefers_words(chosen, words))) {
            chosen = std::move(words);
        }
    }
    Model& best = chosen.model;
    const Terms& best_terms = chosen.terms;
    if (metric == faiss::METRIC_L2) {
        best.estimator.most_distance =
                std::clamp(usual_distance(trial, best_terms), 1.0f, kUnbounded);
    }
    choose_estimator(trial, best_terms, best, params, true, best.estimator);
    check_interrupt();
    const Trial wide = widen(trial, best);
    Terms wide_terms = estimate_terms(sample, anchors, wide, best);
    const int64_t met = check_estimator(wide, wide_terms, best, params, best.estimator);
    if (best.layout.factor_bytes == kFactorBytes && may_be_plain(params, metric)) {
        Model plain = best;
        plain.estimator.usual_length = 0;
        Terms plain_terms = estimate_terms(sample, anchors, wide, plain);
        const Finds by_terms{met, found_by(trial, best_terms, best)};
        const Finds by_decoding{
                found_by(wide, plain_terms, plain),
                found_by(trial, estimate_terms(sample, anchors, trial, plain), plain)};
        if (prefers_plain(sought(wide) + sought(trial), by_terms, by_decoding)) {
            best = std::move(plain);
            wide_terms = std::move(plain_terms);
        }
    }
    best.bias_ranks(params.rank_bias >= 0 ? params.rank_bias
                                          : choose_rank_bias(anchors, trial, best));
    best.default_nprobe = choose_nprobe(anchors, trial, best, params.coverage);
    best.set_regions(choose_regions(anchors, trial, best, params.regions));
    best.record = record_of(sample, anchors, params.seed);
    check_interrupt();
    std::vector<float> refined;
    if (params.second_size(best.d) > 0) {
        refined = fit_second(sample, anchors, trial, wide, params, best);
    }
    check_interrupt();
    best.recall = measure_recall(sample, anchors, wide, wide_terms, best, refined);
    best.usual_length = fit_usual_length(sample, anchors, best);
    return std::move(best);
}

} // namespace faiss_vlc
