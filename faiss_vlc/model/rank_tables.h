#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

class Model;

/// The anchors as they are compared with a vector in int8: only query/anchor_ranking.h and devices
/// read it.
struct RankTables {
    int groups = 0;                     ///< of 4 dimensions
    std::vector<int8_t> packed;         ///< anchors8 in tiles, see AnchorTiles
    std::vector<int32_t> component_sum; ///< m padded to 16
    std::vector<int32_t> norm;          ///< m padded to 16 with INT32_MAX, of anchors8
    std::vector<int32_t> offset;        ///< m padded to 16: norm and bias; 0 for inner products
    std::vector<float> reach; ///< m padded to 16: bias of inner products per |q|; empty without one

    RankTables() = default;
    explicit RankTables(const Model& model);
    /// m anchors (int8 m x pad) that vectors are assigned to: offset and reach are not set.
    RankTables(int m, int pad, const int8_t* anchors);
    /// Sets what depends on Model::rank_bias.
    void bias(const Model& model);

    int padded() const { return int(norm.size()); } ///< m padded to 16
    /// With these offsets, offset or norm.
    AnchorTiles tiles(const std::vector<int32_t>& offsets) const {
        return {padded() / 16, groups, packed.data(), component_sum.data(), offsets.data()};
    }
    /// Bytes of memory beyond this object.
    size_t memory() const;
};

} // namespace faiss_vlc
