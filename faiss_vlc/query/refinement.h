#pragma once

#include <cstdint>
#include <limits>
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

    /// Another query is to come.
    void forget();
    bool has_query() const { return has_query_; }
    bool has_frame(int frame) const { return is_ready_[size_t(frame)]; }
    bool has_list(int j) const { return list_ == j; }

    /// The query in lattice coordinates (float d; it has to live on), and its coordinates in the
    /// second tier's frame (float slots), which refining by decoding does not need.
    void set_query(const float* lattice, const float* turned);
    /// Its coordinates in a frame of the first tier (float slots; they have to live on).
    void set_frame(int frame, const float* y);
    /// A list of a frame that was set, at the distance |q - a|^2 or -<q, a>.
    void set_list(int j, float list_distance);

    /// At most the largest float, of queries so far away that sums overflow, too.
    float estimate(const uint8_t* first, const uint8_t* second) const {
        constexpr float kMost = std::numeric_limits<float>::max();
        const float met = tier_.by_decoding() ? by_decoding(first, second)
                          : levels_           ? by_levels(first, second)
                                              : by_words(first, second);
        return met < kMost ? met : kMost;
    }

private:
    const Model& model_;
    const SecondTier& tier_;
    bool has_query_ = false;
    int list_ = -1;
    float list_distance_ = 0;
    float start_ = 0, energy_ = 0, scale_ = 1; ///< of the list
    const float* lattice_ = nullptr;
    mutable std::vector<float> decoded_, residual_; ///< d, and slots of the first tier
    std::vector<const float*> y_;                   ///< per frame
    const float* in_frame_ = nullptr;               ///< of the list
    const LevelWeights* levels_ = nullptr;          ///< of the list's frame
    LevelWeights second_;
    /// Per frame; none of words, and null until a query asked for the frame.
    std::vector<std::unique_ptr<LevelWeights>> first_;
    std::vector<bool> is_ready_; ///< per frame, for this query

    float by_dot(float first_dot, float square, const uint8_t* second) const;
    float by_levels(const uint8_t* first, const uint8_t* second) const;
    float by_words(const uint8_t* first, const uint8_t* second) const;
    float by_decoding(const uint8_t* first, const uint8_t* second) const;
};

} // namespace faiss_vlc
