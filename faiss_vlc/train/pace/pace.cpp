#include <faiss_vlc/train/pace/pace.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/rank_tables.h>
#include <faiss_vlc/train/anneal.h>

namespace faiss_vlc {

namespace {

constexpr int64_t kTrialQueries = 1024;
constexpr int64_t kLeastRows = 2048; ///< a trial of fewer says little
constexpr int64_t kLeastAnchors = 16;
constexpr int kTrialIterations = 8;
constexpr int kTrueNeighbours = 10;
/// Shares of the true neighbours. One level alone says little: far neighbours are those of few
/// queries.
constexpr double kLevels[] = {0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98};

constexpr float kCold = 0.001f; ///< of the mean energy: a row counts for its nearest anchor alone

/// A small training: the sample's local rows but the last ones, which are its queries.
class PaceTrial {
public:
    explicit PaceTrial(const Sample& sample);

    /// Whether there is enough to tell one pace from another.
    bool tells() const;
    /// Finds the true neighbours; once, before scanned().
    void find_neighbours();
    /// Rows in the lists that are read until each of kLevels of the true neighbours is found, with
    /// anchors trained so.
    std::vector<double> scanned(Engine& engine, VLCParameters params) const;

private:
    /// By rank of a list: the rows read there, and the true neighbours found.
    struct Reading {
        explicit Reading(int m) : read(m, 0), found(m, 0) {}
        std::vector<int64_t> read, found;
    };
    const int8_t* query(int64_t q) const { return &all_[size_t(rows_ + q) * local_.shape.dp]; }
    std::vector<int32_t> train(Engine& engine, const VLCParameters& params,
                               std::vector<int8_t>& anchors8) const;
    Reading read_all(const std::vector<int8_t>& anchors8, const std::vector<int32_t>& label) const;
    void read(int64_t q, const RankTables& anchors, const std::vector<int32_t>& label,
              const std::vector<int64_t>& size, Reading& reading) const;

    const std::vector<int8_t>& all_;
    int64_t rows_; ///< that train
    int64_t queries_ = 0;
    Sample local_;
    std::vector<int32_t> neighbours_; ///< queries x kTrueNeighbours
};

/// The kTrueNeighbours rows with the least scores, of equal ones the first.
class NearestRows {
public:
    /// Of so many scores, a multiple of 16; those that pad them come last.
    explicit NearestRows(size_t count) : minima_(kGroups), found_(count) {}

    void find(const int32_t* scores, int32_t* nearest) {
        // so many minima of groups are within this bound, and so as many scores are
        simd().rank.group_minima(int(found_.size()), scores, kGroups, minima_.data());
        std::nth_element(minima_.begin(), minima_.begin() + (kTrueNeighbours - 1), minima_.end());
        const int count = simd().rank.select_within(int(found_.size()), scores,
                                                    minima_[kTrueNeighbours - 1], found_.data());
        std::partial_sort(found_.begin(), found_.begin() + kTrueNeighbours, found_.begin() + count);
        for (int i = 0; i < kTrueNeighbours; i++) {
            nearest[i] = int32_t(uint32_t(found_[i]));
        }
    }

private:
    static constexpr int kGroups = 256;
    std::vector<int32_t> minima_;
    std::vector<uint64_t> found_;
};

PaceTrial::PaceTrial(const Sample& sample) : all_(sample.local8) {
    const Shape whole = sample.shape8();
    const int64_t all = int64_t(all_.size()) / whole.dp;
    queries_ = std::min(kTrialQueries, all / 8);
    rows_ = all - queries_;
    Shape& shape = local_.shape;
    shape = whole;
    shape.n = shape.n_train = rows_;
    shape.m = int(rows_ * whole.m / whole.n_train);
    local_.lattice = sample.lattice;
    local_.share = sample.share;
    if (!tells()) {
        return;
    }
    const auto row = [&](int64_t i) { return all_.begin() + i * shape.dp; };
    local_.head8.assign(row(0), row(std::min<int64_t>(rows_, 2 * int64_t(shape.m))));
    for (int64_t first = 0; first < rows_; first += kRowBlock) {
        if (sample.share.holds(first)) {
            local_.x8.insert(local_.x8.end(), row(first), row(std::min(rows_, first + kRowBlock)));
        }
    }
}

bool PaceTrial::tells() const {
    return rows_ >= std::max(kLeastRows, local_.share.count * kRowBlock) &&
           local_.shape.m >= kLeastAnchors;
}

void PaceTrial::find_neighbours() {
    neighbours_.resize(size_t(queries_) * kTrueNeighbours);
    const RankTables base(int(rows_), local_.shape.dp, all_.data());
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        std::vector<int32_t> scores(base.norm.size() * kManyTogether);
        NearestRows nearest(base.norm.size());
        const int8_t* x[kManyTogether];
        int32_t* own[kManyTogether];
#pragma omp for schedule(static) nowait
        for (int64_t first = 0; first < queries_; first += kManyTogether) {
            const int some = int(std::min<int64_t>(kManyTogether, queries_ - first));
            for (int q = 0; q < some; q++) {
                x[q] = query(first + q);
                own[q] = &scores[base.norm.size() * q];
            }
            rank_together(base.tiles(base.norm), some, x, -2, own);
            for (int q = 0; q < some; q++) {
                nearest.find(own[q], &neighbours_[size_t(first + q) * kTrueNeighbours]);
            }
        }
    });
    rescue.rethrow();
}

/// Returns the list of each row.
std::vector<int32_t> PaceTrial::train(Engine& engine, const VLCParameters& params,
                                      std::vector<int8_t>& anchors8) const {
    Annealing annealing(engine, local_, params);
    while (!annealing.is_over() && (annealing.iterations() == 0 || !annealing.should_stop())) {
        check_interrupt();
        annealing.iterate();
    }
    const Shape& shape = local_.shape;
    engine.quantize(AnchorGrid::int8);
    engine.set_bias(std::vector<int32_t>(shape.m, 0).data());
    engine.assign();
    std::vector<int32_t> anchor(size_t(shape.m) * shape.dp), label(rows_);
    engine.get_anchors(anchor.data());
    engine.get_labels(label.data());
    anchors8.resize(anchor.size());
    std::transform(anchor.begin(), anchor.end(), anchors8.begin(),
                   [](int32_t component) { return int8_t(round_anchor(component)); });
    return label;
}

/// Query q reads all lists, the nearest first.
void PaceTrial::read(int64_t q, const RankTables& anchors, const std::vector<int32_t>& label,
                     const std::vector<int64_t>& size, Reading& reading) const {
    const int m = local_.shape.m;
    std::vector<int32_t> scores(anchors.padded()), rank(m);
    std::vector<std::pair<int32_t, int32_t>> order(m);
    simd().rank.tiles(anchors.tiles(anchors.norm), query(q), -2, scores.data());
    for (int j = 0; j < m; j++) {
        order[j] = {scores[j], j};
    }
    std::sort(order.begin(), order.end());
    for (int r = 0; r < m; r++) {
        rank[order[r].second] = r;
        reading.read[r] += size[order[r].second];
    }
    for (int i = 0; i < kTrueNeighbours; i++) {
        reading.found[rank[label[neighbours_[q * kTrueNeighbours + i]]]]++;
    }
}

PaceTrial::Reading PaceTrial::read_all(const std::vector<int8_t>& anchors8,
                                       const std::vector<int32_t>& label) const {
    const int m = local_.shape.m;
    std::vector<int64_t> size(m, 0);
    for (const int32_t list : label) {
        size[list]++;
    }
    const RankTables anchors(m, local_.shape.dp, anchors8.data());
    Reading all(m);
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        Reading own(m);
#pragma omp for schedule(static) nowait
        for (int64_t q = 0; q < queries_; q++) {
            read(q, anchors, label, size, own);
        }
#pragma omp critical(faiss_vlc_pace_reading)
        for (int r = 0; r < m; r++) {
            all.read[r] += own.read[r];
            all.found[r] += own.found[r];
        }
    });
    rescue.rethrow();
    return all;
}

std::vector<double> PaceTrial::scanned(Engine& engine, VLCParameters params) const {
    params.iterations = std::min(params.iterations, kTrialIterations);
    params.checkpoint_every = 0;
    params.checkpoint.clear();
    params.resume.clear();
    std::vector<int8_t> anchors8;
    const std::vector<int32_t> label = train(engine, params, anchors8);
    const Reading reading = read_all(anchors8, label);
    std::vector<double> scanned;
    for (const double level : kLevels) {
        double wanted = level * double(queries_ * kTrueNeighbours), sum = 0;
        for (int r = 0; r < local_.shape.m && wanted > 0; r++) {
            const double more = double(reading.found[r]);
            sum += double(reading.read[r]) * (more > wanted ? wanted / more : 1.0);
            wanted -= more;
        }
        scanned.push_back(sum);
    }
    return scanned;
}

} // namespace

VLCParameters with_pace(const VLCParameters& params, Pace pace) {
    if (params.step >= 0) {
        return params;
    }
    VLCParameters chosen = params;
    chosen.step = 1.5f;
    if (pace == Pace::plain) {
        const VLCParameters standard;
        chosen.step = 1.25f;
        if (params.size_bias == standard.size_bias) {
            chosen.size_bias = 0;
        }
        if (params.start_temperature == standard.start_temperature &&
            params.end_temperature == standard.end_temperature) {
            chosen.start_temperature = chosen.end_temperature = kCold;
        }
    }
    return chosen;
}

PaceChoice choose_pace(Engine& engine, const Sample& sample, const VLCParameters& params) {
    if (params.step >= 0) {
        return {};
    }
    PaceTrial trial(sample);
    if (!trial.tells()) {
        return {};
    }
    trial.find_neighbours();
    const std::vector<double> usual = trial.scanned(engine, with_pace(params, Pace::usual));
    const std::vector<double> plain = trial.scanned(engine, with_pace(params, Pace::plain));
    double share = 0;
    for (size_t i = 0; i < usual.size(); i++) {
        share += plain[i] / std::max(1.0, usual[i]);
    }
    share /= double(usual.size());
    return share < 1 ? PaceChoice{Pace::plain, 1 / share} : PaceChoice{Pace::usual, share};
}

} // namespace faiss_vlc
