#pragma once

#include <faiss/Index.h>
#include <faiss/MetricType.h>

namespace faiss_vlc {

/// faiss::index_factory and one more token, wherever a flat index or an inverted file may stand:
///
///   VLC[<m>][x<bits> | b<bytes>]
///
/// m anchors (left out: about 4 sqrt(n) of the training set), code bits per dimension (0.125 to 8,
/// fractions allowed; 2 if left out) or bytes per vector with factors. For example
/// "VLC1024x4", "OPQ16_64,VLC256b32", "PCA64,VLC", "IDMap,VLC", "VLC256x2,RFlat",
/// "VLC256x1,Refine(VLC256x8)".
/// The caller owns the result. Errors in a VLC token name the grammar.
faiss::Index* index_factory(int d, const char* description,
                            faiss::MetricType metric = faiss::METRIC_L2);

} // namespace faiss_vlc
