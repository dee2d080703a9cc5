#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <faiss/MetricType.h>

#include <faiss_vlc/model/rank_tables.h>

namespace faiss_vlc {

/// Anchors that lie near one another make a region, each is in one. A query is compared with the
/// centres of the regions first, and then only with the anchors of the nearest ones.
struct Regions {
    static constexpr int kLevels = 13; ///< of `visits`, at most: up to 4096 lists were counted

    std::vector<int8_t> centres; ///< count() x dp; next to one another are often near ones
    std::vector<int32_t> of;     ///< m: the region of each anchor
    std::vector<int32_t> visits; ///< regions that a query looks into for up to 2^l lists, rising

    bool used() const { return !sums_.empty(); }
    int count() const { return int(sums_.size()); }

    /// To be called once the fields are set: each region has an anchor.
    void finish(int regions);
    /// The regions that a query looks into for so many lists: more for more of them, and enough
    /// that they are there, whichever regions these are. count() in place of more than half of it,
    /// and for all m.
    int visited(int lists) const;

    size_t memory() const;

private:
    std::vector<int32_t> sums_; ///< anchors that the 1, 2, ... smallest regions have
};

/// What queries are ranked by where there are regions.
struct RegionTables {
    RankTables centres;
    RankTables anchors;              ///< region by region, each from a tile of its own on
    std::vector<int32_t> anchor;     ///< the number of each of these; INT32_MAX: it pads a tile
    std::vector<int32_t> first_tile; ///< of each region, and the end

    RegionTables() = default;
    RegionTables(const Regions& regions, const RankTables& all, faiss::MetricType metric);
    /// The centres alone.
    static RankTables centre_tables(const std::vector<int8_t>& centres, int pad,
                                    faiss::MetricType metric);
    /// Takes over what depends on the bias of ranks.
    void bias(const RankTables& all);
    /// Those of `tiles` tiles from one on.
    AnchorTiles tiles(int first, int tiles) const;
    /// The first anchors of a region will be scored soon.
    void prefetch(int region) const;

    size_t memory() const;
};

} // namespace faiss_vlc
