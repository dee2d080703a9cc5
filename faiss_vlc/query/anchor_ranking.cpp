#include <faiss_vlc/query/anchor_ranking.h>

#include <algorithm>
#include <numeric>

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

/// Scores of anchors for a vector off the lattice, see there.
void score_off_lattice(AnchorTiles anchors, const RoundedQuery& query, int32_t* scores) {
    constexpr int kTiles = 16; // that stay in the nearest cache between the two bytes
    int32_t offsets[kTiles * 16], high[kTiles * 16];
    const int shift = std::min(query.off.shift, 31);
    for (int left = anchors.tiles; left > 0; left -= kTiles) {
        const int n = std::min(left, kTiles) * 16;
        for (int j = 0; j < n; j++) {
            const int32_t offset = anchors.offsets[j];
            offsets[j] = offset == INT32_MAX ? INT32_MAX : offset >> shift;
        }
        const AnchorTiles some{n / 16, anchors.groups, anchors.packed, anchors.component_sums,
                               offsets};
        simd().rank.tiles(some, query.x.data(), -128, high);
        simd().rank.tiles({some.tiles, some.groups, some.packed, some.component_sums, high},
                          query.low.data(), -1, scores);
        anchors.packed += int64_t(n) * anchors.groups * 4;
        anchors.component_sums += n;
        anchors.offsets += n;
        scores += n;
    }
}

/// For inner products: what wide lists gain over their anchor.
void add_reach(const RoundedQuery& query, const float* reach, int n, int32_t* scores) {
    const float norm = query.norm;
    for (int j = 0; j < n; j++) {
        scores[j] -= int32_t(norm * reach[j] + 0.5f);
    }
}

/// Room for n; what is there may be anything.
template <class T>
T* room_for(std::vector<T>& v, int n) {
    if (v.size() < size_t(n)) {
        v.resize(size_t(n));
    }
    return v.data();
}

} // namespace

int AnchorRanking::at_once(const Model& model, int width) {
    constexpr int64_t kMostScores = 1 << 20; // kept for each thread
    const Regions& regions = model.regions;
    int64_t scores = model.derived().ranks.padded();
    if (regions.used()) {
        scores = scores * regions.visited(width) / regions.count() + 1;
    }
    const int64_t most = kMostScores / scores / kTogether * kTogether;
    return int(std::clamp<int64_t>(most, kTogether, kMost));
}

AnchorRanking::AnchorRanking(const Model& model, int most) : model_(model), scored_(most) {}

/// How many regions a query looks into; 0: all anchors are ranked.
int AnchorRanking::regions_for(const RoundedQuery& query, int width) const {
    const Regions& regions = model_.regions;
    if (!regions.used() || query.off.far) {
        return 0;
    }
    const int visited = regions.visited(width);
    return visited < regions.count() ? visited : 0;
}

void AnchorRanking::score(int count, const RoundedQuery* const* queries, int width) {
    Scored* in_all[kMost];
    Scored* in_regions[kMost];
    int all = 0, some = 0;
    for (int q = 0; q < count; q++) {
        Scored& scored = scored_[q];
        scored.query = queries[q];
        scored.regions = regions_for(*queries[q], width);
        if (scored.regions > 0) {
            in_regions[some++] = &scored;
        } else {
            in_all[all++] = &scored;
        }
    }
    score_all(all, in_all);
    score_regions(some, in_regions);
}

/// Scores anchors, without their reach, for count <= kMost queries.
void AnchorRanking::score_tiles(const AnchorTiles& tiles, int count,
                                const RoundedQuery* const* queries, int32_t* const* scores) {
    const int8_t* x[kMost];
    int32_t* of_usual[kMost];
    int usual = 0;
    for (int q = 0; q < count; q++) {
        if (queries[q]->off.is()) {
            score_off_lattice(tiles, *queries[q], scores[q]);
        } else {
            x[usual] = queries[q]->x.data();
            of_usual[usual++] = scores[q];
        }
    }
    rank_together(tiles, usual, x, rank_factor(model_), of_usual);
}

void AnchorRanking::score_all(int count, Scored* const* scored) {
    const RankTables& ranks = model_.derived().ranks;
    const RoundedQuery* queries[kMost];
    int32_t* scores[kMost];
    for (int q = 0; q < count; q++) {
        queries[q] = scored[q]->query;
        scored[q]->padded = ranks.padded();
        scores[q] = room_for(scored[q]->score, ranks.padded());
    }
    score_tiles(ranks.tiles(ranks.offset), count, queries, scores);
    for (int q = 0; q < count; q++) {
        add_reach(*queries[q], ranks.reach.data(), int(ranks.reach.size()), scores[q]);
    }
}

/// Region by region, so that what several look into is loaded once.
void AnchorRanking::score_regions(int count, Scored* const* scored) {
    constexpr size_t kAhead = 2; // one is soon scored
    if (count == 0) {
        return;
    }
    runs_.clear();
    choose_regions(count, scored);
    for (size_t r = 0; count > 1 && r < lookers_.size(); r++) {
        add_run(int(r), lookers_[r]);
    }
    const RegionTables& tables = model_.derived().regions;
    for (size_t i = 0; i < runs_.size(); i++) {
        if (i + kAhead < runs_.size()) {
            tables.prefetch(runs_[i + kAhead].first);
        }
        score_run(runs_[i], scored);
    }
}

/// Appends the next region, or makes the last run longer; if any query looks into it.
void AnchorRanking::add_run(int region, uint64_t lookers) {
    if (lookers == 0) {
        return;
    }
    if (!runs_.empty() && runs_.back().end == region && runs_.back().lookers == lookers) {
        runs_.back().end++;
    } else {
        runs_.push_back({region, region + 1, lookers});
    }
}

/// Each looks into as many regions as it has to, the best ones, ties to the smaller number. Sets
/// lookers_, or the runs of a single query. Makes room for the scores of their anchors.
void AnchorRanking::choose_regions(int count, Scored* const* scored) {
    const RegionTables& tables = model_.derived().regions;
    const int padded = tables.centres.padded();
    const RoundedQuery* queries[kMost];
    int32_t* scores[kMost];
    room_for(of_centres_, count * padded);
    for (int q = 0; q < count; q++) {
        queries[q] = scored[q]->query;
        scores[q] = &of_centres_[size_t(q) * padded];
    }
    score_tiles(tables.centres.tiles(tables.centres.offset), count, queries, scores);
    if (count > 1) {
        lookers_.assign(size_t(model_.regions.count()), 0);
    }
    for (int q = 0; q < count; q++) {
        const int visited = scored[q]->regions;
        uint64_t* const chosen = smallest(padded, scores[q], visited);
        int tiles = 0;
        for (int i = 0; i < visited; i++) {
            const auto r = uint32_t(chosen[i]);
            tiles += tables.first_tile[r + 1] - tables.first_tile[r];
            if (count > 1) {
                lookers_[r] |= uint64_t(1) << q;
            } else {
                chosen[i] = r;
            }
        }
        if (count == 1) { // few of all regions: no need to look through these
            std::sort(chosen, chosen + visited);
            for (int i = 0; i < visited; i++) {
                add_run(int(chosen[i]), 1);
            }
        }
        room_for(scored[q]->score, tiles * 16);
        scored[q]->padded = 0; // so far
        scored[q]->runs.clear();
    }
}

/// The k smallest of n scores (a multiple of 16) with their numbers, in any order; ties to the
/// smaller number.
uint64_t* AnchorRanking::smallest(int n, const int32_t* scores, int k) {
    constexpr int kStep = 13; // of a sample, which bounds what may be among them
    uint64_t* const found = room_for(found_, n);
    int32_t* const sample = room_for(spare_, n / kStep + 1);
    int sampled = 0;
    for (int i = 0; i < n; i += kStep) {
        sample[sampled++] = scores[i];
    }
    const int place = k / kStep + k / (4 * kStep) + 8;
    int count = 0;
    if (place < sampled) {
        std::nth_element(sample, sample + place, sample + sampled);
        count = simd().rank.select_within(n, scores, sample[place], found);
    }
    if (count < k) {
        count = simd().rank.select_within(n, scores, INT32_MAX, found);
    }
    std::nth_element(found, found + k - 1, found + count);
    return found;
}

/// Scores the anchors of regions in a row for those that look into all of them.
void AnchorRanking::score_run(const RegionRun& run, Scored* const* scored) {
    const RegionTables& tables = model_.derived().regions;
    const int first_tile = tables.first_tile[run.first];
    const int tiles = tables.first_tile[run.end] - first_tile;
    const RoundedQuery* queries[kMost];
    int32_t* scores[kMost];
    int count = 0;
    for (uint64_t left = run.lookers; left; left &= left - 1) {
        Scored& own = *scored[__builtin_ctzll(left)];
        queries[count] = own.query;
        scores[count++] = &own.score[size_t(own.padded)];
        own.runs.push_back({own.padded, first_tile * 16});
        own.padded += tiles * 16;
    }
    score_tiles(tables.tiles(first_tile, tiles), count, queries, scores);
    for (int i = 0; i < count && !tables.anchors.reach.empty(); i++) {
        add_reach(*queries[i], &tables.anchors.reach[size_t(first_tile) * 16], tiles * 16,
                  scores[i]);
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

/// Puts the n best anchors, and perhaps more, into found_, by score and number but in any order.
/// Returns how many they are.
int AnchorRanking::select(const Scored& scored, int n) {
    // The n-th smallest minimum of groups bounds the n-th smallest score: what lies within it is
    // little more than what is wanted. Group g is the scores g modulo the number of groups.
    const int padded = scored.padded;
    const int32_t* const scores = scored.score.data();
    int32_t bound = INT32_MAX;
    int groups = 64;
    while (groups < 4 * n) {
        groups *= 2;
    }
    if (groups * 2 <= padded) {
        room_for(minima_, groups);
        simd().rank.group_minima(padded, scores, groups, minima_.data());
        std::nth_element(minima_.begin(), minima_.begin() + n - 1, minima_.begin() + groups);
        bound = minima_[n - 1];
    }
    room_for(found_, padded);
    const int count = simd().rank.select_within(padded, scores, bound, found_.data());
    if (scored.regions > 0) { // places in the scores become anchors
        const std::vector<int32_t>& anchor = model_.derived().regions.anchor;
        const Run* run = scored.runs.data();
        const Run* const end = run + scored.runs.size();
        for (int i = 0; i < count; i++) {
            const int place = int(uint32_t(found_[i]));
            while (run + 1 < end && run[1].score <= place) {
                run++;
            }
            found_[i] = (found_[i] & ~uint64_t(UINT32_MAX)) |
                        uint32_t(anchor[size_t(run->first + (place - run->score))]);
        }
    }
    return count;
}

void AnchorRanking::nearest(const RoundedQuery& query, int n, int width,
                            std::vector<int64_t>& order, bool sorted) {
    n = std::min(n, model_.m);
    const Scored* scored = find(query);
    if (!scored || scored->regions != regions_for(query, std::max(width, n))) {
        forget(query);
        const RoundedQuery* alone = &query;
        score(1, &alone, std::max(width, n));
        scored = &scored_[0];
    }
    const int count = select(*scored, n);
    int kept = count;
    if (count > (sorted ? n + n / 2 : n)) {
        std::nth_element(found_.begin(), found_.begin() + n, found_.begin() + count);
        kept = n;
    }
    if (sorted) {
        std::sort(found_.begin(), found_.begin() + kept); // faster than std::partial_sort
    } else {
        std::iter_swap(found_.begin(), std::min_element(found_.begin(), found_.begin() + kept));
    }
    order.resize(n);
    for (int i = 0; i < n; i++) {
        order[i] = int64_t(uint32_t(found_[i]));
    }
}

void AnchorRanking::order_regions(const Model& model, const RankTables& centres,
                                  const RoundedQuery& query, std::vector<int32_t>& order) {
    std::vector<int32_t> scores(centres.padded());
    if (query.off.is()) {
        score_off_lattice(centres.tiles(centres.offset), query, scores.data());
    } else {
        simd().rank.tiles(centres.tiles(centres.offset), query.x.data(), rank_factor(model),
                          scores.data());
    }
    order.resize(size_t(std::count_if(centres.norm.begin(), centres.norm.end(),
                                      [](int32_t norm) { return norm != INT32_MAX; })));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return scores[a] < scores[b]; });
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
    std::vector<int32_t> scores; // of all anchors: made if a row needs them
    for (int i = 0; i < rows; i++) {
        if (!OffLattice::may_be(dp, x + size_t(i) * dp)) {
            continue;
        }
        u.resize(d);
        scores.resize(anchors.padded());
        model.to_assign_unrounded(row + size_t(i) * model.d, u.data());
        rounded.off = OffLattice::of(d, u.data());
        if (rounded.off.is()) {
            rounded.off.round(d, u.data(), rounded.x.data(), rounded.low.data());
            score_off_lattice(anchors.tiles(anchors.norm), rounded, scores.data());
            label[i] = int32_t(std::min_element(scores.begin(), scores.end()) - scores.begin());
        }
    }
}

} // namespace faiss_vlc
