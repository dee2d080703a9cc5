#pragma once

#include <cstdint>

#include <faiss/Index.h>

namespace faiss_vlc {

/// index.train(n, x) with an IndexVLC in the index, alone or in a tree (IndexPreTransform,
/// IndexIDMap, IndexRefine, IndexShards, ...), whose training also gets queries like those that
/// will be searched for.
///
/// Give them where queries are unlike the vectors: texts that search among images, questions among
/// answers. Training takes held-out vectors for queries otherwise. Each IndexVLC chooses its axes
/// and their bits, the estimator, the ranking of lists and nprobe by them. Some hundreds do; of
/// more than 4,096, as many are taken at even steps. They are copied, and not kept after training.
///
/// x: float n x d; queries: float n_queries x d, both in the index's own d: what lies above an
/// IndexVLC, as a PCA, transforms them as it does what is searched for. Other parts of the tree are
/// trained as index.train() does.
///
/// The same vectors and queries give the same index on every device and number of threads; with
/// other queries, or none, it is another training. Throws if no IndexVLC is in the index or none is
/// to be trained, if there are no queries or one is not finite, and what index.train() throws. Not
/// for threads that use the index at the same time.
void train(faiss::Index& index, int64_t n, const float* x, int64_t n_queries, const float* queries);

} // namespace faiss_vlc
