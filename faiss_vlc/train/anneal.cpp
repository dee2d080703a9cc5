#include <faiss_vlc/train/anneal.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/train/dump.h>

namespace faiss_vlc {

namespace {

/// Mean squared lattice distance, at least 1.
int64_t mean_energy(int64_t sum, int64_t n) {
    return std::max<int64_t>(1, n > 0 ? sum / n : 0);
}

} // namespace

Annealing::Annealing(Engine& engine, const Sample& sample, const VLCParameters& params)
    : engine_(engine), sample_(sample), shape_(sample.shape8()), params_(params),
      schedule_(shape_, params_), moves_(sample.shape.m),
      dist_(std::min(sample.shape.n, kTypicalRows)), count_(sample.shape.m),
      near_label_(sample.shape.m), near_dist_(sample.shape.m), energy_(sample.shape.m) {
    if (params.resume.empty()) {
        chosen_ = choose_pace(engine, sample, params);
        state_.pace = chosen_.pace;
    } else {
        state_ = read_checkpoint(params.resume, sample, params);
    }
    params_ = with_pace(params, state_.pace);
    engine_.begin(shape_, sample_.x8.data());
    if (params.resume.empty()) {
        start();
    } else {
        resume();
    }
    state_.energy.reserve(size_t(params_.iterations)); // the loop allocates nothing
    state_.run = params_.checkpoint.empty() ? 0 : run_identity(sample_, params);
}

void Annealing::start() {
    const std::vector<int64_t> first = starting_rows(sample_, params_.robust);
    std::vector<int32_t> anchor(size_t(shape_.m) * shape_.dp);
    for (int64_t j = 0; j < shape_.m; j++) {
        for (int k = 0; k < shape_.dp; k++) {
            anchor[j * shape_.dp + k] =
                    sample_.head()[first[j] * shape_.dp + k] * (1 << kAnchorBits);
        }
    }
    engine_.set_anchors(anchor.data());
    state_.best_held = INT64_MAX;
}

void Annealing::resume() {
    engine_.set_anchors(std::exchange(state_.anchor, {}).data());
    engine_.set_bias(std::exchange(state_.bias, {}).data());
    engine_.set_labels(std::exchange(state_.label, {}).data());
}

/// Rows that were assigned before look only near their last anchor.
AssignSummary Annealing::assign(int64_t rows) {
    const int64_t known = schedule_.rows(state_.iteration - 1);
    if (schedule_.near() > 0 && known > 0) {
        engine_.list_near(schedule_.near());
        return engine_.assign(rows, known);
    }
    return engine_.assign(rows);
}

void Annealing::iterate() {
    const int t = state_.iteration;
    last_ = Last();
    last_.assigned = assign(schedule_.rows(t));
    last_.n_train = schedule_.training_rows(t);
    state_.energy.push_back(float(double(last_.assigned.energy_train) / double(last_.n_train)));
    if (params_.robust != Robust::none) {
        engine_.get_distances(dist_.data(), kTypicalRows);
        last_.typical = typical_distances(last_.n_train, params_.kappa, dist_);
    }
    // neither temperature nor biases nor splits go by outliers
    const int64_t energy = mean_energy(
            int64_t(double(last_.assigned.energy_train) * last_.typical.inliers), last_.n_train);
    if (t == 0) {
        state_.first_energy = energy;
        state_.temperature = schedule_.hottest(energy);
    }
    last_.temperature = state_.temperature;
    engine_.reduce(schedule_.reduce(t, state_.temperature, last_.typical.tau2));
    engine_.update(schedule_.update(t, state_.temperature, energy));
    moves_.clear();
    if (schedule_.maintains(t)) {
        maintain();
    }
    state_.temperature = schedule_.cooler(state_.temperature);
    if (schedule_.rows(t) == shape_.n) {
        watch_held_out();
    }
    state_.iteration++;
}

/// Merges and splits.
void Annealing::maintain() {
    engine_.get_counts(count_.data());
    engine_.get_energies(energy_.data());
    for (int64_t j = 0; params_.robust != Robust::none && j < shape_.m; j++) {
        energy_[j] = std::min(energy_[j], last_.typical.tau2 * count_[j]);
    }
    engine_.nearest(near_label_.data(), near_dist_.data());
    Shape seen = shape_;
    seen.n_train = last_.n_train;
    plan_moves(seen, {params_.merge_fraction, params_.split_factor},
               hash32(params_.seed, uint32_t(state_.iteration), 77),
               {count_.data(), energy_.data(), near_label_.data(), near_dist_.data()}, moves_);
    engine_.apply(moves_.merges.data(), int(moves_.merges.size()));
    engine_.apply(moves_.splits.data(), int(moves_.splits.size()));
    state_.merges += int(moves_.merges.size());
    state_.splits += int(moves_.splits.size());
}

/// Counts the iterations since the held-out rows were last nearer than ever.
void Annealing::watch_held_out() {
    const int64_t held = mean_energy(last_.assigned.energy_held, shape_.n - shape_.n_train);
    state_.patience = held < state_.best_held ? 0 : state_.patience + 1;
    state_.best_held = std::min(state_.best_held, held);
}

void Annealing::report_pace() const {
    printf("pace %s: step %g size bias %g", state_.pace == Pace::plain ? "plain" : "usual",
           double(params_.step), double(params_.size_bias));
    if (chosen_.other > 0) {
        printf(", scans %.1f %% fewer vectors than the other in a trial",
               100 * (1 - 1 / chosen_.other));
    }
    printf("\n");
    fflush(stdout);
}

void Annealing::report() const {
    const double unit = 1.0 / (double(sample_.lattice.scale) * sample_.lattice.scale);
    printf("iteration %d: temperature %.6g energy %.6g changes %lld", state_.iteration - 1,
           degrees(last_.temperature) * unit,
           double(last_.assigned.energy_train) / double(last_.n_train) * unit,
           (long long)last_.assigned.changes);
    if (!moves_.splits.empty()) {
        printf(" merged %zu split %zu", moves_.merges.size(), moves_.splits.size());
    }
    printf("\n");
    fflush(stdout);
}

bool Annealing::should_stop() const {
    const bool stable = double(last_.assigned.changes) <= params_.stop_changes * double(shape_.n);
    const bool stalled = shape_.n > shape_.n_train && state_.patience >= 3;
    return schedule_.is_cool(state_.iteration - 1) && moves_.splits.empty() && (stable || stalled);
}

void Annealing::save() const {
    if (params_.checkpoint_every <= 0 || state_.iteration % params_.checkpoint_every != 0) {
        return;
    }
    Checkpoint saved = state_;
    saved.anchor.resize(size_t(shape_.m) * shape_.dp);
    saved.bias.resize(shape_.m);
    saved.label.resize(shape_.n);
    engine_.get_anchors(saved.anchor.data());
    engine_.get_bias(saved.bias.data());
    engine_.get_labels(saved.label.data());
    write_checkpoint(params_.checkpoint, saved);
}

Anchors Annealing::settle() {
    Anchors result;
    result.iterations = state_.iteration;
    result.course = state_.energy;
    result.merges = state_.merges;
    result.splits = state_.splits;
    faiss_vlc::settle(engine_, sample_, params_, result, [&] { return assign(shape_.n); });
    return result;
}

Anchors anneal(Engine& engine, const Sample& sample, const VLCParameters& params, bool verbose) {
    Dump dump(params.dump);
    Annealing annealing(engine, sample, params);
    if (verbose && params.step < 0) {
        annealing.report_pace();
    }
    while (!annealing.is_over()) {
        check_interrupt();
        annealing.iterate();
        if (verbose) {
            annealing.report();
        }
        dump.iteration(annealing.iterations() - 1, engine, sample.shape8());
        if (annealing.should_stop()) {
            break;
        }
        annealing.save();
    }
    Anchors result = annealing.settle();
    dump.result(result, sample.shape);
    return result;
}

} // namespace faiss_vlc
