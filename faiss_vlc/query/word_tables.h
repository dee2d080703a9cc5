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

    /// Tables that may be made together: a block's words then come from memory once.
    static constexpr int kAhead = 4;

    /// A query in a list.
    struct Residual {
        const float* y;    ///< the query in the list's frame (float slots)
        const float* base; ///< what is taken off it, the anchor or zeros
        float distance;    ///< |q - a|^2, 0 for inner products
    };
    /// For 1 to kAhead lists; use() tells of which one the rest is.
    void make(int count, const Residual* residuals);
    void use(int table) { used_ = table; }

    /// How often make() was called: tables that others have made since are gone.
    int64_t made() const { return made_; }
    const uint8_t* tables() const { return tables_.get() + size_t(used_) * table_bytes_; }
    /// 2 acc - half is twice the sum, in units of dot_scale.
    int32_t half() const { return lists_[used_].half; }
    /// Half of what a unit of the sum is worth in <w, z^>, in lattice units.
    float dot_scale() const { return lists_[used_].dot_scale; }

private:
    /// What entries count the values in, and the least that a sum of them can be.
    struct Scale {
        float step;
        float base;
    };
    struct List {
        float product; ///< that a unit of products is worth
        float share;   ///< of the words' norms
        float usual;   ///< of these
        bool has_norms;
        int32_t half;
        float dot_scale;
    };
    void set_residual(int table, const Residual& residual);
    void set_values(int count);
    void set_entries(int table);
    Scale scale(const ValueRange* ranges) const;
    float* values(int table) { return values_.get() + size_t(table) * words_; }
    ValueRange* ranges(int table) { return &ranges_[size_t(table) * blocks_]; }

    const Model& model_;
    size_t blocks_, words_; ///< words: of all blocks
    size_t table_bytes_;
    std::vector<float> residual_;  ///< slots
    std::vector<int16_t> rounded_; ///< kAhead x slots
    AlignedScratch<float> values_; ///< kAhead x words
    std::vector<ValueRange> ranges_;
    AlignedScratch<uint8_t> tables_;
    List lists_[kAhead] = {};
    int used_ = 0;
    int64_t made_ = 0;
    float limit_;
};

} // namespace faiss_vlc
