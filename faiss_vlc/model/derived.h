#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <faiss_vlc/codec/packed_levels.h>
#include <faiss_vlc/lib/aligned.h>
#include <faiss_vlc/model/rank_tables.h>
#include <faiss_vlc/model/regions/regions.h>

namespace faiss_vlc {

/// What search and encoding read of a model, computed once from what is stored.
struct Derived {
    RankTables ranks;
    RegionTables regions; ///< empty where the model has none
    RankTables routes;    ///< what vectors are assigned by, if the model routes
    /// m x dp in lattice coordinates: where codes start from, if that is not anchors8: the anchors
    /// of grid float16, or 0 for whole words.
    std::vector<float> anchor_lattice;
    std::vector<float> anchor_rotated; ///< m x slots: the same in the lists' frames
    std::vector<float> step;           ///< frames x slots: sigma * step of the width, 0 where empty
    std::vector<float> inverse_step;   ///< frames x slots, 0 where empty
    std::vector<int16_t> levels_less_one; ///< slots: 2^b - 1
    PackedLevels packed;                  ///< levels
    std::vector<float>
            start_norm;           ///< m: |a| of what codes start from, where there is a second tier
    AlignedVector<float> penalty; ///< words: their norms, blocks x 256

    Derived() = default;
    /// The model's frames have to be arranged for its layout.
    explicit Derived(const Model& model);

    /// For a second tier.
    void set_start_norms(const Model& model);

    /// Bytes of memory beyond this object.
    size_t memory() const;

    /// Sets what depends on Model::regions.
    void set_regions(const Model& model);
    /// Sets what depends on Model::rank_bias.
    void bias(const Model& model);

private:
    void set_steps(const Model& model);
    void rotate_anchors(const Model& model);
};

} // namespace faiss_vlc
