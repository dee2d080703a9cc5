#pragma once

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

/// Replaces this executable's operator new: counts allocations, watches the largest one and what
/// lives at once, and fails one or more of them on demand. Include it in one file only.

namespace allocations {
inline std::atomic<int64_t> count{0};
inline std::atomic<size_t> largest{0};
/// Bytes allocated and not released, and the most of them since it was last set.
inline std::atomic<int64_t> live{0}, peak{0};
/// Countdown to a failing allocation: it is the one that finds 1 here. 0 or less: none fails.
inline std::atomic<int64_t> fail_at{0};
/// All after the failing one fail, too.
inline std::atomic<bool> fail_on{false};
inline std::atomic<int64_t> failures{0};

inline void* allocate(size_t size, size_t align) {
    count++;
    size_t before = largest;
    while (size > before && !largest.compare_exchange_weak(before, size)) {
    }
    if (fail_at > 0) {
        const int64_t left = fail_at.fetch_sub(1);
        if (left == 1) {
            if (fail_on) {
                fail_at = 1;
            }
            failures++;
            throw std::bad_alloc();
        }
    }
    void* p = std::aligned_alloc(align, (size + align - 1) / align * align + (size ? 0 : align));
    if (!p) {
        throw std::bad_alloc();
    }
    const int64_t now = live += int64_t(malloc_usable_size(p));
    int64_t most = peak;
    while (now > most && !peak.compare_exchange_weak(most, now)) {
    }
    return p;
}

/// Where memory is merely wished for (std::stable_sort), nothing is counted and nothing fails.
inline void* wish(size_t size, size_t align) {
    void* p = std::aligned_alloc(align, (size + align - 1) / align * align + (size ? 0 : align));
    live += int64_t(malloc_usable_size(p));
    return p;
}

inline void release(void* p) {
    live -= int64_t(malloc_usable_size(p));
    std::free(p);
}
} // namespace allocations

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VLC_ALLOCATIONS_HIDDEN
#endif
#endif

namespace allocations {
/// Clang's ThreadSanitizer insists on its own operator new: there nothing is seen.
#ifdef VLC_ALLOCATIONS_HIDDEN
constexpr bool hidden = true;
#else
constexpr bool hidden = false;
#endif
} // namespace allocations

#ifndef VLC_ALLOCATIONS_HIDDEN
// All forms: where one is missing, a sanitizer's own set would be linked beside ours.

void* operator new(size_t size) {
    return allocations::allocate(size, 16);
}
void* operator new[](size_t size) {
    return allocations::allocate(size, 16);
}
void* operator new(size_t size, std::align_val_t align) {
    return allocations::allocate(size, size_t(align));
}
void* operator new[](size_t size, std::align_val_t align) {
    return allocations::allocate(size, size_t(align));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
    return allocations::wish(size, 16);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
    return allocations::wish(size, 16);
}
void* operator new(size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
    return allocations::wish(size, size_t(align));
}
void* operator new[](size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
    return allocations::wish(size, size_t(align));
}
void operator delete(void* p) noexcept {
    allocations::release(p);
}
void operator delete[](void* p) noexcept {
    allocations::release(p);
}
void operator delete(void* p, size_t) noexcept {
    allocations::release(p);
}
void operator delete[](void* p, size_t) noexcept {
    allocations::release(p);
}
void operator delete(void* p, const std::nothrow_t&) noexcept {
    allocations::release(p);
}
void operator delete[](void* p, const std::nothrow_t&) noexcept {
    allocations::release(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
    allocations::release(p);
}
void operator delete[](void* p, std::align_val_t) noexcept {
    allocations::release(p);
}
void operator delete(void* p, size_t, std::align_val_t) noexcept {
    allocations::release(p);
}
void operator delete[](void* p, size_t, std::align_val_t) noexcept {
    allocations::release(p);
}
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
    allocations::release(p);
}
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept {
    allocations::release(p);
}
#endif
