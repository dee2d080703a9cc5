#include <faiss_vlc/train/train.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdio>
#include <numeric>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/train/checkpoint.h>
#include <faiss_vlc/train/dump.h>
#include <faiss_vlc/train/stages/group.h>
#include <faiss_vlc/train/stages/maintain.h>
#include <faiss_vlc/train/stages/robust.h>

namespace faiss_vlc {

namespace {

constexpr int64_t kFittedRows = 65536;     ///< that the lattice is fitted to at most ...
constexpr int64_t kFittedValues = 1 << 23; ///< ... and values: 10,000 rows of 768 do
constexpr int64_t kRoundedRows = 1000;     ///< that show how coarse the lattice is
constexpr double kFineRounding = 0.05;     ///< of the energy: int8 anchors do
constexpr double kCoarseRounding = 0.5;    ///< of the energy: float16 anchors don't help enough

/// The first `count` of a random order of 0 .. n - 1.
std::vector<int64_t> random_rows(int64_t n, int64_t count, uint32_t seed) {
    std::vector<int64_t> rows(n);
    std::iota(rows.begin(), rows.end(), 0);
    for (int64_t i = 0; i < count; i++) {
        const uint64_t random = uint64_t(hash32(seed, uint32_t(i), uint32_t(i >> 32))) << 32 |
                                hash32(seed ^ 0x5bd1e995u, uint32_t(i), uint32_t(i >> 32));
        std::swap(rows[i], rows[i + int64_t(random % uint64_t(n - i))]);
    }
    rows.resize(count);
    return rows;
}

int32_t clamp32(double v) {
    return int32_t(std::clamp(std::floor(v + 0.5), 0.0, double(INT_MAX)));
}

/// Mean squared lattice distance, at least 1.
int64_t mean_energy(int64_t sum, int64_t n) {
    return std::max<int64_t>(1, n > 0 ? sum / n : 0);
}

/// Groups the anchors and gives each group the covariance of its residuals, drawn towards that of
/// all by as many rows as there are dimensions.
void group_residuals(Engine& engine, const Shape& shape, const VLCParameters& params,
                     Anchors& result) {
    std::vector<int8_t> anchors8(result.anchor.size());
    for (size_t i = 0; i < anchors8.size(); i++) {
        anchors8[i] = round_anchor(result.anchor[i]);
    }
    const int wanted =
            params.frames > 0 ? params.frames : choose_groups(shape, params.code_size(shape.d));
    result.group = group_anchors(shape.m, shape.dp, anchors8.data(), result.count.data(), wanted,
                                 params.seed);
    result.groups = 1 + *std::max_element(result.group.begin(), result.group.end());
    std::vector<std::vector<int32_t>> rows(result.groups);
    std::vector<size_t> sizes(result.groups, 0);
    for (int64_t j = 0; j < shape.m; j++) {
        sizes[result.group[j]] += result.count[j];
    }
    for (int g = 0; g < result.groups; g++) {
        rows[g].reserve(sizes[g]);
    }
    for (int64_t i = 0; i < shape.n_train; i++) {
        rows[result.group[result.label[i]]].push_back(int32_t(i));
    }
    const size_t size = size_t(shape.d) * shape.d;
    result.covariance.resize(result.groups * size);
    std::vector<int64_t> all(size, 0);
    for (int g = 0; g < result.groups; g++) {
        int64_t* sums = &result.covariance[g * size];
        engine.covariance(rows[g].data(), int64_t(rows[g].size()), sums);
        for (size_t i = 0; i < size; i++) {
            all[i] += sums[i];
        }
    }
    for (size_t i = 0; result.groups > 1 && i < result.covariance.size(); i++) {
        // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a sample has rows
        result.covariance[i] += int64_t(double(all[i % size]) * shape.d / double(shape.n_train));
    }
}

/// How coarse the lattice is: the share that rounding has in the energy of a training row that is
/// no outlier, at most 1. Nothing is to be gained where rows lie on their anchors.
double rounding_share(Engine& engine, const Sample& sample, const VLCParameters& params,
                      int64_t energy_train, std::vector<int32_t>& dist) {
    double inliers = 1;
    if (params.robust != Robust::none) {
        engine.get_distances(dist.data(), kTypicalRows);
        inliers = typical_distances(sample.shape.n_train, params.kappa, dist).inliers;
    }
    const double energy = double(energy_train) * inliers / double(sample.shape.n_train);
    const int64_t rows = std::min(kRoundedRows, sample.shape.n - sample.first_kept);
    const double rounding = sample.lattice.rounding(rows, sample.x.data());
    return energy_train == 0 ? 0 : std::min(1.0, rounding / energy);
}

void warn_if_coarse(const Sample& sample, double share) {
    if (share > kCoarseRounding) {
        fprintf(stderr,
                "WARNING training: the int8 lattice, with steps of %g, is coarse for these "
                "vectors: rounding makes %.0f %% of their squared distances to their anchors. "
                "Recall suffers; far apart groups or one large dimension cause this\n",
                1.0 / double(sample.lattice.scale), 100 * share);
    }
}

/// Puts the anchors on the grid that they are stored on, without biases, and assigns all rows to
/// them. Where int8 would add much to the residuals, `automatic` means float16. result's anchors
/// and distances are room to work in.
template <class Assign>
void settle(Engine& engine, const Sample& sample, const VLCParameters& params, Anchors& result,
            Assign&& assign) {
    const bool choose = params.grid == AnchorGrid::automatic;
    if (choose) {
        engine.get_anchors(result.anchor.data());
    }
    result.grid = choose ? AnchorGrid::int8 : params.grid;
    engine.quantize(result.grid);
    engine.set_bias(std::vector<int32_t>(sample.shape.m, 0).data());
    const AssignSummary summary = assign();
    const double share = rounding_share(engine, sample, params, summary.energy_train, result.dist);
    warn_if_coarse(sample, share);
    if (choose && share > kFineRounding) {
        result.grid = AnchorGrid::float16;
        engine.set_anchors(result.anchor.data());
        engine.quantize(result.grid);
        assign();
    }
}

/// Finds out about the settled anchors.
void describe(Engine& engine, const Shape& shape, const VLCParameters& params, Anchors& result) {
    result.anchor.resize(size_t(shape.m) * shape.dp);
    result.count.resize(shape.m);
    result.energy.resize(shape.m);
    result.label.resize(shape.n);
    result.dist.resize(shape.n);
    engine.reduce(ReduceParams{});
    engine.get_anchors(result.anchor.data());
    engine.get_labels(result.label.data());
    engine.get_distances(result.dist.data());
    engine.get_counts(result.count.data());
    engine.get_energies(result.energy.data());
    group_residuals(engine, shape, params, result);
}

} // namespace

int choose_anchors(int64_t n, int64_t n_train) {
    const int64_t wanted = 4 * int64_t(isqrt(uint64_t(n)));
    return int(std::clamp<int64_t>(std::min(wanted, n_train / 39), 1, 1 << 18));
}

int64_t rows_of_iteration(const Shape& shape, const VLCParameters& params, int t) {
    if (t < 0) {
        return 0;
    }
    const int64_t least = std::max<int64_t>(64 * int64_t(shape.m),
                                            int64_t(double(shape.n_train) * params.first_share));
    const int grown = params.iterations / 2;
    if (t >= grown || least >= shape.n_train) {
        return shape.n;
    }
    const double rows = double(least) *
                        stable_exp(stable_log(double(shape.n_train) / double(least)) * t / grown);
    const int64_t blocks = (int64_t(rows) + kRowBlock - 1) / kRowBlock;
    return blocks * kRowBlock < shape.n_train ? blocks * kRowBlock : shape.n;
}

Sample draw_sample(int64_t n, int d, const float* x, const VLCParameters& params,
                   const Ranks& ranks) {
    const std::vector<int64_t> parts = ranks.each(n);
    const int64_t before = std::accumulate(parts.begin(), parts.begin() + ranks.rank, int64_t(0));
    const int64_t all = std::accumulate(parts.begin(), parts.end(), int64_t(0));
    Sample sample;
    Shape& shape = sample.shape;
    shape.m = params.m > 0 ? params.m : choose_anchors(all, all);
    if (all < shape.m) {
        fail("training: expected at least as many vectors as anchors, got %lld for m = %d",
             (long long)all, shape.m);
    }
    shape.d = d;
    shape.dp = padded_dim(d);
    shape.neighbours = params.neighbours;
    shape.n = std::min<int64_t>(all, int64_t(shape.m) * params.max_points_per_anchor);
    shape.n = std::min<int64_t>(shape.n, INT32_MAX); // rows and counts are int32
    const int64_t held = int64_t(double(shape.n) * params.held_out);
    shape.n_train = std::max<int64_t>(shape.n - held, shape.m);
    sample.rows = random_rows(all, shape.n, params.seed);
    // take(row of the sample, vector) for those of [first, end) that are here
    const auto each_here = [&](int64_t first, int64_t end, const auto& take) {
#pragma omp parallel for if (end - first > 1000)
        for (int64_t i = first; i < end; i++) {
            const int64_t row = sample.rows[i] - before;
            if (row >= 0 && row < n) {
                take(i, x + row * d);
            }
        }
    };
    const auto vectors = [&](int64_t first, int64_t end) {
        std::vector<float> found(size_t(end - first) * d);
        each_here(first, end, [&](int64_t i, const float* row) {
            std::copy_n(row, d, &found[size_t(i - first) * d]);
        });
        ranks.gather(found.data(), found.size() * sizeof(float));
        return found;
    };

    // The rows are in random order: a part shows mean and scale as well as all do.
    const int64_t fitted =
            std::min({shape.n, kFittedRows, std::max<int64_t>(1024, kFittedValues / d)});
    sample.lattice = Lattice::fit(fitted, d, vectors(0, fitted).data());
    sample.first_kept = std::max<int64_t>(0, shape.n - kKeptRows);
    sample.x = vectors(sample.first_kept, shape.n);
    const size_t dp = shape.dp;
    const auto encode = [&](int64_t first, int64_t end, int8_t* out) {
        each_here(first, end, [&](int64_t i, const float* row) {
            sample.lattice.encode_row(row, out + size_t(i - first) * dp);
        });
    };
    if (ranks.count == 1) {
        sample.x8.resize(size_t(shape.n) * dp);
        encode(0, shape.n, sample.x8.data());
        return sample;
    }
    // Vectors are anywhere, rows in turn: they pass through all processes a part at a time.
    const Share own = ranks.share();
    sample.x8.reserve(size_t(own.before(shape.n)) * dp);
    const int64_t head = std::min<int64_t>(shape.n, 2 * int64_t(shape.m));
    constexpr int64_t kPart = 512 * kRowBlock;
    for (int64_t first = 0; first < shape.n; first += kPart) {
        const int64_t end = std::min(shape.n, first + kPart);
        std::vector<int8_t> part(size_t(end - first) * dp, 0);
        encode(first, end, part.data());
        ranks.gather(part.data(), part.size());
        for (int64_t i = first; i < end; i++) {
            const int8_t* row = &part[size_t(i - first) * dp];
            if (i < head) {
                sample.head8.insert(sample.head8.end(), row, row + dp);
            }
            if (own.holds(i)) {
                sample.x8.insert(sample.x8.end(), row, row + dp);
            }
        }
    }
    return sample;
}

Anchors anneal(Engine& engine, const Sample& sample, const VLCParameters& params, bool verbose) {
    const Shape& shape = sample.shape;
    const int64_t m = shape.m;
    Anchors result;
    result.anchor.resize(m * shape.dp);
    result.count.resize(m);
    result.energy.resize(m);
    result.label.resize(shape.n);
    result.dist.resize(shape.n);
    std::vector<int32_t> near_label(m), near_dist(m), order;
    std::vector<uint8_t> touched;
    std::vector<Move> merges, splits;
    order.reserve(m);
    touched.reserve(m);
    merges.reserve(m);
    splits.reserve(m);
    Dump dump(params.dump);

    engine.begin(shape, sample.x8.data());
    Checkpoint state;
    if (params.resume.empty()) {
        const std::vector<int64_t> first = starting_rows(sample, params.robust);
        for (int64_t j = 0; j < m; j++) {
            for (int k = 0; k < shape.dp; k++) {
                result.anchor[j * shape.dp + k] =
                        sample.head()[first[j] * shape.dp + k] * (1 << kAnchorBits);
            }
        }
        engine.set_anchors(result.anchor.data());
        state.best_held = INT64_MAX;
    } else {
        state = read_checkpoint(params.resume, sample, params);
        engine.set_anchors(state.anchor.data());
        engine.set_bias(state.bias.data());
        engine.set_labels(state.label.data());
    }
    state.run = params.checkpoint.empty() ? 0 : run_identity(sample, params);
    const double decay = params.iterations > 1
                                 ? stable_exp(stable_log(double(params.end_temperature) /
                                                         params.start_temperature) /
                                              (params.iterations - 1))
                                 : 1.0;
    const int64_t decay_q32 = int64_t(decay * 4294967296.0);
    const double octave = 0.69314718055994531; // size_bias counts in factors of e

    // Rows that were assigned before look only near their last anchor.
    const int candidates = params.candidates >= 0 ? params.candidates : shape.d <= 512 ? 128 : 256;
    const bool by_lists = candidates > 0 && m >= 2 * candidates;
    const auto assign = [&](int64_t rows) {
        const int64_t known = rows_of_iteration(shape, params, state.iteration - 1);
        if (by_lists && known > 0) {
            engine.list_near(candidates);
            return engine.assign(rows, known);
        }
        return engine.assign(rows);
    };

    for (; state.iteration < params.iterations; state.iteration++) {
        check_interrupt();
        const int64_t rows = rows_of_iteration(shape, params, state.iteration);
        const AssignSummary summary = assign(rows);
        const int64_t n_train = std::min(rows, shape.n_train);
        Typical typical;
        if (params.robust != Robust::none) {
            engine.get_distances(result.dist.data(), kTypicalRows);
            typical = typical_distances(n_train, params.kappa, result.dist);
        }
        // neither temperature nor biases nor splits go by outliers
        const int64_t energy =
                mean_energy(int64_t(double(summary.energy_train) * typical.inliers), n_train);
        if (state.iteration == 0) {
            state.first_energy = energy;
            // temperatures have 8 fraction bits
            state.temperature = std::max<int64_t>(
                    1, int64_t(double(energy) * params.start_temperature * 256.0));
        }
        const double temperature = double(state.temperature) / 256.0;

        ReduceParams reduce;
        reduce.rows = rows;
        reduce.inv_t = std::max<int32_t>(1, clamp32(32.0 * 65536.0 / temperature));
        reduce.robust = params.robust;
        reduce.tau2 = int32_t(typical.tau2);
        engine.reduce(reduce);

        UpdateParams update;
        update.step = std::max(1, clamp32(256.0 * double(params.step) * double(energy) /
                                          (double(energy) + temperature)));
        update.max_step = clamp32(double(params.max_step) * (1 << kAnchorBits));
        update.mean_count = int32_t(n_train / m);
        update.bias_scale = std::min(kMaxBias, clamp32(params.size_bias * octave * double(energy)));
        update.noise_scale = std::min(kMaxBias, clamp32(double(params.random_bias) /
                                                        params.start_temperature * temperature));
        update.seed = params.seed;
        update.iteration = uint32_t(state.iteration);
        engine.update(update);

        merges.clear();
        splits.clear();
        if (state.iteration + 1 < params.iterations * params.maintain_until) {
            engine.get_counts(result.count.data());
            engine.get_energies(result.energy.data());
            for (int64_t j = 0; params.robust != Robust::none && j < m; j++) {
                result.energy[j] = std::min(result.energy[j], typical.tau2 * result.count[j]);
            }
            engine.nearest(near_label.data(), near_dist.data());
            Shape seen = shape;
            seen.n_train = n_train;
            plan_moves(seen, {params.merge_fraction, params.split_factor},
                       hash32(params.seed, uint32_t(state.iteration), 77), result.count.data(),
                       result.energy.data(), near_label.data(), near_dist.data(), order, touched,
                       merges, splits);
            engine.apply(merges.data(), int(merges.size()));
            engine.apply(splits.data(), int(splits.size()));
            state.merges += int(merges.size());
            state.splits += int(splits.size());
        }
        if (verbose) {
            const double unit = 1.0 / (double(sample.lattice.scale) * sample.lattice.scale);
            printf("iteration %d: temperature %.6g energy %.6g changes %lld", state.iteration,
                   temperature * unit, double(summary.energy_train) / double(n_train) * unit,
                   (long long)summary.changes);
            if (!splits.empty()) {
                printf(" merged %zu split %zu", merges.size(), splits.size());
            }
            printf("\n");
            fflush(stdout);
        }
        dump.iteration(state.iteration, engine, shape);
        state.temperature =
                std::max<int64_t>(1, int64_t((__int128(state.temperature) * decay_q32) >> 32));

        // Stable, or no longer better where it was not trained: only once it has cooled down.
        const bool all = rows == shape.n;
        if (all) {
            const int64_t held = mean_energy(summary.energy_held, shape.n - shape.n_train);
            state.patience = held < state.best_held ? 0 : state.patience + 1;
            state.best_held = std::min(state.best_held, held);
        }
        const bool cool = all && state.iteration >= params.iterations / 2;
        const bool stable = double(summary.changes) <= params.stop_changes * double(shape.n);
        const bool stalled = shape.n > shape.n_train && state.patience >= 3;
        if (cool && splits.empty() && (stable || stalled)) {
            state.iteration++;
            break;
        }
        // not once it has stopped: a run resumed from there would go on
        if (params.checkpoint_every > 0 && (state.iteration + 1) % params.checkpoint_every == 0) {
            Checkpoint saved = state;
            saved.iteration++;
            saved.anchor.resize(m * shape.dp);
            saved.bias.resize(m);
            saved.label.resize(shape.n);
            engine.get_anchors(saved.anchor.data());
            engine.get_bias(saved.bias.data());
            engine.get_labels(saved.label.data());
            write_checkpoint(params.checkpoint, saved);
        }
    }

    result.iterations = state.iteration;
    result.merges = state.merges;
    result.splits = state.splits;
    settle(engine, sample, params, result, [&] { return assign(shape.n); });
    describe(engine, shape, params, result);
    dump.result(result, shape);
    return result;
}

Anchors take_anchors(Engine& engine, const Sample& sample, const VLCParameters& params,
                     const float* given) {
    const Shape& shape = sample.shape;
    const Lattice& lattice = sample.lattice;
    Anchors result;
    result.anchor.assign(size_t(shape.m) * shape.dp, 0);
    for (int j = 0; j < shape.m; j++) {
        for (int k = 0; k < shape.d; k++) {
            const double at = (double(given[size_t(j) * shape.d + k]) - lattice.mean[k]) *
                              double(lattice.scale) * (1 << kAnchorBits);
            result.anchor[size_t(j) * shape.dp + k] = int32_t(
                    std::clamp(std::nearbyint(at), -double(kMaxAnchor), double(kMaxAnchor)));
        }
    }
    engine.begin(shape, sample.x8.data());
    engine.set_anchors(result.anchor.data());
    result.dist.resize(shape.n);
    settle(engine, sample, params, result, [&] { return engine.assign(); });
    describe(engine, shape, params, result);
    return result;
}

} // namespace faiss_vlc
