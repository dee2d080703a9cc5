#include <algorithm>
#include <cmath>
#include <vector>

#include <faiss_vlc/axes/weighed_axes.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

/// An estimate's error is that of <q - a, r^>, or <q, r^> for inner products. These are q - a of
/// queries and the lists of their true neighbours, or q, at length 1: each query counts as much.
struct Reaches {
    std::vector<float> x;       ///< n x d
    std::vector<uint8_t> group; ///< n, of the list
};

Reaches find_reaches(const Sample& sample, const Anchors& anchors, const Trial& trial,
                     const Model& model) {
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const int d = model.d;
    Reaches reaches;
    std::vector<float> reach(d);
    std::vector<int32_t> lists;
    for (size_t q = 0; q < trial.queries.size(); q++) {
        lists.clear();
        for (int c = 0; c < trial.neighbours; c++) {
            lists.push_back(anchors.label[trial.base[trial.candidate[q * trial.candidates + c]]]);
        }
        std::sort(lists.begin(), lists.end());
        lists.erase(std::unique(lists.begin(), lists.end()), lists.end());
        for (const int32_t j : lists) {
            const int32_t* a = &anchors.anchor[size_t(j) * sample.shape.dp];
            for (int k = 0; k < d; k++) {
                const float from = inner_product ? 0 : model.lattice.mean[k];
                reach[k] = (trial.queries[q][k] - from) * model.lattice.scale;
                if (!inner_product) {
                    reach[k] -= float(a[k]) * (1.0f / (1 << kAnchorBits));
                }
            }
            const float norm = std::sqrt(canonical_dot(d, reach.data(), reach.data()));
            if (norm > 0) {
                for (const float r : reach) {
                    reaches.x.push_back(r / norm);
                }
                reaches.group.push_back(model.group[j]);
            }
        }
    }
    return reaches;
}

/// The sum of x x^T over the reaches of a group (-1: of all), d x d; returns how many they are.
int64_t add_moments(const Reaches& reaches, int group, int d_in, std::vector<double>& sum) {
    const size_t d = size_t(d_in);
    std::vector<const float*> rows;
    for (size_t i = 0; i < reaches.group.size(); i++) {
        if (group < 0 || reaches.group[i] == group) {
            rows.push_back(&reaches.x[i * d]);
        }
    }
    sum.assign(d * d, 0);
#pragma omp parallel for schedule(static)
    for (size_t k = 0; k < d; k++) { // each in the order of the rows, whatever the threads
        double* out = &sum[k * d];
        for (const float* x : rows) {
            const double factor = x[k];
            for (size_t l = 0; l < d; l++) {
                out[l] += factor * x[l];
            }
        }
    }
    return int64_t(rows.size());
}

/// What an error along each direction counts in the lists of a group, d x d, 1 on average: by its
/// own queries, drawn towards all queries where these are few, and a little towards no preference,
/// so that no axis goes without bits for want of queries that happened to reach along it.
std::vector<double> moments_of(const Reaches& reaches, const std::vector<double>& all, int group,
                               int d_in) {
    constexpr double kPrior = 32; // reaches
    constexpr double kEven = 0.1;
    const size_t d = size_t(d_in);
    std::vector<double> moments;
    const int64_t count = add_moments(reaches, group, d_in, moments);
    const double total = double(reaches.group.size());
    const double unit = double(d) * (1 - kEven) / (double(count) + kPrior);
    for (size_t i = 0; i < moments.size(); i++) {
        moments[i] = (moments[i] + kPrior * all[i] / total) * unit;
    }
    for (size_t k = 0; k < d; k++) {
        moments[k * d + k] += kEven;
    }
    return moments;
}

/// The shares in which groups decide about the layout: those of the lists where neighbours are,
/// and a little those of the vectors.
std::vector<double> group_shares(const Sample& sample, const Anchors& anchors,
                                 const Reaches& reaches) {
    constexpr double kByVectors = 0.1;
    std::vector<double> share(anchors.groups, 0);
    for (size_t j = 0; j < anchors.group.size(); j++) {
        share[anchors.group[j]] +=
                kByVectors * double(anchors.count[j]) / double(sample.shape.n_train);
    }
    for (const uint8_t g : reaches.group) {
        share[g] += (1 - kByVectors) / double(reaches.group.size());
    }
    return share;
}

} // namespace

Axes axes_by_queries(const Sample& sample, const Anchors& anchors, const Trial& trial,
                     const Model& model) {
    const size_t d = size_t(model.d);
    const Reaches reaches = find_reaches(sample, anchors, trial, model);
    if (reaches.group.empty()) { // all queries are anchors
        return usual_axes(sample, anchors, model);
    }
    std::vector<double> all;
    add_moments(reaches, -1, model.d, all);
    Model turned = model;
    std::vector<double> strength; // frames x d
    for (size_t g = 0; g < turned.frames.size(); g++) {
        check_interrupt();
        const WeighedAxes axes = weighed_axes(model.d, &anchors.covariance[g * d * d],
                                              moments_of(reaches, all, int(g), model.d));
        turned.frames[g] = axes.frame;
        strength.insert(strength.end(), axes.weight.begin(), axes.weight.end());
    }
    Axes axes;
    axes.variance = axis_variance(sample, anchors, turned);
    axes.frames = turned.frames;
    axes.strength.assign(d, 0);
    const std::vector<double> share = group_shares(sample, anchors, reaches);
    for (size_t g = 0; g < axes.frames.size(); g++) {
        for (size_t k = 0; k < d; k++) {
            strength[g * d + k] *= axes.variance[g * d + k];
        }
        sort_axes(axes.frames[g], &axes.variance[g * d], &strength[g * d]);
        for (size_t k = 0; k < d; k++) {
            axes.strength[k] += share[g] * strength[g * d + k];
        }
    }
    return axes;
}

} // namespace faiss_vlc
