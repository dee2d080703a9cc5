#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace faiss_vlc {

constexpr std::align_val_t kScratchAlign{64};

struct FreeScratch {
    void operator()(void* p) const { ::operator delete(p, kScratchAlign); }
};

/// Memory on cache lines that holds nothing yet: to clear it would take a search of one query as
/// long as some of its lists.
template <class T>
using AlignedScratch = std::unique_ptr<T[], FreeScratch>;

template <class T>
AlignedScratch<T> aligned_scratch(size_t n) {
    return AlignedScratch<T>(static_cast<T*>(::operator new(n * sizeof(T), kScratchAlign)));
}

} // namespace faiss_vlc
