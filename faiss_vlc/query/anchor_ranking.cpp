#include <faiss_vlc/query/anchor_ranking.h>

#include <algorithm>

#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

namespace {

/// Of a dot product in an anchor's score: |q - a|^2 less |q|^2, or -<q, a>.
int32_t rank_factor(const Model& model) {
    return model.metric == faiss::METRIC_INNER_PRODUCT ? -1 : -2;
}

/// The anchors that vectors are added by.
const RankTables& assign_tables(const Model& model) {
    return model.routing.used() ? model.derived().routes : model.derived().ranks;
}

/// Scores of anchors for a vector off the lattice, see there. spare: as many.
void score_off_lattice(const RankTables& ranks, const std::vector<int32_t>& offsets,
                       const RoundedQuery& query, std::vector<int32_t>& scores,
                       std::vector<int32_t>& spare) {
    const int shift = std::min(query.off.shift, 31);
    for (size_t j = 0; j < offsets.size(); j++) {
        spare[j] = offsets[j] == INT32_MAX ? INT32_MAX : offsets[j] >> shift;
    }
    simd().rank.tiles(ranks.tiles(spare), query.x.data(), -128, scores.data());
    simd().rank.tiles(ranks.tiles(scores), query.low.data(), -1, spare.data());
    scores.swap(spare);
}

} // namespace

int AnchorRanking::at_once(const Model& model) {
    constexpr int kMostScores = 1 << 20; // kept for each thread
    const bool many =
            simd().rank.many && model.derived().ranks.padded() * kManyTogether <= kMostScores;
    return many ? kManyTogether : kTogether;
}

AnchorRanking::AnchorRanking(const Model& model, int most)
    : model_(model), scored_(most), spare_(model.derived().ranks.padded()), found_(spare_.size()) {
    for (Scored& scored : scored_) {
        scored.score.resize(found_.size());
    }
    minima_.reserve(found_.size());
}

void AnchorRanking::score(int count, const RoundedQuery* const* queries) {
    const RankTables& ranks = model_.derived().ranks;
    const int8_t* x[kManyTogether];
    int32_t* scores[kManyTogether];
    int together = 0;
    for (int q = 0; q < count; q++) {
        Scored& scored = scored_[q];
        scored.query = queries[q];
        if (queries[q]->off.is()) {
            score_off_lattice(ranks, ranks.offset, *queries[q], scored.score, spare_);
        } else {
            x[together] = queries[q]->x.data();
            scores[together++] = scored.score.data();
        }
    }
    rank_together(ranks.tiles(ranks.offset), together, x, rank_factor(model_), scores);
    for (int q = 0; q < count; q++) {
        add_reach(scored_[q]);
    }
}

/// For inner products: what wide lists gain over their anchor.
void AnchorRanking::add_reach(Scored& scored) const {
    const std::vector<float>& reach = model_.derived().ranks.reach;
    const float norm = scored.query->norm;
    for (size_t j = 0; j < reach.size(); j++) {
        scored.score[j] -= int32_t(norm * reach[j] + 0.5f);
    }
}

AnchorRanking::Scored* AnchorRanking::find(const RoundedQuery& query) {
    for (Scored& scored : scored_) {
        if (scored.query == &query) {
            return &scored;
        }
    }
    return nullptr;
}

void AnchorRanking::forget(const RoundedQuery& query) {
    if (Scored* scored = find(query)) {
        scored->query = nullptr;
    }
}

void AnchorRanking::nearest(const RoundedQuery& query, int n, std::vector<int64_t>& order) {
    const Scored* scored = find(query);
    if (!scored) {
        const RoundedQuery* alone = &query;
        score(1, &alone);
        scored = &scored_[0];
    }
    const std::vector<int32_t>& scores = scored->score;
    const int padded = int(scores.size());
    n = std::min(n, model_.m);

    // The n-th smallest minimum of groups bounds the n-th smallest score: what lies within it is
    // little more than what is wanted. Group g is the scores g modulo the number of groups.
    int32_t bound = INT32_MAX;
    int groups = 64;
    while (groups < 4 * n) {
        groups *= 2;
    }
    if (groups * 2 <= padded) {
        minima_.resize(groups);
        simd().rank.group_minima(padded, scores.data(), groups, minima_.data());
        std::nth_element(minima_.begin(), minima_.begin() + n - 1, minima_.end());
        bound = minima_[n - 1];
    }
    const int count = simd().rank.select_within(padded, scores.data(), bound, found_.data());
    int sorted = count;
    if (count > n + n / 2) {
        std::nth_element(found_.begin(), found_.begin() + n, found_.begin() + count);
        sorted = n;
    }
    std::sort(found_.begin(), found_.begin() + sorted); // faster than std::partial_sort
    order.resize(n);
    for (int i = 0; i < n; i++) {
        order[i] = int64_t(uint32_t(found_[i]));
    }
}

void AnchorRanking::assign(const Model& model, int rows, const int8_t* x, int32_t* label) {
    const RankTables& anchors = assign_tables(model);
    simd().nearest.rows(anchors.tiles(anchors.norm), rows, x, label);
}

void AnchorRanking::assign_off_lattice(const Model& model, int rows, const float* row,
                                       const int8_t* x, int32_t* label) {
    const RankTables& anchors = assign_tables(model);
    const int d = model.assign_dims(), dp = padded_dim(d);
    std::vector<float> u;
    RoundedQuery rounded(dp);
    std::vector<int32_t> scores, spare; // of all anchors: made if a row needs them
    for (int i = 0; i < rows; i++) {
        if (!OffLattice::may_be(dp, x + size_t(i) * dp)) {
            continue;
        }
        u.resize(d);
        scores.resize(anchors.padded());
        spare.resize(anchors.padded());
        model.to_assign_unrounded(row + size_t(i) * model.d, u.data());
        rounded.off = OffLattice::of(d, u.data());
        if (rounded.off.is()) {
            rounded.off.round(d, u.data(), rounded.x.data(), rounded.low.data());
            score_off_lattice(anchors, anchors.norm, rounded, scores, spare);
            label[i] = int32_t(std::min_element(scores.begin(), scores.end()) - scores.begin());
        }
    }
}

} // namespace faiss_vlc
