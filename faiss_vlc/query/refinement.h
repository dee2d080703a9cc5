#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

/// A query's distances by both tiers of codes. Holds scratch; the model, which has a second tier,
/// has to live on. Estimates are in squared lattice units, smaller ones better, as those of
/// scanning.
///
/// Codes are given one at a time, best in order of their lists: what a list needs is prepared when
/// the list changes. Of a first code 15 bytes behind are read, of a second one too.
class Refinement {
public:
    explicit Refinement(const Model& model);

    /// Of another query from now on.
    void forget() {
        is_set_ = false;
        list_ = -1;
    }
    bool has_query() const { return is_set_; }
    int list() const { return list_; }

    /// The query, scaled as Frame::quantize does.
    void set_query(const int16_t* scaled, float unit);
    /// A list of it: its residual or itself (L2 or inner products) in the list's frame is y - base
    /// (float slots each), its distance from the anchor |q - a|^2 or -<q, a>.
    void set_list(int j, const float* y, const float* base, float list_distance);

    float estimate(const uint8_t* first, const uint8_t* second) const;

private:
    const Model& model_;
    const SecondTier& tier_;
    bool is_set_ = false;
    int list_ = -1;
    float list_distance_ = 0;
    std::vector<float> turned_;   ///< slots of the second tier
    std::vector<float> residual_; ///< slots of the first
    LevelWeights second_;
    std::unique_ptr<LevelWeights> levels_; ///< of the first tier; null: words

    float first_dot(const uint8_t* code) const;
};

} // namespace faiss_vlc
