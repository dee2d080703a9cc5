#pragma once

#include <faiss/MetricType.h>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/train/settle.h>

namespace faiss_vlc {

/// From anchors to a finished model: frame, bits, levels, estimator and default nprobe. What is to
/// be chosen is chosen by recall@10 of held-out vectors used as queries against the rest of the
/// sample. Floats in a fixed order only: the same model from every device, SIMD level and thread
/// count.
Model tune_model(const Sample& sample, const Anchors& anchors, const VLCParameters& params,
                 faiss::MetricType metric);

} // namespace faiss_vlc
