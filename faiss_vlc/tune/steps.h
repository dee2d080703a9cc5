#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/train/settle.h>

namespace faiss_vlc {

/// Steps of tune_model, a file each: trial, blend, axes, nprobe, regions.

constexpr int kMaxVarianceRows = 32768; ///< that axes and factors are fitted to

/// Queries, held out or given, and for each the nearest rows of the base by true distance.
struct Trial {
    std::vector<const float*> queries; ///< the sample's
    std::vector<int64_t> base;         ///< sample rows
    bool given = false;                ///< whether the caller gave the queries
    int neighbours = 0;                ///< min(10, candidates)
    int candidates = 0;                ///< per query
    std::vector<int32_t> candidate;    ///< queries x candidates, indices into base, nearest first
};

/// Of the given queries, or else of held-out rows.
Trial make_trial(const Sample& sample, const Model& model);

/// The first queries of a trial, with every row of the base as a candidate: what is far but badly
/// known gets among the nearest, which the candidates of a trial don't show.
Trial widen(const Trial& trial, const Model& model);

/// Whether Model::fine_queries can matter for a layout's levels, and whether it has to be set for
/// what is found without and with it.
bool may_need_fine_queries(const Layout& layout);
bool needs_fine_queries(const Trial& trial, int64_t found, int64_t found_by_fine);

/// Whether rounding vectors before they are turned (Model::fine_rotation) would add to what codes
/// of so many bytes miss, with axes of this strength.
bool needs_fine_rotation(const Sample& sample, const Anchors& anchors, const Model& model,
                         const std::vector<double>& strength, int code_bytes);

/// What the estimate of each (query, candidate) is made of, for one layout.
struct Terms {
    std::vector<float> list_distance, dot; ///< D and <q - a, r^> (or -<q, a> and <q, r^>)
    std::vector<float> square, gamma;      ///< |r|^2 and gamma as stored; far rows: -far
    std::vector<float> query_norm;         ///< per query
};

Terms estimate_terms(const Sample& sample, const Anchors& anchors, const Trial& trial,
                     const Model& model);

/// The estimate of a query's distance from each of its candidates, by the terms of its trial.
void estimate_all(const Trial& trial, const Terms& terms, const Model& model, const Estimator& e,
                  size_t query, std::vector<float>& estimate);

/// Chooses t1, t2 and c one after the other (the optimum is flat), starting from and replacing
/// `estimator`; plain decoding and the unbiased estimate are tried, too. Returns what is found.
int64_t choose_estimator(const Trial& trial, const Terms& terms, const Model& model,
                         const VLCParameters& params, bool thorough, Estimator& estimator);

/// Rows of the sample that shapes are fitted to: held-out ones first.
std::vector<int64_t> fitting_rows(const Shape& shape);

/// A sample row less its anchor, clamped as on the lattice: a wild component must not own an axis,
/// nor the energy. out: float d.
void residual_of(const Sample& sample, const Anchors& anchors, int64_t row, float* out);

/// Frames to choose a layout for.
struct Axes {
    std::vector<Frame> frames;
    std::vector<double> variance; ///< as axis_variance() says, frames x the axes of one
    std::vector<double> strength; ///< what bits go by, falling: of the axes that may have some
};

/// By the residuals alone.
Axes usual_axes(const Sample& sample, const Anchors& anchors, const Model& model);

/// By the residuals and the queries of the trial: along each axis the error counts as much as
/// queries reach along it. The model's frames have all axes.
Axes axes_by_queries(const Sample& sample, const Anchors& anchors, const Trial& trial,
                     const Model& model);

/// Variance of residual * sqrt(E) / |residual| along each axis of the frames, frames x
/// axes.
std::vector<double> axis_variance(const Sample& sample, const Anchors& anchors, const Model& model);

/// The mean of the frames' variances, axis by axis, by which all frames share one layout.
std::vector<double> mean_variance(const Sample& sample, const Anchors& anchors, const Model& model,
                                  const std::vector<double>& variance);

/// Orders axes by falling strength, if it is given, or else variance (the covariance weighs lists
/// differently).
void sort_axes(Frame& frame, double* variance, double* strength = nullptr);

/// E: the mean of |r|^2 / list_scale^2, in squared lattice units.
float fit_energy(const Sample& sample, const Anchors& anchors, const Model& model);

/// gamma, far, kappa and the usual length, by what the sample's rows have under the model's layout.
/// Returns the mean of |r - r^|^2 / |r|^2.
double fit_factors(const Sample& sample, const Anchors& anchors, Model& model);

/// Takes another of a few estimators, plain decoding among them, where that finds clearly more of a
/// wide trial. Returns what is found.
int64_t check_estimator(const Trial& wide, const Terms& terms, const Model& model,
                        const VLCParameters& params, Estimator& estimator);

/// Sets the model's second tier, for what its codes miss, and how many it orders anew by what
/// searches for the trial's queries meet. Returns the estimates by both tiers of all queries and
/// candidates of the wide trial.
std::vector<float> fit_second(const Sample& sample, const Anchors& anchors, const Trial& trial,
                              const Trial& wide, const VLCParameters& params, Model& model);

/// What the model finds as it is.
int64_t found_by(const Trial& wide, const Terms& terms, const Model& model);

/// The distance within which nearly all true neighbours' anchors lie: the model's most_distance.
float usual_distance(const Trial& trial, const Terms& terms);

/// Model::rank_bias with which the fewest vectors are scanned for .8, .9 and .95 of the true
/// neighbours. Those of a sample are farther than a whole base's and ask for more of it: at most
/// .5, or .3 for inner products.
float choose_rank_bias(const Anchors& anchors, const Trial& trial, const Model& model);

/// Regions of the model's anchors, and into how many of them a query looks. wanted: as
/// VLCParameters::regions. -1: about 2 sqrt(m), where ranking all anchors is much work (m dp of
/// 2^20 and more) and with the model's nprobe at most half of it would be left; none
/// elsewhere. No regions either where too few queries tell about them. The model has none yet, and
/// ranks all.
Regions choose_regions(const Anchors& anchors, const Trial& trial, const Model& model, int wanted);

/// The number of lists that hold `coverage` of the true neighbours of the trial's queries.
int choose_nprobe(const Anchors& anchors, const Trial& trial, const Model& model, float coverage);

} // namespace faiss_vlc
