#include <algorithm>
#include <cmath>
#include <vector>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

constexpr size_t kFewQueries = 64; ///< these don't tell how many regions to look into

/// The nearest of count centres (int8 count x dp) to each anchor.
void assign_anchors(const Model& model, const std::vector<int8_t>& centres,
                    std::vector<int32_t>& region) {
    constexpr int kChunk = 96;
    const int dp = model.dp();
    const RankTables tables(int(centres.size() / size_t(dp)), dp, centres.data());
    region.resize(size_t(model.m));
#pragma omp parallel for schedule(static)
    for (int first = 0; first < model.m; first += kChunk) {
        simd().nearest.rows(tables.tiles(tables.norm), std::min(kChunk, model.m - first),
                            &model.anchors8[size_t(first) * dp], &region[first]);
    }
}

/// The means of the regions' anchors, rounded halves up. Those without anchors are left out.
std::vector<int8_t> means(const Model& model, const std::vector<int32_t>& region, int count) {
    const size_t dp = size_t(model.dp());
    std::vector<int64_t> sum(size_t(count) * dp, 0), anchors(size_t(count), 0);
    for (int j = 0; j < model.m; j++) {
        anchors[region[j]]++;
        for (size_t k = 0; k < dp; k++) {
            sum[size_t(region[j]) * dp + k] += model.anchors8[size_t(j) * dp + k];
        }
    }
    std::vector<int8_t> centres;
    for (int r = 0; r < count; r++) {
        const int64_t n = anchors[r];
        for (size_t k = 0; n > 0 && k < dp; k++) {
            const int64_t twice = 2 * sum[size_t(r) * dp + k] + n + 256 * n; // above 0
            centres.push_back(int8_t(twice / (2 * n) - 128));
        }
    }
    return centres;
}

/// Each followed by the nearest of those that are left, from the first one on: regions that a query
/// looks into often lie next to one another then, and are ranked at one go.
std::vector<int8_t> chained(const std::vector<int8_t>& centres, int dp) {
    const int count = int(centres.size() / size_t(dp));
    const RankTables tables(count, dp, centres.data());
    std::vector<int32_t> scores(tables.padded());
    std::vector<int8_t> order;
    std::vector<uint8_t> is_left(size_t(count), 1);
    for (int last = 0, i = 0; i < count; i++) {
        if (i % 256 == 0) {
            check_interrupt();
        }
        const int8_t* const centre = &centres[size_t(last) * dp];
        order.insert(order.end(), centre, centre + dp);
        is_left[last] = 0;
        simd().rank.tiles(tables.tiles(tables.norm), centre, -2, scores.data());
        int32_t least = INT32_MAX;
        for (int r = 0; r < count; r++) {
            if (is_left[r] && scores[r] < least) {
                least = scores[r];
                last = r;
            }
        }
    }
    return order;
}

/// k-means of the anchors, on integers.
Regions make_regions(const Model& model, int count) {
    constexpr int kIterations = 8;
    const int dp = model.dp();
    Regions regions;
    for (int64_t r = 0; r < count; r++) { // anchors at even steps to begin with
        const int8_t* const a = &model.anchors8[size_t(r * model.m / count) * dp];
        regions.centres.insert(regions.centres.end(), a, a + dp);
    }
    for (int i = 0; i < kIterations; i++) {
        check_interrupt();
        assign_anchors(model, regions.centres, regions.of);
        regions.centres = means(model, regions.of, int(regions.centres.size() / size_t(dp)));
    }
    regions.centres = chained(regions.centres, dp);
    assign_anchors(model, regions.centres, regions.of);
    std::vector<int32_t> number(regions.centres.size() / size_t(dp), 0);
    for (const int32_t r : regions.of) {
        number[r] = 1;
    }
    std::vector<int8_t> centres; // of regions that have anchors
    int used = 0;
    for (size_t r = 0; r < number.size(); r++) {
        if (number[r] > 0) {
            const int8_t* const c = &regions.centres[r * dp];
            centres.insert(centres.end(), c, c + dp);
            number[r] = used++;
        }
    }
    for (int32_t& r : regions.of) {
        r = number[r];
    }
    regions.centres = std::move(centres);
    regions.finish(used);
    return regions;
}

/// Where the true neighbours' lists lie.
struct Places {
    /// By l and r: neighbours whose list is among the first 2^l when all are ranked, but not the
    /// first 2^(l - 1), and whose region comes r-th.
    std::vector<std::vector<int64_t>> found;
};

Places find_places(const Anchors& anchors, const Trial& trial, const Model& model,
                   const Regions& regions) {
    const int most = std::min(model.m, 1 << (Regions::kLevels - 1));
    int levels = 1;
    while ((1 << (levels - 1)) < most) {
        levels++;
    }
    const RankTables centres =
            RegionTables::centre_tables(regions.centres, model.dp(), model.metric);
    const auto none = std::vector<std::vector<int64_t>>(
            size_t(levels), std::vector<int64_t>(size_t(regions.count()), 0));
    Places places{none};
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        auto found = none;
        std::vector<int32_t> order, place(size_t(regions.count()), 0);
        std::vector<int32_t> level(size_t(model.m), levels);
        Query query(model);
#pragma omp for schedule(static) nowait
        for (size_t q = 0; q < trial.queries.size(); q++) {
            query.set(trial.queries[q]);
            if (query.rounded().off.is()) {
                continue; // it looks in all of them
            }
            AnchorRanking::order_regions(model, centres, query.rounded(), order);
            for (size_t r = 0; r < order.size(); r++) {
                place[order[r]] = int32_t(r);
            }
            const std::vector<int64_t>& lists = query.rank(most);
            for (int r = 0, l = 0; r < most; r++) {
                l += r >= 1 << l;
                level[lists[r]] = l;
            }
            for (int c = 0; c < trial.neighbours; c++) {
                const int64_t row = trial.base[trial.candidate[q * trial.candidates + c]];
                const int32_t list = anchors.label[row];
                if (level[list] < levels) {
                    found[level[list]][place[regions.of[list]]]++;
                }
            }
            for (const int64_t j : lists) {
                level[j] = levels;
            }
        }
#pragma omp critical(faiss_vlc_find_places)
        for (int l = 0; l < levels; l++) {
            for (int r = 0; r < regions.count(); r++) {
                places.found[l][r] += found[l][r];
            }
        }
    });
    rescue.rethrow();
    return places;
}

/// For each number of lists, the fewest regions that lose no more than a thousandth of the
/// neighbours in them, and of the `sought` ones.
std::vector<int32_t> choose_visits(const Places& places, int64_t sought, int regions) {
    constexpr int64_t kLost = 1000; // one of so many
    std::vector<int32_t> visits;
    std::vector<int64_t> found(size_t(regions), 0);
    int32_t least = 1;
    for (const std::vector<int64_t>& more : places.found) {
        int64_t all = 0;
        for (int r = 0; r < regions; r++) {
            found[r] += more[r];
            all += found[r];
        }
        int64_t left = std::min((all + kLost / 2) / kLost, sought / kLost);
        int32_t wanted = regions;
        while (wanted > least && found[wanted - 1] <= left) {
            left -= found[--wanted];
        }
        least = wanted;
        visits.push_back(wanted);
    }
    return visits;
}

/// About 2 sqrt(m): then a query is compared with about as many centres as anchors.
int usual_regions(const Model& model) {
    return int(2 * std::sqrt(double(model.m)));
}

/// Anchors, of centres or lists, that a query is compared with.
double compared(const Model& model, const Regions& regions) {
    const double share = double(regions.visited(model.default_nprobe)) / regions.count();
    return regions.count() + share * model.m;
}

} // namespace

Regions choose_regions(const Anchors& anchors, const Trial& trial, const Model& model, int wanted) {
    constexpr int64_t kLeastWork = 1 << 22; // m dp: ranking less is soon done
    constexpr double kMostCompared = 0.25;  // all are ranked for four queries at once
    const bool may_choose = wanted < 0;
    if (wanted == 0 || trial.queries.size() < kFewQueries || model.m < 4 ||
        (may_choose && int64_t(model.m) * model.dp() < kLeastWork)) {
        return {};
    }
    const int count = may_choose ? usual_regions(model) : std::min(wanted, model.m);
    Regions regions = make_regions(model, count);
    if (regions.count() < 2) { // all anchors are equal
        return {};
    }
    regions.visits =
            choose_visits(find_places(anchors, trial, model, regions),
                          int64_t(trial.queries.size()) * trial.neighbours, regions.count());
    return may_choose && compared(model, regions) > kMostCompared * model.m ? Regions() : regions;
}

} // namespace faiss_vlc
