#pragma once

// What _layout.py compares with the faiss package: where the headers that this is compiled with
// have the fields and the virtual functions of FAISS's classes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexNNDescent.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexReplicas.h>
#include <faiss/IndexRowwiseMinMax.h>
#include <faiss/IndexShards.h>
#include <faiss/MetaIndexes.h>
#include <faiss/VectorTransform.h>
#include <faiss/clone_index.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/impl/io.h>
#include <faiss/invlists/BlockInvertedLists.h>
#include <faiss/invlists/DirectMap.h>
#include <faiss/invlists/InvertedLists.h>
#include <faiss/invlists/InvertedListsIOHook.h>
#if __has_include(<faiss/IndexShardsIVF.h>)
#include <faiss/IndexShardsIVF.h>
#endif
#if __has_include(<faiss/IndexIVFIndependentQuantizer.h>)
#include <faiss/IndexIVFIndependentQuantizer.h>
#endif

#include <faiss_vlc/faiss_version.h>

namespace faiss_vlc {
namespace layout {

struct Class {
    const char* name;
    const std::type_info& type;
};

struct Field {
    const char* owner;
    const char* name;
    size_t offset, size;
    char kind; ///< see kind_of
};

/// What FAISS's wrappers take a copy of, or hold other than by its address.
template <class T>
struct IsCopied : std::is_same<T, std::string> {};
template <class... T>
struct IsCopied<std::unordered_map<T...>> : std::true_type {};
template <class... T>
struct IsCopied<std::unordered_set<T...>> : std::true_type {};
template <class... T>
struct IsCopied<std::unique_ptr<T...>> : std::true_type {};
template <class T>
struct IsCopied<std::shared_ptr<T>> : std::true_type {};
template <class T>
struct IsCopied<std::optional<T>> : std::true_type {};
template <class T>
struct IsCopied<std::function<T>> : std::true_type {};

/// b: bool, i and u: integers, f: floating-point, e: enumeration, p: pointer, c: what accessors
/// look into, o: any other object.
template <class T>
constexpr char kind_of() {
    using Plain = std::remove_cv_t<T>;
    using Target = std::remove_cv_t<std::remove_pointer_t<Plain>>;
    return std::is_same_v<Plain, bool>       ? 'b'
           : std::is_integral_v<Plain>       ? std::is_signed_v<Plain> ? 'i' : 'u'
           : std::is_floating_point_v<Plain> ? 'f'
           : std::is_enum_v<Plain>           ? 'e'
           : IsCopied<Plain>::value || std::is_reference_v<T> || std::is_same_v<Target, char> ? 'c'
           : std::is_pointer_v<Plain>                                                         ? 'p'
                                                                                              : 'o';
}

// Offsets in classes with bases: GCC and Clang know them, as no base is virtual.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

inline const std::vector<Class>& classes() {
#define CLASS(owner) {#owner, typeid(faiss::owner)},
#define FIELD(owner, name)
    static const std::vector<Class> all = {
#include "layout_table.inc"
    };
#undef CLASS
#undef FIELD
    return all;
}

inline const std::vector<Field>& fields() {
#define CLASS(owner)
#define FIELD(owner, name)                                                    \
    {#owner, #name, offsetof(faiss::owner, name), sizeof(faiss::owner::name), \
     kind_of<decltype(faiss::owner::name)>()},
    static const std::vector<Field> all = {
#include "layout_table.inc"
    };
#undef CLASS
#undef FIELD
    return all;
}

#pragma GCC diagnostic pop

/// The number of a virtual function in its class's table, as the C++ ABI of Linux writes it into a
/// pointer to the member; -1 where it is not virtual.
template <class Member>
int slot_of(Member member) {
    struct {
        uintptr_t at;
        ptrdiff_t adjust;
    } raw;
    static_assert(sizeof(member) == sizeof(raw));
    std::memcpy(&raw, &member, sizeof(raw));
#if defined(__aarch64__) || defined(__arm__)
    const bool is_virtual = raw.adjust & 1;
#else
    const bool is_virtual = raw.at & 1;
#endif
    return is_virtual ? int(raw.at / sizeof(void*)) : -1;
}

struct Virtual {
    const char* owner;
    const char* name;
    int slot;
};

/// Those that we override or call.
inline std::vector<Virtual> virtuals() {
#define QUOTED(name) #name
#define VIRTUAL(owner, name) \
    { #owner, QUOTED(name), slot_of(&faiss::owner::name) }
#define CALLED(owner) /* as SWIG names the operator */ \
    { #owner, "__call__", slot_of(&faiss::owner::operator()) }
    return {
        VIRTUAL(Index, train), VIRTUAL(Index, add), VIRTUAL(Index, add_with_ids),
                VIRTUAL(Index, search), VIRTUAL(Index, range_search), VIRTUAL(Index, assign),
                VIRTUAL(Index, reset), VIRTUAL(Index, remove_ids), VIRTUAL(Index, reconstruct),
                VIRTUAL(Index, reconstruct_n), VIRTUAL(Index, search_and_reconstruct),
                VIRTUAL(Index, get_distance_computer), VIRTUAL(Index, sa_code_size),
                VIRTUAL(Index, sa_encode), VIRTUAL(Index, sa_decode), VIRTUAL(IndexIVF, train),
                VIRTUAL(IndexIVF, add_with_ids), VIRTUAL(IndexIVF, add_core),
                VIRTUAL(IndexIVF, search), VIRTUAL(IndexIVF, search_preassigned),
                VIRTUAL(IndexIVF, range_search), VIRTUAL(IndexIVF, search_and_reconstruct),
                VIRTUAL(IndexIVF, reconstruct), VIRTUAL(IndexIVF, reconstruct_from_offset),
                VIRTUAL(IndexIVF, encode_vectors), VIRTUAL(IndexIVF, sa_encode),
                VIRTUAL(IndexIVF, get_InvertedListScanner), VIRTUAL(IndexIVF, update_vectors),
                VIRTUAL(IndexIVF, remove_ids), VIRTUAL(IndexIVF, merge_from),
                VIRTUAL(IndexIVF, reset), VIRTUAL(InvertedLists, list_size),
                VIRTUAL(InvertedLists, get_codes), VIRTUAL(InvertedLists, get_ids),
                VIRTUAL(InvertedLists, release_codes), VIRTUAL(InvertedLists, release_ids),
                VIRTUAL(InvertedLists, get_single_id), VIRTUAL(InvertedLists, get_single_code),
                VIRTUAL(InvertedLists, prefetch_lists), VIRTUAL(InvertedLists, add_entries),
                VIRTUAL(InvertedLists, update_entries), VIRTUAL(InvertedLists, resize),
                VIRTUAL(InvertedLists, reset), VIRTUAL(InvertedListScanner, set_query),
                VIRTUAL(InvertedListScanner, set_list),
                VIRTUAL(InvertedListScanner, distance_to_code), VIRTUAL(IDSelector, is_member),
                VIRTUAL(VectorTransform, train), VIRTUAL(VectorTransform, apply_noalloc),
                VIRTUAL(VectorTransform, reverse_transform),
                VIRTUAL(InterruptCallback, want_interrupt), VIRTUAL(Index, merge_from),
                VIRTUAL(Index, check_compatible_for_merge),
                VIRTUAL(IndexIVF, check_compatible_for_merge), CALLED(IOReader), CALLED(IOWriter),
                VIRTUAL(IOReader, FAISS_VLC_FILE_DESCRIPTOR), VIRTUAL(InvertedListsIOHook, write),
                VIRTUAL(InvertedListsIOHook, read), VIRTUAL(Cloner, clone_Index),
                VIRTUAL(Cloner, clone_VectorTransform),
#if FAISS_VLC_FAISS_VERSION >= 10800
                VIRTUAL(IndexIVF, train_encoder), VIRTUAL(IndexIVFInterface, search_preassigned),
                VIRTUAL(IndexIVFInterface, range_search_preassigned),
                VIRTUAL(IndexIVF, range_search_preassigned),
#endif
#if FAISS_VLC_FAISS_VERSION >= 11200
                VIRTUAL(IndexIVF, decode_vectors),
#endif
    };
#undef QUOTED
#undef VIRTUAL
#undef CALLED
}

constexpr int kSlots = 128; // more than any of these classes has

inline int& entered() {
    static int slot = -1;
    return slot;
}

inline void*& answer() {
    static void* address = nullptr;
    return address;
}

template <int slot>
void* enter() {
    entered() = slot;
    return answer();
}

template <int... slots>
const void* const* table(std::integer_sequence<int, slots...>) {
    // in front of the functions: the distance to the whole object, and its type
    static const std::array<const void*, sizeof...(slots) + 2> entries = {
            nullptr, &typeid(faiss::IndexIVF), reinterpret_cast<const void*>(&enter<slots>)...};
    return entries.data() + 2;
}

/// A table of virtual functions that do nothing but to note their number, whatever their parameters
/// are. What it is called for must return nothing, a number or a pointer.
inline const void* const* noting_table() {
    return table(std::make_integer_sequence<int, kSlots>());
}

} // namespace layout
} // namespace faiss_vlc
