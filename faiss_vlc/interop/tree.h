#pragma once

#include <functional>

#include <faiss/Index.h>

namespace faiss_vlc {

/// Calls visit(child, owned) for each index that `parent` points to: the members of
/// IndexPreTransform, IndexIDMap(2), IndexRefine(Flat), IndexShards, IndexReplicas,
/// IndexRowwiseMinMax and IndexSplitVectors, the storage of graphs, the quantizers of IndexIVF and
/// Index2Layer. `visit` may put another index into the place; `owned` says who deletes what lies
/// there. An IndexVLC counts as a leaf. Members of an IndexShards or IndexReplicas must be idle.
void each_child(faiss::Index& parent,
                const std::function<void(faiss::Index*& child, bool owned)>& visit);

/// Replaces nodes of an index tree, children before parents. `replace` gets each node and returns
/// it or its replacement, having deleted the original in that case. Children that the tree does not
/// own are left alone. Owns `root` and returns its replacement; deletes it if `replace` throws.
faiss::Index* replace_nodes(faiss::Index* root,
                            const std::function<faiss::Index*(faiss::Index*)>& replace);

/// Whether an IndexVLC is in this tree.
bool contains_vlc(const faiss::Index& index);

/// Tells the IndexVLCs below an IDMap that it is there (IndexVLC::below_id_map): after
/// faiss::IndexIDMap's own constructor has put one above, so that merging them is right.
void mark_id_maps(faiss::Index& index);

/// Whether an IndexShards or IndexReplicas was made `threaded`.
bool is_threaded(const faiss::Index& index);

} // namespace faiss_vlc
