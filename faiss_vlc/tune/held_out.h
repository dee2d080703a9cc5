#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/findings.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

/// Distances of a trial's queries from all rows of its base, and which of these are true
/// neighbours. Rows are numbered as in Trial::base.
struct Truth {
    int base = 0;
    int neighbours = 0;
    std::vector<float> distance; ///< queries x base, squared lattice units; negative products
    std::vector<float> farthest; ///< per query: the distance of a true neighbour, at most

    /// How many of the first `count` rows in order of `value` (ties: by number) are true
    /// neighbours of a query, at most `neighbours`. value: of each row; the largest there is, and
    /// infinity, don't count.
    template <class Value>
    int found(size_t query, const Value* value, int count) const;
};

/// By inner products, or by squared distance; exactly, over all rows.
Truth find_truth(const Sample& sample, const Trial& trial, bool products);

/// Counts all that HeldOutRecall holds. wide: a trial with every row of the base as a candidate,
/// and its terms; the model's estimator and nprobe are chosen. Integers are compared and floats
/// added in a fixed order only.
/// refined: estimates by both tiers, queries x candidates, or empty: there is one. With them
/// `decoded` counts what these find of all rows, and the others what they find of those that search
/// would order anew.
HeldOutRecall measure_recall(const Sample& sample, const Anchors& anchors, const Trial& wide,
                             const Terms& terms, const Model& model,
                             const std::vector<float>& refined = {});

/// What a product quantizer of `bytes` bytes finds of the true neighbours, over all queries and
/// with all lists probed: bytes blocks of the residuals' dimensions, 256 codewords each, trained on
/// rows of the trial's base; 0 of a base below 4096 rows. list_distance: that of each query and
/// row, as in Terms, queries x base.
int64_t found_by_product(const Sample& sample, const Anchors& anchors, const Trial& trial,
                         const Model& model, const Truth& truth,
                         const std::vector<float>& list_distance, int bytes);

/// l up to which a row is like the sample's.
float fit_usual_length(const Sample& sample, const Anchors& anchors, const Model& model);

} // namespace faiss_vlc
