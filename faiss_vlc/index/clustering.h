#pragma once

#include <string>

#include <faiss/IndexIVF.h>

#include <faiss_vlc/parameters.h>

/// What FAISS's own settings of a coarse quantizer's training mean for an IndexVLC. IndexIVF has
/// them as `cp`, `clustering_index` and `quantizer_trains_alone`.
namespace faiss_vlc {

/// Sets cp's niter, seed and max_points_per_centroid to what VLCParameters has by default, so that
/// any other value is known to have been set by somebody.
void reset_clustering(faiss::Level1Quantizer& index);

/// The parameters with what somebody set in cp: niter is iterations, seed is seed and
/// max_points_per_centroid is max_points_per_anchor. Throws where cp and the parameters were both
/// set, to different values.
VLCParameters with_clustering(const faiss::Level1Quantizer& index, const VLCParameters& parameters);

/// Names of what was set and would change training in FAISS, but has no counterpart here, such as
/// "cp.nredo, cp.spherical"; empty if there is none. What only moves FAISS's warnings, checks or
/// memory (min_points_per_centroid, decode_block_size) is not among them.
std::string unused_clustering(const faiss::Level1Quantizer& index);

} // namespace faiss_vlc
