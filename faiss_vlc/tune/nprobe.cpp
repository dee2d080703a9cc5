#include <algorithm>
#include <numeric>
#include <vector>

#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

/// What probing one more list finds, over all queries of a trial, by rank (0 to at most 1023).
struct ByRank {
    std::vector<int64_t> found;   ///< true neighbours
    std::vector<int64_t> scanned; ///< vectors of the sample's lists
    int64_t neighbours = 0;       ///< that there are to be found
};

ByRank count_ranks(const Anchors& anchors, const Trial& trial, const Model& model) {
    const int most = std::min(model.m, 1024);
    const int64_t queries = int64_t(trial.queries.size());
    ByRank ranks{std::vector<int64_t>(most), std::vector<int64_t>(most),
                 queries * trial.neighbours};
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        std::vector<int64_t> found(most), scanned(most);
        std::vector<int32_t> rank_of(model.m);
        Query query(model);
#pragma omp for schedule(static) nowait
        for (int64_t q = 0; q < queries; q++) {
            query.set(trial.queries[q]);
            const std::vector<int64_t>& order = query.rank(most);
            std::fill(rank_of.begin(), rank_of.end(), most);
            for (int r = 0; r < most; r++) {
                rank_of[order[r]] = r;
                scanned[r] += anchors.count[order[r]];
            }
            for (int c = 0; c < trial.neighbours; c++) {
                const int64_t row = trial.base[trial.candidate[q * trial.candidates + c]];
                const int rank = rank_of[anchors.label[row]];
                if (rank < most) {
                    found[rank]++;
                }
            }
        }
#pragma omp critical(faiss_vlc_count_ranks)
        for (int r = 0; r < most; r++) {
            ranks.found[r] += found[r];
            ranks.scanned[r] += scanned[r];
        }
    });
    rescue.rethrow();
    return ranks;
}

int64_t found_in_all(const ByRank& ranks) {
    return std::accumulate(ranks.found.begin(), ranks.found.end(), int64_t(0));
}

/// Vectors scanned until so many neighbours are found, between ranks in proportion.
double scanned_for(const ByRank& ranks, double wanted) {
    double found = 0, scanned = 0;
    for (size_t r = 0; r < ranks.found.size(); r++) {
        const double more = double(ranks.found[r]);
        if (found + more >= wanted) {
            return scanned + double(ranks.scanned[r]) * (wanted - found) / std::max(1.0, more);
        }
        found += more;
        scanned += double(ranks.scanned[r]);
    }
    return scanned;
}

} // namespace

float choose_rank_bias(const Anchors& anchors, const Trial& trial, const Model& model) {
    constexpr size_t kFewQueries = 64; // these say little
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const float step = inner_product ? 0.1f : 0.125f;
    if (trial.queries.size() < kFewQueries) {
        return 2 * step;
    }
    Model biased = model;
    std::vector<ByRank> tried;
    int64_t most = INT64_MAX; // that each bias finds: not all are found among 1024 of many lists
    for (int i = 0; i <= (inner_product ? 3 : 4); i++) {
        biased.bias_ranks(step * float(i));
        tried.push_back(count_ranks(anchors, trial, biased));
        most = std::min(most, found_in_all(tried[i]));
    }
    int best = 0;
    double least = 0;
    for (int i = 0; i < int(tried.size()); i++) {
        double cost = 0;
        for (const double share : {0.8, 0.9, 0.95}) {
            const double wanted = share * double(most);
            cost += scanned_for(tried[i], wanted) / std::max(1.0, scanned_for(tried[0], wanted));
        }
        if (i == 0 || cost < least) {
            least = cost;
            best = i;
        }
    }
    return step * float(best);
}

int choose_nprobe(const Anchors& anchors, const Trial& trial, const Model& model, float coverage) {
    const ByRank ranks = count_ranks(anchors, trial, model);
    const double wanted = double(coverage) * double(ranks.neighbours);
    int64_t covered = 0;
    for (size_t r = 0; r < ranks.found.size(); r++) {
        covered += ranks.found[r];
        if (double(covered) >= wanted) {
            return int(r) + 1;
        }
    }
    return int(ranks.found.size());
}

} // namespace faiss_vlc
