#pragma once

#include <cstdint>

#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// The rows that iteration t (from 0) sees. Early ones, which move anchors far, see only the first
/// part of the training rows, at least 64 an anchor; it grows by the same factor in each, and from
/// the middle on all rows take part, held-out ones too. None before the first iteration.
int64_t rows_of_iteration(const Shape& shape, const VLCParameters& params, int t);

/// What each iteration goes by: rows, temperatures, steps. Temperatures are squared lattice
/// distances with 8 fraction bits; they fall by the same factor in each iteration.
class Schedule {
public:
    Schedule(const Shape& shape, const VLCParameters& params);

    int64_t rows(int t) const { return rows_of_iteration(shape_, params_, t); }
    int64_t training_rows(int t) const;
    /// Anchors that a row is compared with once it was assigned: those near its last one. 0: all.
    int near() const { return near_; }
    /// Whether iteration t merges and splits.
    bool maintains(int t) const;
    /// Whether training may stop after iteration t: it has cooled down and sees all rows.
    bool is_cool(int t) const;

    /// The first temperature, energy being the first iteration's mean.
    int64_t hottest(int64_t energy) const;
    int64_t cooler(int64_t temperature) const;

    /// Of iteration t. tau2: the squared distance beyond which rows are outliers; energy: the mean.
    ReduceParams reduce(int t, int64_t temperature, int64_t tau2) const;
    UpdateParams update(int t, int64_t temperature, int64_t energy) const;

private:
    Shape shape_;
    const VLCParameters& params_;
    int64_t decay_q32_; ///< per iteration
    int near_;
};

/// What Schedule returns as a temperature, as a squared lattice distance.
inline double degrees(int64_t temperature) {
    return double(temperature) / 256.0;
}

} // namespace faiss_vlc
