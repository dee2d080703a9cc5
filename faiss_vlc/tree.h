#pragma once

#include <functional>

#include <faiss/Index.h>

namespace faiss_vlc {

/// Replaces nodes of an index tree (IndexPreTransform, IndexIDMap(2), IndexRefine(Flat)), children
/// before parents. `replace` gets each node and returns it or its replacement, having deleted the
/// original in that case. Owns `root` and returns its replacement; deletes it if `replace` throws.
faiss::Index* replace_nodes(faiss::Index* root,
                            const std::function<faiss::Index*(faiss::Index*)>& replace);

} // namespace faiss_vlc
