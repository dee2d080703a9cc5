#include <algorithm>

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

} // namespace faiss_vlc
