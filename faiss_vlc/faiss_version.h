#pragma once

#include <string>

#include <faiss/Index.h>

/// What changed between the versions of FAISS that this compiles with, 1.7.3 to 1.15, so that
/// nothing else asks for a version. 1.7.3 is 10703.
#define FAISS_VLC_FAISS_VERSION \
    (FAISS_VERSION_MAJOR * 10000 + FAISS_VERSION_MINOR * 100 + FAISS_VERSION_PATCH)

/// Parameters that virtual functions got behind their last one; the argument is a default value, if
/// any.
#if FAISS_VLC_FAISS_VERSION >= 10800
#define FAISS_VLC_LIST_CONTEXT(default_value) , void* /*inverted_list_context*/ default_value
#else
#define FAISS_VLC_LIST_CONTEXT(default_value)
#endif
#if FAISS_VLC_FAISS_VERSION >= 11100
#define FAISS_VLC_SCANNER_PARAMS(default_value) , const faiss::IVFSearchParameters* default_value
#else
#define FAISS_VLC_SCANNER_PARAMS(default_value)
#endif

/// SearchParametersIVF's max_lists_num, ensure_topk_full and max_empty_result_buckets.
#define FAISS_VLC_HAS_EARLY_STOP (FAISS_VLC_FAISS_VERSION >= 11402)

/// index_factory's own_invlists.
#define FAISS_VLC_HAS_OWN_INVLISTS (FAISS_VLC_FAISS_VERSION >= 11200)

/// write_index's io_flags.
#define FAISS_VLC_HAS_WRITE_FLAGS (FAISS_VLC_FAISS_VERSION >= 10900)

/// The member of IndexShards and IndexReplicas that says who deletes their indexes.
#if FAISS_VLC_FAISS_VERSION >= 10704
#define FAISS_VLC_OWN_INDICES own_indices
#else
#define FAISS_VLC_OWN_INDICES own_fields
#endif

/// The member of IOReader that gives a file to be mapped.
#if FAISS_VLC_FAISS_VERSION >= 10900
#define FAISS_VLC_FILE_DESCRIPTOR filedescriptor
#else
#define FAISS_VLC_FILE_DESCRIPTOR fileno
#endif

namespace faiss_vlc {

/// The version of FAISS whose headers this library was compiled with.
std::string compiled_faiss();

/// The version of the FAISS that this process has: its classes differ even between patch releases.
/// Before 1.9, where FAISS does not say, by what it has: "1.7.3" is also any before it.
std::string loaded_faiss();

/// What is wrong unless they are the same, and what to install; then empty. Whatever makes, reads
/// or writes an index throws it.
std::string faiss_mismatch(const std::string& loaded = loaded_faiss());

} // namespace faiss_vlc
