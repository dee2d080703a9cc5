#include <algorithm>
#include <cmath>
#include <vector>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

constexpr int kTrueNeighbours = 10;
constexpr int kMaxTrialQueries = 600;
constexpr int kMaxGivenQueries = 1024;
constexpr int kMaxBase = 32768;
constexpr int kCandidates = 256; ///< per query: farther ones hardly get among the first 10
static_assert(kMaxTrialQueries + kMaxBase <= kKeptRows && kMaxVarianceRows <= kKeptRows,
              "vectors beyond are not kept");

float square_of(float v) {
    return v * v;
}

/// The rows that queries are compared with, in lattice units.
class TrialBase {
public:
    TrialBase(const Sample& sample, const Model& model, const std::vector<int64_t>& rows)
        : sample_(sample), model_(model),
          inner_product_(model.metric == faiss::METRIC_INNER_PRODUCT), n_(int(rows.size())) {
        pack(rows);
        scale(rows);
    }

    /// The `count` nearest of the base to a row, nearest first. on_lattice: a sample row, for which
    /// the first kTrueNeighbours are right and the others may be only nearly the nearest; what may
    /// lie far beyond the lattice is compared exactly.
    void nearest(const float* x, bool on_lattice, int count, int32_t* found) const;

private:
    using Near = std::pair<float, int32_t>; ///< distance, row of the base
    std::vector<Near> compare(const float* row, const float* x, bool on_lattice, int count) const;
    void measure(const float* x, Near* rows, int count) const;
    void pack(const std::vector<int64_t>& rows);
    void scale(const std::vector<int64_t>& rows);
    std::vector<float> scaled(const float* x) const;
    int groups() const { return sample_.shape.dp / 4; }
    int tiles() const { return (n_ + 15) / 16; }

    const Sample& sample_;
    const Model& model_;
    bool inner_product_;
    int n_;
    std::vector<int8_t> packed_; ///< ranking tiles, see AnchorTiles
    std::vector<int32_t> norm_, sums_;
    std::vector<float> base_;   ///< n x d
    std::vector<float> square_; ///< n, their |x|^2
};

/// The base as ranking tiles.
void TrialBase::pack(const std::vector<int64_t>& rows) {
    const int dp = sample_.shape.dp;
    packed_.assign(size_t(tiles()) * groups() * 64, 0);
    norm_.assign(tiles() * 16, 0);
    sums_.assign(tiles() * 16, 0);
    std::vector<int8_t> x8(dp);
    for (int i = 0; i < n_; i++) {
        sample_.lattice.encode_row(sample_.vector(rows[i]), x8.data());
        for (int k = 0; k < dp; k++) {
            packed_[(size_t(i / 16) * groups() + k / 4) * 64 + i % 16 * 4 + k % 4] = x8[k];
            norm_[i] += x8[k] * x8[k];
            sums_[i] += x8[k];
        }
    }
}

/// A row in lattice units: distances of the data may leave the range of float.
std::vector<float> TrialBase::scaled(const float* x) const {
    const float scale = model_.lattice.scale;
    std::vector<float> v(sample_.shape.d);
    for (size_t k = 0; k < v.size(); k++) {
        v[k] = (x[k] - (inner_product_ ? 0 : model_.lattice.mean[k])) * scale;
    }
    return v;
}

void TrialBase::scale(const std::vector<int64_t>& rows) {
    const size_t d = size_t(sample_.shape.d);
    base_.resize(size_t(n_) * d);
    square_.resize(n_);
    Rescue rescue;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n_; i++) {
        rescue.run([&] {
            const std::vector<float> v = scaled(sample_.vector(rows[i]));
            std::copy(v.begin(), v.end(), &base_[size_t(i) * d]);
            square_[i] = canonical_dot(int(d), v.data(), v.data());
        });
    }
    rescue.rethrow();
}

/// Distances from the rows: on the int8 lattice, with those of the nearest exact, or else in an
/// exact order. Inner products are exact.
std::vector<TrialBase::Near> TrialBase::compare(const float* row, const float* x, bool on_lattice,
                                                int count) const {
    const int d = sample_.shape.d;
    std::vector<Near> order(n_);
    if (inner_product_ || !on_lattice) {
        for (int i = 0; i < n_; i++) {
            // without |x|^2, in which differences would vanish
            const float dot = canonical_dot(d, x, &base_[size_t(i) * d]);
            order[i] = {inner_product_ ? -dot : square_[i] - 2 * dot, i};
        }
        return order;
    }
    std::vector<int32_t> scores(tiles() * 16);
    std::vector<int8_t> query8(sample_.shape.dp);
    sample_.lattice.encode_row(row, query8.data());
    const AnchorTiles base{tiles(), groups(), packed_.data(), sums_.data(), norm_.data()};
    simd().rank.tiles(base, query8.data(), -2, scores.data());
    int32_t own = 0;
    for (int k = 0; k < d; k++) {
        own += query8[k] * query8[k];
    }
    for (int i = 0; i < n_; i++) {
        order[i] = {float(scores[i] + own), i};
    }
    std::nth_element(order.begin(), order.begin() + count - 1, order.end());
    const float last = order[count - 1].first;
    measure(x, order.data(), count);
    const int sought = std::min(kTrueNeighbours, count);
    std::nth_element(order.begin(), order.begin() + sought - 1, order.begin() + count);
    // rounding moves each of the two by up to sqrt(d) / 2; clamping brings them together at most
    const float off = std::sqrt(float(d));
    if (std::sqrt(last) - off < std::sqrt(order[sought - 1].first)) { // a nearer one may be left
        const float farthest = std::max_element(order.begin(), order.begin() + count)->first;
        const float bound = square_of(std::sqrt(farthest) + off);
        const auto rest = std::partition(order.begin() + count, order.end(),
                                         [&](const Near& near) { return near.first <= bound; });
        measure(x, order.data() + count, int(rest - order.begin()) - count);
        order.erase(rest, order.end());
    } else {
        order.resize(count);
    }
    return order;
}

/// Makes distances on the lattice exact ones.
void TrialBase::measure(const float* x, Near* rows, int count) const {
    const int d = sample_.shape.d;
    for (Near* row = rows; row != rows + count; row++) {
        row->first = canonical_l2(d, x, &base_[size_t(row->second) * d]);
    }
}

void TrialBase::nearest(const float* row, bool on_lattice, int count, int32_t* found) const {
    const std::vector<float> query = scaled(row);
    std::vector<Near> order = compare(row, query.data(), on_lattice, count);
    std::partial_sort(order.begin(), order.begin() + count, order.end());
    for (int i = 0; i < count; i++) {
        found[i] = order[i].second;
    }
}

/// The sample's given queries that are near enough to compute with.
std::vector<const float*> usable_queries(const Sample& sample, const Model& model) {
    constexpr float kFarthest = 1e13f; // squares and sums stay finite
    const size_t d = size_t(model.d);
    std::vector<const float*> usable;
    for (size_t at = 0; at < sample.queries.size(); at += d) {
        const float* x = &sample.queries[at];
        float farthest = 0;
        for (size_t k = 0; k < d; k++) {
            farthest = std::max(farthest,
                                std::fabs((x[k] - model.lattice.mean[k]) * model.lattice.scale));
        }
        if (farthest < kFarthest) {
            usable.push_back(x);
        }
    }
    return usable;
}

} // namespace

Trial make_trial(const Sample& sample, const Model& model) {
    const Shape& shape = sample.shape;
    Trial trial;
    const std::vector<const float*> given = usable_queries(sample, model);
    const int64_t held = shape.n - shape.n_train;
    int64_t base_end = shape.n;
    trial.given = !given.empty();
    if (trial.given) {
        const size_t count = std::min<size_t>(given.size(), kMaxGivenQueries);
        for (size_t i = 0; i < count; i++) {
            trial.queries.push_back(given[i * given.size() / count]);
        }
    } else {
        // A tiny sample without a held-out part lends training rows, as queries and as base.
        const int64_t count = std::min<int64_t>(held > 0 ? held : shape.n, kMaxTrialQueries);
        for (int64_t i = 0; i < count; i++) {
            trial.queries.push_back(sample.vector(shape.n - count + i));
        }
        base_end = held > 0 ? shape.n - count : shape.n;
    }
    for (int64_t i = 0; i < std::min<int64_t>(base_end, kMaxBase); i++) {
        trial.base.push_back(base_end - 1 - i); // other held-out rows first: they were not fitted
    }
    trial.candidates = std::min(kCandidates, int(trial.base.size()));
    trial.neighbours = std::min(kTrueNeighbours, trial.candidates);
    trial.candidate.resize(trial.queries.size() * trial.candidates);

    const TrialBase base(sample, model, trial.base);
    Rescue rescue;
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t q = 0; q < trial.queries.size(); q++) {
        rescue.run([&] {
            base.nearest(trial.queries[q], !trial.given, trial.candidates,
                         &trial.candidate[q * trial.candidates]);
        });
    }
    rescue.rethrow();
    return trial;
}

Trial widen(const Trial& trial, const Model& model) {
    constexpr double kMostProducts = 3e8; // of components
    constexpr int kMostWideQueries = 100, kLeastWideQueries = 16;
    Trial wide;
    wide.base = trial.base;
    wide.neighbours = trial.neighbours;
    wide.candidates = int(trial.base.size());
    const double fit = kMostProducts / (double(wide.candidates) * std::max(16, model.slots()));
    const size_t count =
            size_t(std::clamp(fit, double(kLeastWideQueries), double(kMostWideQueries)));
    wide.queries.assign(trial.queries.begin(),
                        trial.queries.begin() + std::min(count, trial.queries.size()));
    std::vector<bool> is_near(trial.base.size());
    for (size_t q = 0; q < wide.queries.size(); q++) {
        const int32_t* nearest = &trial.candidate[q * trial.candidates];
        std::fill(is_near.begin(), is_near.end(), false);
        for (int c = 0; c < trial.neighbours; c++) {
            wide.candidate.push_back(nearest[c]);
            is_near[nearest[c]] = true;
        }
        for (int i = 0; i < wide.candidates; i++) {
            if (!is_near[i]) {
                wide.candidate.push_back(i);
            }
        }
    }
    return wide;
}

} // namespace faiss_vlc
