#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/train/settle.h>

namespace faiss_vlc {

constexpr int kFewDimensions = 32; ///< decoding costs little, factors are a large part

/// What the first codes of some rows miss, in lattice coordinates: |e|, and e / |e|.
struct Errors {
    int n = 0, d = 0;
    int64_t stride = 0;
    std::vector<float> direction; ///< n x stride; 0 where nothing is missed
    std::vector<double> length;   ///< n
};

/// Of these rows of the sample, whose first codes the model makes.
Errors find_errors(const Sample& sample, const Anchors& anchors, const Model& model,
                   const std::vector<int64_t>& rows);

/// A second tier's frame, layout and scales, by what first codes miss. code_size and factor_bytes:
/// as SecondTier has them. Its range of alphas is not known yet.
std::shared_ptr<SecondTier> shape_of(const Errors& errors, int code_size, int factor_bytes);

} // namespace faiss_vlc
