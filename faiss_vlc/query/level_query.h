#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

/// The query's side of codes of levels in a list: its residual as integers, see list_scan.h. Holds
/// scratch; the model has to live on.
///
/// One plane of int8 is enough as long as rounding to it is small beside what codes miss anyway.
/// For codes of many bits, which miss little, training may ask for a fine plane besides
/// (Model::fine_queries).
class LevelQuery {
public:
    explicit LevelQuery(const Model& model);

    /// Rounds the residual y - base in list j's frame (float slots each). Returns the largest
    /// weighted component, of which 127 of the plane's units are made.
    float round(const float* y, const float* base, int j);
    /// The same with list j's anchor, of int8, for the base. q is the query in lattice coordinates
    /// (float dp); its distance to the anchor is found besides.
    ListTerms round_at_anchor(const float* q, const float* y, int j) {
        side_.query = q;
        side_.anchor = anchors_ + int64_t(j) * side_.dp;
        side_.rotated = y;
        side_.base = bases_ + int64_t(j) * side_.slots;
        side_.step = steps_ + int64_t(group_[j]) * side_.slots;
        const ListTerms terms = list_terms_(side_);
        half_ = terms.half;
        if (may_be_fine_) {
            set_fine(terms.largest);
        }
        return terms;
    }

    const int8_t* plane() const { return plane_.data(); }
    const int8_t* fine() const { return has_fine_ ? fine_.data() : nullptr; }
    /// sum_i plane_i (2^b_i - 1)
    int32_t half() const { return half_; }
    int32_t fine_half() const { return fine_half_; }
    /// Component s in units of the plane.
    float component(int s) const {
        return has_fine_ ? float(plane_[s]) + float(fine_[s]) * kFineUnit : float(plane_[s]);
    }

private:
    const Model& model_;
    ListTerms (*list_terms_)(const ListSide& side);
    ListSide side_{};
    const int8_t* anchors_; ///< the model's, as what follows
    const float* bases_;
    const float* steps_;
    const uint8_t* group_;
    bool may_be_fine_;
    std::vector<float> weighted_;
    std::vector<int8_t> plane_, fine_;
    int32_t half_ = 0, fine_half_ = 0;
    bool has_fine_ = false;

    int32_t half_of(const int8_t* plane) const;
    void set_fine(float largest);
    void round_fine(float largest);
};

} // namespace faiss_vlc
