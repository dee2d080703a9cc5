#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/lib/scratch.h>
#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

/// What the words of a codebook add to a query's estimates in a list: see Simd::Words. One per
/// thread; queries that are scanned one after the other may share it.
///
/// With z^ the decoded residual in units of the code's scale s (Model::code_scale), an entry of the
/// sum stands for <w, z^> - s' |z^|^2 / 2, w being the query's residual. Where codes have factors
/// of 2 bytes s' is 0: gamma says what |z^|^2 would. Where they have none, s' = s = 1: that is
/// plain decoding. Where they have l alone, |z^|^2 is counted from its usual value, and s' is the
/// scale of a vector as far from the anchor as the query: that is plain decoding of the query's
/// neighbours, and of others nearly so.
class WordTables {
public:
    explicit WordTables(const Model& model);

    /// For a query in a list's frame (y: float slots; base: what is taken off, the anchor or
    /// zeros) at `distance` = |q - a|^2, 0 for inner products.
    void make(const float* y, const float* base, float distance);

    /// How often make() was called: tables that others have made since are gone.
    int64_t made() const { return made_; }
    const uint8_t* tables() const { return tables_.get(); }
    /// 2 acc - half is twice the sum, in units of dot_scale.
    int32_t half() const { return half_; }
    /// Half of what a unit of the sum is worth in <w, z^>, in lattice units.
    float dot_scale() const { return dot_scale_; }

private:
    /// What entries count the values in, and the least that a sum of them can be.
    struct Scale {
        float step;
        float base;
    };
    Scale scale() const;

    const Model& model_;
    std::vector<float> residual_; ///< slots
    std::vector<int16_t> rounded_;
    AlignedScratch<float> values_; ///< blocks x 256
    std::vector<ValueRange> ranges_;
    AlignedScratch<uint8_t> tables_;
    int64_t made_ = 0;
    int32_t half_ = 0;
    float dot_scale_ = 0;
    float limit_;
};

} // namespace faiss_vlc
