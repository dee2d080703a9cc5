#include <faiss_vlc/clone.h>

#include <memory>
#include <typeinfo>
#include <vector>

#include <faiss/IndexIDMap.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexReplicas.h>
#include <faiss/IndexRowwiseMinMax.h>
#include <faiss/IndexShards.h>
#include <faiss/VectorTransform.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/faiss_version.h>
#include <faiss_vlc/interop/decoded_lists.h>
#include <faiss_vlc/interop/tree.h>
#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

using IndexPtr = std::unique_ptr<faiss::Index>;

/// A copy of an index with one child. The copy constructor copies pointers, so the child must be
/// there before anything can throw.
template <class Wrapper>
faiss::Index* clone_wrapper(Cloner& cloner, const Wrapper& from) {
    IndexPtr child(cloner.clone_Index(from.index));
    auto copy = std::make_unique<Wrapper>(from);
    copy->index = child.release();
    copy->own_fields = true;
    return copy.release();
}

template <class Refine>
faiss::Index* clone_refine(Cloner& cloner, const Refine& from) {
    IndexPtr base(cloner.clone_Index(from.base_index));
    IndexPtr exact(cloner.clone_Index(from.refine_index));
    auto copy = std::make_unique<Refine>(from);
    copy->base_index = base.release();
    copy->refine_index = exact.release();
    copy->own_fields = copy->own_refine_index = true;
    return copy.release();
}

/// Members are added one by one: they come with threads.
template <class Group>
faiss::Index* clone_members(Cloner& cloner, const Group& from, std::unique_ptr<Group> copy) {
    std::vector<IndexPtr> members;
    for (int i = 0; i < from.count(); i++) {
        members.emplace_back(cloner.clone_Index(from.at(i)));
        copy->addIndex(members.back().get());
    }
    copy->verbose = from.verbose;
    copy->FAISS_VLC_OWN_INDICES = true;
    for (IndexPtr& member : members) {
        (void)member.release();
    }
    return copy.release();
}

/// What stock FAISS makes of an IndexVLC that it reads, lists included.
faiss::Index* clone_decoded(Cloner& cloner, const faiss::IndexIVFFlat& from,
                            const DecodedLists& lists) {
    IndexPtr quantizer(cloner.clone_Index(from.quantizer));
    auto own = std::make_unique<DecodedLists>(std::make_unique<IndexVLC>(*lists.index));
    auto copy = std::make_unique<faiss::IndexIVFFlat>(from);
    copy->quantizer = quantizer.release();
    copy->own_fields = true;
    copy->invlists = own.release();
    copy->own_invlists = true;
    return copy.release();
}

} // namespace

faiss::Index* Cloner::clone_Index(const faiss::Index* index) {
    if (!index) {
        fail("clone_index: expected an index, got null");
    }
    if (const auto* vlc = dynamic_cast<const IndexVLC*>(index)) {
        return new IndexVLC(*vlc);
    }
    if (const auto* flat = dynamic_cast<const faiss::IndexIVFFlat*>(index)) {
        if (const auto* lists = dynamic_cast<const DecodedLists*>(flat->invlists)) {
            return clone_decoded(*this, *flat, *lists);
        }
    }
    // kinds derived from these by others are FAISS's business
    const std::type_info& kind = typeid(*index);
    if (kind == typeid(faiss::IndexIDMap)) {
        return clone_wrapper(*this, dynamic_cast<const faiss::IndexIDMap&>(*index));
    }
    if (kind == typeid(faiss::IndexIDMap2)) {
        return clone_wrapper(*this, dynamic_cast<const faiss::IndexIDMap2&>(*index));
    }
    if (kind == typeid(faiss::IndexRowwiseMinMax)) {
        return clone_wrapper(*this, dynamic_cast<const faiss::IndexRowwiseMinMax&>(*index));
    }
    if (kind == typeid(faiss::IndexRowwiseMinMaxFP16)) {
        return clone_wrapper(*this, dynamic_cast<const faiss::IndexRowwiseMinMaxFP16&>(*index));
    }
    if (kind == typeid(faiss::IndexRefine)) {
        return clone_refine(*this, dynamic_cast<const faiss::IndexRefine&>(*index));
    }
    if (kind == typeid(faiss::IndexRefineFlat)) {
        return clone_refine(*this, dynamic_cast<const faiss::IndexRefineFlat&>(*index));
    }
    if (kind == typeid(faiss::IndexShards)) {
        const auto& shards = dynamic_cast<const faiss::IndexShards&>(*index);
        return clone_members(*this, shards,
                             std::make_unique<faiss::IndexShards>(shards.d, is_threaded(shards),
                                                                  shards.successive_ids));
    }
    if (kind == typeid(faiss::IndexReplicas)) {
        const auto& replicas = dynamic_cast<const faiss::IndexReplicas&>(*index);
        return clone_members(
                *this, replicas,
                std::make_unique<faiss::IndexReplicas>(replicas.d, is_threaded(replicas)));
    }
    return faiss::Cloner::clone_Index(index);
}

faiss::VectorTransform* Cloner::clone_VectorTransform(const faiss::VectorTransform* transform) {
    if (const auto* norm = dynamic_cast<const faiss::NormalizationTransform*>(transform)) {
        return new faiss::NormalizationTransform(*norm);
    }
    if (const auto* centre = dynamic_cast<const faiss::CenteringTransform*>(transform)) {
        return new faiss::CenteringTransform(*centre);
    }
    return faiss::Cloner::clone_VectorTransform(transform);
}

faiss::Index* clone_index(const faiss::Index* index) {
    faiss::Index* const copy = Cloner().clone_Index(index);
    mark_id_maps(*copy);
    return copy;
}

} // namespace faiss_vlc
