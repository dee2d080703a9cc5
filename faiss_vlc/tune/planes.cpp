#include <algorithm>
#include <numeric>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/query/query.h>
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

constexpr size_t kSlack = 64; ///< kernels read whole registers

/// The candidates of a query, those of a list together.
std::vector<int> by_list(const Anchors& anchors, const Trial& trial, size_t q) {
    std::vector<int> order(trial.candidates);
    std::iota(order.begin(), order.end(), 0);
    const auto list = [&](int c) {
        return anchors.label[trial.base[trial.candidate[q * trial.candidates + c]]];
    };
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return list(a) < list(b); });
    return order;
}

/// How many of a query's true neighbours scanning finds among its candidates.
int64_t scanned_for(const Sample& sample, const Anchors& anchors, const Trial& trial, size_t q,
                    Model::Coder& coder, Query& query) {
    std::vector<uint8_t> code(sample.shape.d + kFactorBytes + kSlack);
    std::vector<float> estimate(trial.candidates);
    const ListScan* scan = nullptr;
    int list = -1;
    query.set(trial.queries[q]);
    for (const int c : by_list(anchors, trial, q)) {
        const int64_t row = trial.base[trial.candidate[q * trial.candidates + c]];
        if (anchors.label[row] != list) {
            list = anchors.label[row];
            scan = &query.list(list);
        }
        coder.encode(sample.vector(row), list, code.data());
        float some[kBlock];
        scan_codes(*scan, code.data(), 1, 0, some);
        estimate[c] = some[0];
    }
    std::vector<float> sorted = estimate;
    const auto last = sorted.begin() + trial.neighbours - 1;
    std::nth_element(sorted.begin(), last, sorted.end());
    return std::count_if(estimate.begin(), estimate.begin() + trial.neighbours,
                         [&](float one) { return one <= *last; });
}

/// The same of the first queries.
int64_t scanned(const Sample& sample, const Anchors& anchors, const Trial& trial, int queries,
                const Model& model) {
    int64_t total = 0;
    Rescue rescue;
#pragma omp parallel reduction(+ : total)
    rescue.run([&] {
        Model::Coder coder(model);
        Query query(model);
#pragma omp for schedule(dynamic, 4) nowait
        for (int q = 0; q < queries; q++) {
            total += scanned_for(sample, anchors, trial, size_t(q), coder, query);
        }
    });
    rescue.rethrow();
    return total;
}

} // namespace

bool needs_wide_tables(const Sample& sample, const Anchors& anchors, const Trial& trial,
                       const Model& model) {
    constexpr int kMostAxes = 2; // of a block: the words of more miss far more than 16 bits do
    constexpr int kQueries = 128;
    constexpr int64_t kGain = 5, kOf = 1000; // they take several times as long
    const Layout& layout = model.layout;
    if (!layout.has_words() || layout.has_few_blocks() ||
        layout.axes > kMostAxes * layout.blocks()) {
        return false;
    }
    const int queries = std::min(kQueries, int(trial.queries.size()));
    Model wide = model;
    wide.fine_queries = true;
    const int64_t gain = scanned(sample, anchors, trial, queries, wide) -
                         scanned(sample, anchors, trial, queries, model);
    return gain * kOf >= kGain * queries * trial.neighbours;
}

} // namespace faiss_vlc
