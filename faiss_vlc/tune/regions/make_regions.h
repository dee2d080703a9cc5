#pragma once

#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

/// At most count >= 2 regions of the model's anchors by k-means on integers: the same from every
/// device, level and number of threads. Each has an anchor. How many of them queries look into is
/// not set.
Regions make_regions(const Model& model, int count);

} // namespace faiss_vlc
