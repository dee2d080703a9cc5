#pragma once

#include <faiss/clone_index.h>

namespace faiss_vlc {

/// faiss::Cloner that knows IndexVLC, alone or in a tree. The copy has lists of its own and shares
/// the model, which never changes. It also knows what FAISS 1.7.3's cloner lacks:
/// IndexRefine(Flat), IndexShards, IndexReplicas, IndexRowwiseMinMax, and normalizing and centering
/// transformations.
struct Cloner : faiss::Cloner {
    faiss::Index* clone_Index(const faiss::Index* index) override;
    faiss::VectorTransform* clone_VectorTransform(const faiss::VectorTransform* transform) override;
};

/// A deep copy of an index: adding to it leaves the original alone. The caller owns it. Throws for
/// kinds that can't be cloned.
faiss::Index* clone_index(const faiss::Index* index);

} // namespace faiss_vlc
