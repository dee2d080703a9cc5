#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/rank_tables.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/train/settle.h>

namespace faiss_vlc {

namespace {

constexpr double kLeastDeviation = 0.25; ///< of lengths, over their mean: less leaves lists even
constexpr int64_t kTail = 256;           ///< 1 row in so many at either end may be wild

/// Sizes of the trial that chooses the weight: a small copy of what is to be trained.
constexpr int64_t kTrialRows = 8192;
constexpr int64_t kTrialQueries = 256;
constexpr int64_t kTrialAnchors = 128;
constexpr int64_t kRowsPerAnchor = 32; ///< at least
constexpr int kTrialRounds = 4;
constexpr int kTrueNeighbours = 10;
constexpr float kReach = 0.2f; ///< as rank_bias usually is
constexpr float kWeights[] = {1, 2, 4, 8, 16};
constexpr float kUsualWeight = 4; ///< where there are too few rows for a trial

std::vector<float> lengths_of(int64_t n, int d, const float* x) {
    std::vector<float> lengths(n);
#pragma omp parallel for if (n > 1000)
    for (int64_t i = 0; i < n; i++) {
        lengths[i] =
                float(std::min(length_of(d, x + i * d), double(std::numeric_limits<float>::max())));
    }
    return lengths;
}

bool differ(const std::vector<float>& rising) {
    const size_t tail = rising.size() / kTail;
    const auto first = rising.begin() + int64_t(tail), end = rising.end() - int64_t(tail);
    const auto n = double(end - first);
    const double mean = std::accumulate(first, end, 0.0) / n;
    double sum = 0;
    for (auto length = first; length != end; ++length) {
        sum += (double(*length) - mean) * (double(*length) - mean);
    }
    return mean > 0 && sum / n >= kLeastDeviation * kLeastDeviation * mean * mean;
}

/// The lattice for the rows' directions.
Lattice fit_directions(int64_t n, int d, const float* x) {
    std::vector<float> directions(size_t(n) * d, 0);
#pragma omp parallel for if (n > 1000)
    for (int64_t i = 0; i < n; i++) {
        const double length = length_of(d, x + i * d);
        for (int k = 0; k < d && length > 0; k++) {
            directions[i * d + k] = float(double(x[i * d + k]) / length);
        }
    }
    return Lattice::fit(n, d, directions.data());
}

double square(double v) {
    return v * v;
}

/// Tells by a small training what a weight is worth.
class WeightTrial {
public:
    /// x: float n x d. m: anchors that there will be.
    WeightTrial(int64_t n, int d, const float* x, float scale, int64_t m)
        : d_(d), queries_(std::min(kTrialQueries, n / 8)),
          rows_(std::min(kTrialRows, n - queries_)),
          m_(int(std::min({kTrialAnchors, m, rows_ / kRowsPerAnchor}))), x_(x),
          scaled_(size_t(rows_ + queries_) * d) {
        for (size_t i = 0; i < scaled_.size(); i++) {
            scaled_[i] = x[i] * scale;
        }
    }
    bool tells() const { return m_ > 1 && rows_ >= kTrueNeighbours; }

    /// Finds the true neighbours; once, before cost().
    void find_neighbours();
    /// Rows to be scanned until most neighbours are found.
    double cost(Routing routing, float scale) const;

private:
    const float* row(int64_t i) const { return &scaled_[size_t(i) * d_]; }
    const float* query(int64_t q) const { return row(rows_ + q); }
    std::vector<int32_t> cluster(Routing& routing, std::vector<int64_t>& counts) const;

    int d_;
    int64_t queries_, rows_;
    int m_;
    const float* x_;
    std::vector<float> scaled_;       ///< rows, then queries, in a lattice's units
    std::vector<int32_t> neighbours_; ///< queries x kTrueNeighbours
};

void WeightTrial::find_neighbours() {
    neighbours_.resize(size_t(queries_) * kTrueNeighbours);
    Rescue rescue;
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t q = 0; q < queries_; q++) {
        rescue.run([&] {
            std::vector<std::pair<float, int32_t>> order(rows_);
            for (int64_t i = 0; i < rows_; i++) {
                order[i] = {-canonical_dot(d_, query(q), row(i)), int32_t(i)};
            }
            std::nth_element(order.begin(), order.begin() + kTrueNeighbours - 1, order.end());
            for (int i = 0; i < kTrueNeighbours; i++) {
                neighbours_[q * kTrueNeighbours + i] = order[i].second;
            }
        });
    }
    rescue.rethrow();
}

/// Lloyd's algorithm on integers: sets the routing's anchors and returns the rows' lists.
std::vector<int32_t> WeightTrial::cluster(Routing& routing, std::vector<int64_t>& counts) const {
    const int dp = routing.dp();
    std::vector<int8_t> x8(size_t(rows_) * dp);
#pragma omp parallel for if (rows_ > 1000)
    for (int64_t i = 0; i < rows_; i++) {
        routing.encode_row(x_ + i * d_, &x8[size_t(i) * dp]);
    }
    routing.anchors.assign(x8.begin(), x8.begin() + int64_t(m_) * dp);
    std::vector<int32_t> label(rows_);
    for (int round = 0;; round++) {
        const RankTables anchors(m_, dp, routing.anchors.data());
        constexpr int64_t kChunk = 64;
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < rows_; i += kChunk) {
            simd().nearest.rows(anchors.tiles(anchors.norm), int(std::min(kChunk, rows_ - i)),
                                &x8[size_t(i) * dp], &label[i]);
        }
        std::vector<int64_t> sums(size_t(m_) * dp, 0);
        counts.assign(m_, 0);
        for (int64_t i = 0; i < rows_; i++) {
            counts[label[i]]++;
            for (int k = 0; k < dp; k++) {
                sums[size_t(label[i]) * dp + k] += x8[size_t(i) * dp + k];
            }
        }
        if (round == kTrialRounds) {
            return label;
        }
        for (size_t at = 0; at < sums.size(); at++) {
            const int64_t count = counts[at / dp];
            if (count > 0) {
                routing.anchors[at] = int8_t(std::lround(double(sums[at]) / double(count)));
            }
        }
    }
}

double WeightTrial::cost(Routing routing, float scale) const {
    std::vector<int64_t> counts;
    const std::vector<int32_t> label = cluster(routing, counts);
    std::vector<float> centres(size_t(m_) * d_);
    std::vector<float> reach(m_); // per |q|: long lists without a direction hold near rows, too
    std::vector<int32_t> fixed(routing.dp());
    for (int j = 0; j < m_; j++) {
        for (int k = 0; k < routing.dp(); k++) {
            fixed[k] = routing.anchors[size_t(j) * routing.dp() + k] * (1 << kAnchorBits);
        }
        float* const centre = &centres[size_t(j) * d_];
        const float length = routing.centre(fixed.data(), centre);
        const double across = double(length) * length - square(length_of(d_, centre));
        reach[j] = kReach * float(std::sqrt(std::max(0.0, across)) * double(scale));
    }
    for (float& component : centres) {
        component *= scale;
    }
    std::vector<int64_t> found(m_, 0), scanned(m_, 0); // by rank
    std::vector<std::pair<float, int32_t>> order(m_);
    std::vector<int> rank(m_);
    for (int64_t q = 0; q < queries_; q++) {
        const float norm = std::sqrt(canonical_dot(d_, query(q), query(q)));
        for (int j = 0; j < m_; j++) {
            const float dot = canonical_dot(d_, query(q), &centres[size_t(j) * d_]);
            order[j] = {-dot - norm * reach[j], j};
        }
        std::sort(order.begin(), order.end());
        for (int r = 0; r < m_; r++) {
            rank[order[r].second] = r;
            scanned[r] += counts[order[r].second];
        }
        for (int i = 0; i < kTrueNeighbours; i++) {
            found[rank[label[neighbours_[q * kTrueNeighbours + i]]]]++;
        }
    }
    double cost = 0;
    for (const double share : {0.8, 0.9, 0.95}) {
        double wanted = share * double(queries_ * kTrueNeighbours);
        for (int r = 0; r < m_ && wanted > 0; r++) {
            const double more = double(found[r]);
            cost += double(scanned[r]) * (more > wanted ? wanted / more : 1.0);
            wanted -= more;
        }
    }
    return cost;
}

/// Distance of a row to its list's anchor, both on the data's lattice.
int32_t distance(const Sample& sample, const Anchors& anchors, int64_t row) {
    const int d = sample.shape.d;
    const float* x = sample.vector(row);
    const int32_t* a = &anchors.anchor[size_t(anchors.label[row]) * sample.shape.dp];
    double square = 0;
    for (int k = 0; k < d; k++) {
        const double u = (double(x[k]) - sample.lattice.mean[k]) * double(sample.lattice.scale);
        const double r = std::clamp(u, -127.0, 127.0) - double(a[k]) / (1 << kAnchorBits);
        square += r * r;
    }
    return int32_t(std::min(square, double(INT32_MAX)));
}

} // namespace

Routing fit_routing(int64_t n, int d, const float* x, int64_t m, float scale) {
    Routing routing;
    std::vector<float> lengths = lengths_of(n, d, x);
    std::sort(lengths.begin(), lengths.end());
    if (d + Routing::kRankComponents > kMaxDim || !differ(lengths)) {
        return routing;
    }
    routing.set_lengths(lengths);
    const Lattice directions = fit_directions(n, d, x);
    routing.set_weight(kUsualWeight, directions);
    WeightTrial trial(n, d, x, scale, m);
    if (!trial.tells()) {
        return routing;
    }
    trial.find_neighbours();
    double least = std::numeric_limits<double>::infinity();
    Routing best;
    for (const float weight : kWeights) {
        routing.set_weight(weight, directions);
        const double cost = trial.cost(routing, scale);
        if (cost < least) {
            least = cost;
            best = routing;
        }
    }
    return best;
}

void leave_routing(const Sample& sample, Anchors& anchors) {
    const Routing& routing = sample.routing;
    const Shape& shape = sample.shape;
    const int d = shape.d, dp = routing.dp(), routed = routing.lattice.d;
    anchors.route.resize(anchors.anchor.size());
    for (size_t i = 0; i < anchors.route.size(); i++) {
        anchors.route[i] = round_anchor(anchors.anchor[i]);
    }
    std::vector<int32_t> anchor(size_t(shape.m) * shape.dp, 0);
    std::vector<float> centre(d);
    anchors.length.resize(shape.m);
    for (int j = 0; j < shape.m; j++) {
        anchors.length[j] = routing.centre(&anchors.anchor[size_t(j) * dp], centre.data());
        for (int k = 0; k < d; k++) {
            const double at = (double(centre[k]) - sample.lattice.mean[k]) *
                              double(sample.lattice.scale) * (1 << kAnchorBits);
            anchor[size_t(j) * shape.dp + k] = int32_t(
                    std::clamp(std::nearbyint(at), -double(kMaxAnchor), double(kMaxAnchor)));
        }
    }
    anchors.anchor.swap(anchor);
    anchors.grid = AnchorGrid::float16;
    std::fill(anchors.dist.begin(), anchors.dist.end(), 0);
#pragma omp parallel for
    for (int64_t i = sample.first_kept; i < shape.n; i++) {
        anchors.dist[i] = distance(sample, anchors, i);
    }
    std::vector<int64_t> covariance(size_t(anchors.groups) * d * d);
    for (int64_t i = 0; i < int64_t(anchors.groups) * d; i++) { // the ranks' rows are left out
        const int64_t from = (i / d * routed + i % d) * routed;
        std::copy_n(&anchors.covariance[from], d, &covariance[i * d]);
    }
    anchors.covariance.swap(covariance);
}

} // namespace faiss_vlc
