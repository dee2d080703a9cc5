#include <faiss_vlc/interop/tree.h>

#include <faiss/Index2Layer.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVF.h>
#if __has_include(<faiss/IndexIVFIndependentQuantizer.h>)
#include <faiss/IndexIVFIndependentQuantizer.h>
#endif
#include <faiss/IndexNNDescent.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexRowwiseMinMax.h>
#include <faiss/MetaIndexes.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/faiss_version.h>

namespace faiss_vlc {

namespace {

using Replace = std::function<faiss::Index*(faiss::Index*)>;
using Threaded = faiss::ThreadedIndex<faiss::Index>;

/// Members that ThreadedIndex shows to derived classes only: its interface has no way to put an
/// index into another one's place.
struct ThreadedMembers : Threaded {
    static auto& indices(Threaded& index) { return index.*(&ThreadedMembers::indices_); }
    static bool threaded(const Threaded& index) { return index.*(&ThreadedMembers::isThreaded_); }
};

/// `slot`'s node, and what is below it.
void replace_below(faiss::Index*& slot, const Replace& replace) {
    each_child(*slot, [&](faiss::Index*& child, bool owned) {
        if (owned) {
            replace_below(child, replace);
        }
    });
    slot = replace(slot); // which deletes the old one last, so that throwing leaves it in its place
}

void mark_below(faiss::Index& node, bool below_id_map) {
    if (auto* vlc = dynamic_cast<IndexVLC*>(&node)) {
        vlc->below_id_map = vlc->below_id_map || below_id_map;
    }
    const bool is_map = dynamic_cast<faiss::IndexIDMap*>(&node) != nullptr;
    each_child(node,
               [&](faiss::Index*& child, bool) { mark_below(*child, below_id_map || is_map); });
}

} // namespace

void each_child(faiss::Index& parent, const std::function<void(faiss::Index*&, bool)>& visit) {
    const auto offer = [&](faiss::Index*& child, bool owned) {
        if (child) {
            visit(child, owned);
        }
    };
    if (dynamic_cast<IndexVLC*>(&parent)) {
        return;
    }
    if (auto* transform = dynamic_cast<faiss::IndexPreTransform*>(&parent)) {
        offer(transform->index, transform->own_fields);
    } else if (auto* map = dynamic_cast<faiss::IndexIDMap*>(&parent)) {
        offer(map->index, map->own_fields);
    } else if (auto* refine = dynamic_cast<faiss::IndexRefine*>(&parent)) {
        offer(refine->base_index, refine->own_fields);
        offer(refine->refine_index, refine->own_refine_index);
    } else if (auto* members = dynamic_cast<Threaded*>(&parent)) {
        for (auto& member : ThreadedMembers::indices(*members)) {
            offer(member.first, members->FAISS_VLC_OWN_INDICES);
        }
    } else if (auto* rows = dynamic_cast<faiss::IndexRowwiseMinMaxBase*>(&parent)) {
        offer(rows->index, rows->own_fields);
    } else if (auto* split = dynamic_cast<faiss::IndexSplitVectors*>(&parent)) {
        for (faiss::Index*& part : split->sub_indexes) {
            offer(part, split->own_fields);
        }
    } else if (auto* multi = dynamic_cast<faiss::MultiIndexQuantizer2*>(&parent)) {
        for (faiss::Index*& part : multi->assign_indexes) {
            offer(part, multi->own_fields);
        }
    } else if (auto* hnsw = dynamic_cast<faiss::IndexHNSW*>(&parent)) {
        offer(hnsw->storage, hnsw->own_fields);
    } else if (auto* nsg = dynamic_cast<faiss::IndexNSG*>(&parent)) {
        offer(nsg->storage, nsg->own_fields);
    } else if (auto* descent = dynamic_cast<faiss::IndexNNDescent*>(&parent)) {
        offer(descent->storage, descent->own_fields);
    } else if (auto* layers = dynamic_cast<faiss::Index2Layer*>(&parent)) {
        offer(layers->q1.quantizer, layers->q1.own_fields);
    } else if (auto* ivf = dynamic_cast<faiss::IndexIVF*>(&parent)) {
        offer(ivf->quantizer, ivf->own_fields);
#if __has_include(<faiss/IndexIVFIndependentQuantizer.h>)
    } else if (auto* apart = dynamic_cast<faiss::IndexIVFIndependentQuantizer*>(&parent)) {
        offer(apart->quantizer, apart->own_fields);
        faiss::Index* inner = apart->index_ivf;
        offer(inner, apart->own_fields);
        apart->index_ivf = dynamic_cast<faiss::IndexIVF*>(inner);
#endif
    }
}

faiss::Index* replace_nodes(faiss::Index* root, const Replace& replace) {
    faiss::Index* node = root;
    try {
        replace_below(node, replace);
    } catch (...) {
        delete node;
        throw;
    }
    return node;
}

bool contains_vlc(const faiss::Index& index) {
    bool found = dynamic_cast<const IndexVLC*>(&index) != nullptr;
    // nothing is changed
    each_child(const_cast<faiss::Index&>(index),
               [&](faiss::Index*& child, bool) { found = found || contains_vlc(*child); });
    return found;
}

void mark_id_maps(faiss::Index& index) {
    mark_below(index, false);
}

bool is_threaded(const faiss::Index& index) {
    const auto* members = dynamic_cast<const Threaded*>(&index);
    return members && ThreadedMembers::threaded(*members);
}

} // namespace faiss_vlc
