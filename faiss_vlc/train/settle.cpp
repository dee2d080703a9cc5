#include <faiss_vlc/train/settle.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/train/stages/group.h>
#include <faiss_vlc/train/stages/robust.h>

namespace faiss_vlc {

namespace {

constexpr int64_t kRoundedRows = 1000; ///< that show how coarse the lattice is
constexpr double kFineRounding = 0.05; ///< of the energy: int8 anchors do

/// The training rows of each group's anchors.
std::vector<std::vector<int32_t>> rows_by_group(const Shape& shape, const Anchors& anchors) {
    std::vector<std::vector<int32_t>> rows(anchors.groups);
    std::vector<size_t> sizes(anchors.groups, 0);
    for (int64_t j = 0; j < shape.m; j++) {
        sizes[anchors.group[j]] += anchors.count[j];
    }
    for (int g = 0; g < anchors.groups; g++) {
        rows[g].reserve(sizes[g]);
    }
    for (int64_t i = 0; i < shape.n_train; i++) {
        rows[anchors.group[anchors.label[i]]].push_back(int32_t(i));
    }
    return rows;
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
            params.frames > 0 ? params.frames : choose_groups(shape, params.first_size(shape.d));
    result.group = group_anchors(shape.m, shape.dp, anchors8.data(), result.count.data(), wanted,
                                 params.seed);
    result.groups = 1 + *std::max_element(result.group.begin(), result.group.end());
    if (shape.d > kMaxCovarianceDim) {
        return;
    }
    const std::vector<std::vector<int32_t>> rows = rows_by_group(shape, result);
    const size_t size = size_t(shape.d) * shape.d;
    result.covariance.resize(result.groups * size);
    std::vector<int64_t> all(result.groups > 1 ? size : 0, 0);
    for (int g = 0; g < result.groups; g++) {
        int64_t* sums = &result.covariance[g * size];
        engine.covariance(rows[g].data(), int64_t(rows[g].size()), sums);
        for (size_t i = 0; i < all.size(); i++) {
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

/// Snaps the anchors and assigns all rows to them. result's anchors and distances are room to work
/// in.
void snap(Engine& engine, const Sample& sample, const VLCParameters& params, Anchors& result,
          const std::function<AssignSummary()>& assign) {
    const bool choose = params.grid == AnchorGrid::automatic && !sample.routing.used();
    if (choose) {
        engine.get_anchors(result.anchor.data());
    }
    result.grid = choose || sample.routing.used() ? AnchorGrid::int8 : params.grid;
    engine.quantize(result.grid);
    engine.set_bias(std::vector<int32_t>(sample.shape.m, 0).data());
    const AssignSummary summary = assign();
    if (sample.routing.used()) {
        return;
    }
    const double share = rounding_share(engine, sample, params, summary.energy_train, result.dist);
    if (choose && share > kFineRounding) {
        result.grid = AnchorGrid::float16;
        engine.set_anchors(result.anchor.data());
        engine.quantize(result.grid);
        assign();
    }
}

/// Finds out about the settled anchors.
void describe(Engine& engine, const Shape& shape, const VLCParameters& params, Anchors& result) {
    engine.get_anchors(result.anchor.data());
    engine.get_labels(result.label.data());
    engine.get_distances(result.dist.data());
    for (int64_t i = 0; i < shape.n_train; i++) {
        result.count[result.label[i]]++;
        result.energy[result.label[i]] += result.dist[i];
    }
    group_residuals(engine, shape, params, result);
}

} // namespace

void settle(Engine& engine, const Sample& sample, const VLCParameters& params, Anchors& result,
            const std::function<AssignSummary()>& assign) {
    const Shape shape = sample.shape8();
    result.anchor.resize(size_t(shape.m) * shape.dp);
    result.count.assign(shape.m, 0);
    result.energy.assign(shape.m, 0);
    result.label.resize(shape.n);
    result.dist.resize(shape.n);
    snap(engine, sample, params, result, assign);
    describe(engine, shape, params, result);
    if (sample.routing.used()) {
        leave_routing(sample, result);
    }
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
    settle(engine, sample, params, result, [&] { return engine.assign(); });
    return result;
}

} // namespace faiss_vlc
