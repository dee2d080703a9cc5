#include <algorithm>
#include <cmath>
#include <vector>

#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/tune/regions/make_regions.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

constexpr size_t kFewQueries = 64; ///< these don't tell how many regions to look into

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
            if (query.rounded().off.far) {
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

/// About 2 sqrt(m): then a query is compared with about as many centres as anchors. Of many
/// anchors, one for 64: smaller regions have less to be fetched from memory.
int usual_regions(const Model& model) {
    return std::max(int(2 * std::sqrt(double(model.m))), model.m / 64);
}

/// Of very many anchors, more and smaller ones, which are the better the narrower clusters are;
/// down to a tile of 16 anchors. No more than usual where there are none such.
int small_regions(const Model& model) {
    constexpr int64_t kMost = 1 << 14; // all centres are scored
    const int64_t m = model.m, by_size = m * m / (1 << 22);
    return int(std::max<int64_t>(usual_regions(model), std::min(by_size, kMost)));
}

/// Anchors, of centres or lists, that a query is compared with.
double compared(const Model& model, const Regions& regions) {
    const double share = double(regions.visited(model.default_nprobe)) / regions.count();
    return regions.count() + share * model.m;
}

/// The same, with what pads the regions' tiles.
double compared_tiles(const Model& model, const Regions& regions) {
    std::vector<int32_t> size(size_t(regions.count()), 0);
    for (const int32_t r : regions.of) {
        size[r]++;
    }
    double padded = 0;
    for (const int32_t n : size) {
        padded += (n + 15) / 16 * 16;
    }
    const double share = double(regions.visited(model.default_nprobe)) / regions.count();
    return regions.count() + share * padded;
}

/// At most `count` regions; none if all anchors are equal.
Regions counted_regions(const Anchors& anchors, const Trial& trial, const Model& model, int count) {
    Regions regions = make_regions(model, count);
    if (regions.count() < 2) {
        return {};
    }
    regions.visits =
            choose_visits(find_places(anchors, trial, model, regions),
                          int64_t(trial.queries.size()) * trial.neighbours, regions.count());
    return regions;
}

} // namespace

Regions choose_regions(const Anchors& anchors, const Trial& trial, const Model& model, int wanted) {
    constexpr int64_t kLeastWork = 1 << 20; // m dp: ranking less is soon done
    constexpr double kMostCompared = 0.5;   // ranking all takes less time an anchor
    const bool may_choose = wanted < 0;
    if (wanted == 0 || trial.queries.size() < kFewQueries || model.m < 4 ||
        (may_choose && int64_t(model.m) * model.dp() < kLeastWork)) {
        return {};
    }
    const int usual = may_choose ? usual_regions(model) : std::min(wanted, model.m);
    Regions regions = counted_regions(anchors, trial, model, usual);
    if (!may_choose || !regions.used()) {
        return regions;
    }
    if (small_regions(model) > usual) {
        Regions small = counted_regions(anchors, trial, model, small_regions(model));
        if (compared_tiles(model, small) < compared_tiles(model, regions)) {
            regions = std::move(small);
        }
    }
    return compared(model, regions) > kMostCompared * model.m ? Regions() : regions;
}

} // namespace faiss_vlc
