#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

constexpr size_t kMaxFactorRows = 4096;

} // namespace

std::vector<int64_t> fitting_rows(const Shape& shape) {
    std::vector<int64_t> rows(std::min<int64_t>(shape.n, kMaxVarianceRows));
    for (size_t i = 0; i < rows.size(); i++) {
        rows[i] = shape.n - 1 - int64_t(i);
    }
    return rows;
}

void residual_of(const Sample& sample, const Anchors& anchors, int64_t row, float* out) {
    const float* x = sample.vector(row);
    const int32_t* a = &anchors.anchor[size_t(anchors.label[row]) * sample.shape.dp];
    for (int k = 0; k < sample.shape.d; k++) {
        const float u = (x[k] - sample.lattice.mean[k]) * sample.lattice.scale;
        out[k] = std::min(127.0f, std::max(-127.0f, u)) - float(a[k]) * (1.0f / (1 << kAnchorBits));
    }
}

std::vector<double> axis_variance(const Sample& sample, const Anchors& anchors,
                                  const Model& model) {
    const int d = model.d;
    std::vector<Frame> frames = model.frames;
    const int axes = frames[0].kept;
    std::vector<int> all(axes);
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
    std::vector<double> variance(frames.size() * axes, 0);
    for (size_t g = 0; g < frames.size(); g++) {
        std::vector<double> sums(size_t(kParts) * axes, 0);
        std::vector<int64_t> counted(kParts, 0);
        Rescue rescue;
#pragma omp parallel for schedule(static)
        for (int part = 0; part < kParts; part++) {
            rescue.run([&] {
                std::vector<float> residual(d), rotated(frames[g].slots());
                for (size_t i = part; i < of_frame[g].size(); i += kParts) {
                    residual_of(sample, anchors, of_frame[g][i], residual.data());
                    const double square = canonical_dot(d, residual.data(), residual.data());
                    if (!(square > 0)) {
                        continue;
                    }
                    counted[part]++;
                    frames[g].rotate(residual.data(), rotated.data());
                    const double weight = double(model.estimator.energy) / square;
                    for (int k = 0; k < axes; k++) {
                        sums[size_t(part) * axes + k] += weight * rotated[k] * rotated[k];
                    }
                }
            });
        }
        rescue.rethrow();
        for (int part = 0; part < kParts; part++) {
            for (int k = 0; k < axes; k++) {
                variance[g * axes + k] += sums[size_t(part) * axes + k];
            }
        }
        const auto count = std::accumulate(counted.begin(), counted.end(), int64_t(0));
        for (int k = 0; k < axes; k++) { // where no row tells, all axes are alike
            variance[g * axes + k] = count > 0 ? variance[g * axes + k] / double(count)
                                               : double(model.estimator.energy) / d;
        }
    }
    return variance;
}

std::vector<double> mean_variance(const Sample& sample, const Anchors& anchors, const Model& model,
                                  const std::vector<double>& variance) {
    const int axes = model.frames[0].kept;
    std::vector<double> weight(model.frames.size(), 0), mean(axes, 0);
    for (int j = 0; j < model.m; j++) {
        weight[model.group[j]] += anchors.count[j];
    }
    for (size_t g = 0; g < weight.size(); g++) {
        for (int k = 0; k < axes; k++) {
            mean[k] += weight[g] / double(sample.shape.n_train) * variance[g * axes + k];
        }
    }
    return mean;
}

void sort_axes(Frame& frame, double* variance, double* strength) {
    const int d = frame.d;
    const double* by = strength ? strength : variance;
    std::vector<int> order(frame.kept);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return by[a] > by[b]; });
    std::vector<int8_t> rows(frame.rows.size());
    for (int i = 0; i < frame.kept; i++) {
        std::copy_n(&frame.rows[size_t(order[i]) * d], d, &rows[size_t(i) * d]);
    }
    frame.rows.swap(rows);
    for (double* values : {variance, strength}) {
        const std::vector<double> before(values, values ? values + frame.kept : values);
        for (size_t i = 0; i < before.size(); i++) {
            values[i] = before[order[i]];
        }
    }
}

Axes usual_axes(const Sample& sample, const Anchors& anchors, const Model& model) {
    Axes axes;
    axes.frames = model.frames;
    axes.variance = axis_variance(sample, anchors, model);
    for (size_t g = 0; g < axes.frames.size(); g++) {
        sort_axes(axes.frames[g], &axes.variance[g * size_t(axes.frames[g].kept)]);
    }
    axes.strength = mean_variance(sample, anchors, model, axes.variance);
    if (int(axes.strength.size()) < model.d) { // a layout may pad its last run with up to 3 axes
        axes.strength.resize(axes.strength.size() - 3);
    }
    return axes;
}

float fit_energy(const Sample& sample, const Anchors& anchors, const Model& model) {
    constexpr double kLeast = 1.0 / 256; // where all rows are their anchors, others may come later
    std::vector<int64_t> rows = fitting_rows(sample.shape);
    rows.resize(std::min<size_t>(rows.size(), kMaxFactorRows));
    std::vector<double> square(rows.size(), 0);
    std::vector<float> residual(model.d);
    for (size_t i = 0; i < rows.size(); i++) {
        residual_of(sample, anchors, rows[i], residual.data());
        for (const float r : residual) {
            square[i] += double(r) * r;
        }
        const double scale = Estimator::list_scale(model.spread[anchors.label[rows[i]]]);
        square[i] /= scale * scale;
    }
    // the largest 1 in 256 are left out, as they may be wild
    std::sort(square.begin(), square.end());
    const size_t usual = square.size() - square.size() / 256;
    double sum = 0;
    for (size_t i = 0; i < usual; i++) {
        sum += square[i];
    }
    return float(std::max(kLeast, sum / double(usual)));
}

double fit_factors(const Sample& sample, const Anchors& anchors, Model& model) {
    std::vector<int64_t> rows = fitting_rows(sample.shape);
    rows.resize(std::min<size_t>(rows.size(), kMaxFactorRows));
    std::vector<float> gamma(rows.size(), 1), length(rows.size()), kappa(rows.size(), 1);
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
            if (coder.residual_square > 0 && std::isfinite(coder.residual_square)) {
                const double decoded = coder.decoded_square();
                gamma[i] = float(coder.residual_dot / coder.residual_square);
                kappa[i] = float(decoded / coder.residual_square);
            }
            length[i] = float(std::sqrt(coder.residual_square)) /
                        model.estimator.length_unit(model.spread[j]);
        }
    }
    rescue.rethrow();
    double missed = 0;
    for (size_t i = 0; i < rows.size(); i++) {
        missed += 1.0 - 2.0 * double(gamma[i]) + double(kappa[i]);
    }
    missed /= double(std::max<size_t>(1, rows.size()));
    std::sort(gamma.begin(), gamma.end());
    std::sort(length.begin(), length.end());
    std::sort(kappa.begin(), kappa.end());
    model.estimator.kappa = std::max(0.01f, kappa[kappa.size() / 2]);
    if (model.layout.factor_bytes < 2) { // no gamma: all have the usual one
        std::fill_n(model.estimator.gamma, kGammaSteps, model.estimator.kappa);
        std::fill_n(model.estimator.far, kGammaSteps, model.estimator.kappa);
        return missed;
    }
    const size_t tail = gamma.size() / 256; // these may be wild
    const size_t last = gamma.size() - 1 - tail;
    model.estimator.set_gamma(gamma[tail], gamma[last]);
    model.estimator.set_far(kappa[tail], kappa[last]);
    if (model.metric == faiss::METRIC_L2) {
        model.estimator.usual_length = std::min(length[last], kUnbounded);
    }
    return missed;
}

} // namespace faiss_vlc
