#include <algorithm>
#include <numeric>
#include <vector>

#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

bool may_need_fine_queries(const Layout& layout) {
    constexpr int kLeastWidth = 5; // coarser levels miss far more than rounding to int8 does
    return std::any_of(layout.fields.begin(), layout.fields.end(),
                       [](const Field& field) { return field.width >= kLeastWidth; });
}

bool needs_fine_queries(const Trial& trial, int64_t found, int64_t found_by_fine) {
    // of the true neighbours: a fine plane makes scanning some half slower. A base is larger than
    // the trial's, and its neighbours are harder to tell apart.
    constexpr int64_t kGain = 2, kOf = 1000;
    const int64_t sought = int64_t(trial.queries.size()) * trial.neighbours;
    return (found_by_fine - found) * kOf >= kGain * sought;
}

namespace {

/// The share of |r|^2 that levels of so many bytes miss, and words not much less.
double missed_share(const std::vector<double>& strength, int code_bytes) {
    const Layout layout = Layout::allocate(code_bytes, strength, 0);
    const double all = std::accumulate(strength.begin(), strength.end(), 0.0);
    double missed = all;
    for (const Field& field : layout.fields) {
        const size_t end = std::min(strength.size(), size_t(field.first) + size_t(field.lanes));
        for (size_t axis = size_t(field.first); axis < end; axis++) {
            missed -= strength[axis] * (1 - kUniformError[field.width]);
        }
    }
    return all > 0 ? missed / all : 1;
}

} // namespace

bool needs_fine_rotation(const Sample& sample, const Anchors& anchors, const Model& model,
                         const std::vector<double>& strength, int code_bytes) {
    constexpr double kMuch = 1.0 / 256; // of what is missed: queries and anchors are rounded, too
    constexpr double kUnits = 32767;    // of a vector's length, see Frame
    constexpr size_t kRows = 1024;
    const int d = model.d;
    // where there are more axes than strength has, these have little
    const double share = missed_share(strength, std::min(code_bytes, d));
    std::vector<int64_t> rows = fitting_rows(sample.shape);
    rows.resize(std::min(rows.size(), kRows));
    std::vector<float> residual(d), lattice(d);
    size_t counted = 0, coarse = 0;
    for (const int64_t row : rows) {
        residual_of(sample, anchors, row, residual.data());
        const float* x = sample.vector(row);
        for (int k = 0; k < d; k++) {
            lattice[k] = (x[k] - model.lattice.mean[k]) * model.lattice.scale;
        }
        const double missed = share * canonical_dot(d, residual.data(), residual.data());
        const double square = canonical_dot(d, lattice.data(), lattice.data());
        if (missed > 0) {
            counted++;
            coarse += d * square / (12 * kUnits * kUnits) > kMuch * missed;
        }
    }
    return 2 * coarse > counted;
}

} // namespace faiss_vlc
