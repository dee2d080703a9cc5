#include <algorithm>
#include <vector>

#include <faiss_vlc/tune_internal.h>

namespace faiss_vlc {

int choose_nprobe(const Sample& sample, const Anchors& anchors, const Trial& trial,
                  const Model& model, float coverage) {
    const int most = std::min(model.m, 1024);
    std::vector<int64_t> at_rank(most + 1, 0);
    Query query(model);
    std::vector<int32_t> rank_of(model.m);
    for (size_t q = 0; q < trial.queries.size(); q++) {
        query.set(sample.vector(trial.queries[q]));
        const std::vector<int64_t>& order = query.rank(most);
        std::fill(rank_of.begin(), rank_of.end(), most);
        for (int r = 0; r < most; r++) {
            rank_of[order[r]] = r;
        }
        for (int c = 0; c < trial.neighbours; c++) {
            const int64_t row = trial.base[trial.candidate[q * trial.candidates + c]];
            at_rank[rank_of[anchors.label[row]]]++;
        }
    }
    const double wanted = double(coverage) * double(trial.queries.size()) * trial.neighbours;
    int64_t covered = 0;
    for (int r = 0; r < most; r++) {
        covered += at_rank[r];
        if (double(covered) >= wanted) {
            return r + 1;
        }
    }
    return most;
}

} // namespace faiss_vlc
