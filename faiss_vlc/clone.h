#pragma once

#include <faiss/clone_index.h>

namespace faiss_vlc {

/// faiss::Cloner that knows IndexVLC. The copy has lists of its own and shares the model, which
/// never changes.
struct Cloner : faiss::Cloner {
    faiss::Index* clone_Index(const faiss::Index* index) override;
};

/// A deep copy of an index, also of a tree with an IndexVLC in it. The caller owns it.
faiss::Index* clone_index(const faiss::Index* index);

} // namespace faiss_vlc
