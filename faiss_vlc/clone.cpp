#include <faiss_vlc/clone.h>

#include <memory>

#include <faiss/IndexIDMap.h>
#include <faiss/IndexRefine.h>

#include <faiss_vlc/IndexVLC.h>

namespace faiss_vlc {

namespace {

/// A copy of a wrapper (its constructor copies everything, pointers too) that owns copies of what it
/// wraps. FAISS 1.7.3's cloner lacks these kinds.
template <class Wrapper>
std::unique_ptr<Wrapper> copy_wrapper(const Wrapper& from) {
    auto copy = std::make_unique<Wrapper>(from);
    copy->own_fields = false; // until it has its own
    return copy;
}

} // namespace

faiss::Index* Cloner::clone_Index(const faiss::Index* index) {
    if (const auto* vlc = dynamic_cast<const IndexVLC*>(index)) {
        return new IndexVLC(*vlc);
    }
    if (const auto* map2 = dynamic_cast<const faiss::IndexIDMap2*>(index)) {
        auto copy = copy_wrapper(*map2);
        copy->index = clone_Index(map2->index);
        copy->own_fields = true;
        return copy.release();
    }
    if (const auto* map = dynamic_cast<const faiss::IndexIDMap*>(index)) {
        auto copy = copy_wrapper(*map);
        copy->index = clone_Index(map->index);
        copy->own_fields = true;
        return copy.release();
    }
    if (typeid(*index) == typeid(faiss::IndexRefine) ||
        typeid(*index) == typeid(faiss::IndexRefineFlat)) {
        const auto& refine = dynamic_cast<const faiss::IndexRefine&>(*index);
        std::unique_ptr<faiss::Index> base(clone_Index(refine.base_index));
        std::unique_ptr<faiss::Index> exact(clone_Index(refine.refine_index));
        std::unique_ptr<faiss::IndexRefine> copy;
        if (const auto* flat = dynamic_cast<const faiss::IndexRefineFlat*>(index)) {
            copy = copy_wrapper(*flat);
        } else {
            copy = copy_wrapper(refine);
        }
        copy->own_refine_index = false;
        copy->base_index = base.release();
        copy->refine_index = exact.release();
        copy->own_fields = copy->own_refine_index = true;
        return copy.release();
    }
    return faiss::Cloner::clone_Index(index);
}

faiss::Index* clone_index(const faiss::Index* index) {
    return Cloner().clone_Index(index);
}

} // namespace faiss_vlc
