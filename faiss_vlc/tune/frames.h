#pragma once

#include <memory>
#include <vector>

#include <faiss_vlc/axes/frame.h>
#include <faiss_vlc/axes/leading_axes.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/train/settle.h>

namespace faiss_vlc {

/// The frame of each group, by the covariance of its residuals. Up to kExactDim dimensions all
/// axes; beyond, the leading ones, as many as codes of that size can use and a few more, the same
/// number in each frame.
std::vector<Frame> make_frames(const Sample& sample, const Anchors& anchors,
                               const VLCParameters& params);

/// Leading axes of each form, as many as a layout of these bytes has a use for and a few more, the
/// same number in each frame.
std::vector<Frame> grow_frames(const std::vector<std::unique_ptr<Form>>& forms, int code_bytes,
                               const std::vector<double>& tilts);

constexpr int kExactDim = 512; ///< all eigenvectors take less than a second

/// How many axes a layout of these bytes gives bits to, at most, over all tilts that may be tried.
int axes_with_bits(int code_bytes, const std::vector<double>& variance,
                   const std::vector<double>& tilts);

/// The tilts that training tries.
std::vector<double> tilts_to_try(const VLCParameters& params);

} // namespace faiss_vlc
