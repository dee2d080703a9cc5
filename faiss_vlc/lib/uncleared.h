#pragma once

#include <cstddef>
#include <limits>
#include <new>
#include <utility>
#include <vector>

namespace faiss_vlc {

/// Leaves new elements as the memory is, for what is written by several threads before it is read:
/// they share what its pages cost, and nothing is written twice. On cache lines.
template <class T>
struct UnclearedAllocator {
    using value_type = T;
    static constexpr std::align_val_t kAlign{64};

    UnclearedAllocator() = default;
    template <class U>
    UnclearedAllocator(const UnclearedAllocator<U>&) {}

    T* allocate(size_t n) {
        if (n > std::numeric_limits<size_t>::max() / sizeof(T)) {
            throw std::bad_alloc();
        }
        return static_cast<T*>(::operator new(n * sizeof(T), kAlign));
    }
    void deallocate(T* p, size_t) { ::operator delete(p, kAlign); }

    template <class U>
    void construct(U* at) {
        ::new (static_cast<void*>(at)) U;
    }
    template <class U, class... Args>
    void construct(U* at, Args&&... args) {
        ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
    }

    template <class U>
    bool operator==(const UnclearedAllocator<U>&) const {
        return true;
    }
    template <class U>
    bool operator!=(const UnclearedAllocator<U>&) const {
        return false;
    }
};

/// A vector whose resize() does not clear.
template <class T>
using Uncleared = std::vector<T, UnclearedAllocator<T>>;

} // namespace faiss_vlc
