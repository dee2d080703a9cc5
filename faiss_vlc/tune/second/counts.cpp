#include <faiss_vlc/tune/second/counts.h>

#include <algorithm>
#include <numeric>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/tune/second/shape.h>

namespace faiss_vlc {

namespace {

/// The rank with which at most .2 % of the best are left out.
int rank_that_holds(std::vector<int> ranks, int least) {
    std::sort(ranks.begin(), ranks.end());
    return ranks.empty() ? least
                         : std::max(least, ranks[ranks.size() - 1 - ranks.size() / 500] + 1);
}

/// The rows of a trial's base, list by list.
struct Listed {
    std::vector<int32_t> row;   ///< indices into the base
    std::vector<size_t> starts; ///< of each list among them, and their number

    Listed(const Anchors& anchors, const std::vector<int64_t>& base, int m)
        : row(base.size()), starts(size_t(m) + 1) {
        for (const int64_t i : base) {
            starts[size_t(anchors.label[i]) + 1]++;
        }
        std::partial_sum(starts.begin(), starts.end(), starts.begin());
        std::iota(row.begin(), row.end(), 0);
        std::stable_sort(row.begin(), row.end(), [&](int32_t a, int32_t b) {
            return anchors.label[base[size_t(a)]] < anchors.label[base[size_t(b)]];
        });
    }
};

/// Scans the rows of a trial's base for one query as a search does, and orders the best anew by
/// both tiers. Holds scratch; one per thread.
class TrialSearch {
public:
    /// codes: of the base's rows.
    TrialSearch(const Listed& listed, const Model& model, const std::vector<uint8_t>& codes)
        : listed_(listed), model_(model), codes_(codes), query_(model), refinement_(model) {}

    /// probes: in how many lists, of the nearest ones.
    Ranks10 ranks(const float* x, int probes) {
        constexpr size_t kFew = 10, kMany = 40;
        scan(x, probes);
        const size_t refined = refine();
        const size_t best = std::min(kMany, refined);
        std::partial_sort(found_.begin(), found_.begin() + ptrdiff_t(best),
                          found_.begin() + ptrdiff_t(refined), [](const Found& a, const Found& b) {
                              return a.by_both != b.by_both ? a.by_both < b.by_both
                                                            : a.rank < b.rank;
                          });
        Ranks10 met;
        for (size_t i = 0; i < best; i++) {
            const Found& one = found_[i];
            met.many.push_back(one.rank);
            if (i < kFew) {
                met.few.push_back(one.rank);
                met.slack.push_back(double(one.estimate - one.by_both) /
                                    query_.slack_unit(one.by_both));
            }
        }
        return met;
    }

private:
    struct Found {
        float estimate; ///< by the first tier
        int list;
        int32_t row;
        int rank;
        float by_both;
    };
    const Listed& listed_;
    const Model& model_;
    const std::vector<uint8_t>& codes_;
    Query query_;
    Refinement refinement_;
    std::vector<Found> found_;

    const uint8_t* code(int32_t row) const {
        return &codes_[size_t(row) * size_t(model_.code_size())];
    }
    void scan(const float* x, int probes) {
        query_.set(x);
        found_.clear();
        for (const int64_t l : query_.rank(probes)) {
            const auto j = int(l);
            const size_t end = listed_.starts[size_t(j) + 1];
            if (listed_.starts[size_t(j)] == end) {
                continue;
            }
            const ListScan& list = query_.list(j);
            for (size_t i = listed_.starts[size_t(j)]; i < end; i++) {
                float estimate[kBlock]; // a code is a block of one vector
                scan_codes(list, code(listed_.row[i]), 1, 0.0f, estimate);
                found_.push_back({estimate[0], j, listed_.row[i], 0, 0});
            }
        }
    }
    /// The first ones of found_ are then those that it returns the number of.
    size_t refine() {
        constexpr size_t kMost = 1024; // what is beyond is hardly among the best
        const size_t some = std::min(kMost, found_.size());
        const auto end = found_.begin() + ptrdiff_t(some);
        const auto before = [](const Found& a, const Found& b) {
            return a.estimate != b.estimate ? a.estimate < b.estimate : a.row < b.row;
        };
        if (end != found_.end()) {
            std::nth_element(found_.begin(), end, found_.end(), before);
        }
        std::sort(found_.begin(), end, before);
        for (size_t i = 0; i < some; i++) {
            found_[i].rank = int(i);
        }
        std::sort(found_.begin(), end, [](const Found& a, const Found& b) { // prepared once a list
            return a.list != b.list ? a.list < b.list : a.rank < b.rank;
        });
        refinement_.forget();
        for (size_t i = 0; i < some; i++) {
            const uint8_t* both = code(found_[i].row);
            found_[i].by_both = query_.refined(refinement_, found_[i].list, both,
                                               both + model_.layout.code_size());
        }
        return some;
    }
};

} // namespace

Ranks10 search_trial(const Anchors& anchors, const Trial& trial, const Model& model,
                     const std::vector<uint8_t>& codes, size_t least, int probes) {
    constexpr double kMostBytes = 1.5e8; // of codes
    const double each =
            double(trial.base.size()) * probes / model.m * std::max(16, model.layout.code_size());
    const bool is_slow = model.second->by_decoding() && model.d > kFewDimensions;
    const size_t n = std::min(trial.queries.size(),
                              is_slow ? least : std::max(least, size_t(kMostBytes / each)));
    const Listed listed(anchors, trial.base, model.m);
    std::vector<Ranks10> met(n);
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        TrialSearch search(listed, model, codes);
#pragma omp for schedule(dynamic) nowait
        for (size_t q = 0; q < n; q++) {
            rescue.run([&] { met[q] = search.ranks(trial.queries[q], probes); });
        }
    });
    rescue.rethrow();
    Ranks10 all;
    for (const Ranks10& one : met) {
        all.add(one);
    }
    return all;
}

void set_counts(Ranks10 met, const Ranks10& usual, size_t base, SecondTier& tier) {
    constexpr int kFew = 10, kMany = 40;
    tier.refined_usual = rank_that_holds(usual.few, kFew);
    tier.refined = std::max(tier.refined_usual, rank_that_holds(met.few, kFew));
    tier.refined_base = std::max<int64_t>(1, int64_t(base));
    const int for_many = rank_that_holds(met.many, kMany);
    tier.growth = float(
            std::clamp(stable_log(double(for_many) / tier.refined) / stable_log(4.0), 0.0, 1.0));
    std::sort(met.slack.begin(), met.slack.end());
    if (!met.slack.empty()) {
        tier.range_slack =
                float(std::max(0.0, met.slack[met.slack.size() - 1 - met.slack.size() / 500]));
    }
}

} // namespace faiss_vlc
