#include <faiss_vlc/model/regions/regions.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace faiss_vlc {

void Regions::finish(int regions) {
    sums_.assign(size_t(regions), 0);
    for (const int32_t r : of) {
        sums_[r]++;
    }
    std::sort(sums_.begin(), sums_.end());
    std::partial_sum(sums_.begin(), sums_.end(), sums_.begin());
}

int Regions::visited(int lists) const {
    size_t level = 0;
    while (level + 1 < visits.size() && (1 << level) < lists) {
        level++;
    }
    int64_t wanted = visits[level];
    const int64_t counted = int64_t(1) << level;
    if (lists > counted) { // beyond what was counted: as many more as lists
        wanted = (wanted * lists + counted - 1) / counted;
    }
    const auto enough = std::lower_bound(sums_.begin(), sums_.end(), lists);
    const int64_t visited = std::max<int64_t>(wanted, enough - sums_.begin() + 1);
    return 2 * visited > count() ? count() : int(visited); // the rest is as soon ranked
}

size_t Regions::memory() const {
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    return bytes(centres) + bytes(of) + bytes(visits) + bytes(sums_);
}

RankTables RegionTables::centre_tables(const std::vector<int8_t>& centres, int pad,
                                       faiss::MetricType metric) {
    const int count = int(centres.size() / size_t(pad));
    RankTables tables(count, pad, centres.data());
    tables.offset = tables.norm;
    if (metric == faiss::METRIC_INNER_PRODUCT) {
        std::fill_n(tables.offset.begin(), count, 0);
    }
    return tables;
}

RegionTables::RegionTables(const Regions& regions, const RankTables& all, faiss::MetricType metric)
    : centres(centre_tables(regions.centres, all.groups * 4, metric)) {
    const int count = regions.count();
    std::vector<int32_t> end(count, 0);
    for (const int32_t r : regions.of) {
        end[r]++;
    }
    first_tile.assign(1, 0);
    for (int r = 0; r < count; r++) {
        first_tile.push_back(first_tile[r] + (end[r] + 15) / 16);
        end[r] = first_tile[r] * 16;
    }
    anchor.assign(size_t(first_tile[count]) * 16, INT32_MAX);
    for (size_t j = 0; j < regions.of.size(); j++) {
        anchor[end[regions.of[j]]++] = int32_t(j);
    }
    const int groups = anchors.groups = all.groups;
    anchors.packed.assign(anchor.size() * groups * 4, 0);
    anchors.component_sum.assign(anchor.size(), 0);
    for (size_t i = 0; i < anchor.size(); i++) {
        const size_t j = size_t(anchor[i]);
        if (anchor[i] == INT32_MAX) {
            continue;
        }
        anchors.component_sum[i] = all.component_sum[j];
        for (int g = 0; g < groups; g++) {
            std::memcpy(&anchors.packed[(i / 16 * groups + g) * 64 + i % 16 * 4],
                        &all.packed[(j / 16 * groups + g) * 64 + j % 16 * 4], 4);
        }
    }
    bias(all);
}

void RegionTables::bias(const RankTables& all) {
    anchors.offset.assign(anchor.size(), INT32_MAX); // what pads a tile comes last
    anchors.reach.assign(all.reach.empty() ? 0 : anchor.size(), 0);
    for (size_t i = 0; i < anchor.size(); i++) {
        if (anchor[i] == INT32_MAX) {
            continue;
        }
        anchors.offset[i] = all.offset[anchor[i]];
        if (!all.reach.empty()) {
            anchors.reach[i] = all.reach[anchor[i]];
        }
    }
}

AnchorTiles RegionTables::tiles(int first, int tiles) const {
    const size_t at = size_t(first) * 16;
    return {tiles, anchors.groups, &anchors.packed[at * anchors.groups * 4],
            &anchors.component_sum[at], &anchors.offset[at]};
}

void RegionTables::prefetch(int region) const {
    constexpr int64_t kMostBytes = 8192; // what follows is fetched ahead as it is read in a row
    const int64_t first = first_tile[region], tiles = first_tile[region + 1] - first;
    const int64_t bytes_a_tile = int64_t(anchors.groups) * 64;
    const int8_t* const packed = &anchors.packed[size_t(first * bytes_a_tile)];
    for (int64_t at = 0; at < std::min(kMostBytes, tiles * bytes_a_tile); at += 64) {
        __builtin_prefetch(packed + at, 0, 2);
    }
    for (int64_t at = first * 16; at < (first + std::min<int64_t>(tiles, 4)) * 16; at += 16) {
        __builtin_prefetch(&anchors.component_sum[size_t(at)], 0, 2);
        __builtin_prefetch(&anchors.offset[size_t(at)], 0, 2);
    }
}

size_t RegionTables::memory() const {
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    return centres.memory() + anchors.memory() + bytes(anchor) + bytes(first_tile);
}

} // namespace faiss_vlc
