#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace faiss_vlc {

/// Copies of something that changes, handed out by pointer to callers who should release them but
/// may forget to. Between two changes all callers get the same copy; the last release frees it. A
/// copy that somebody still has is never freed, but after a change the next caller finds it filled
/// anew, if it is large enough. Larger ones are made with room to spare. So what nobody releases
/// keeps less than four times the bytes of the largest copy that was asked for under its key.
///
/// Thread-safety: any.
class Copies {
public:
    Copies() = default;
    Copies(const Copies&) {} ///< others' copies stay theirs
    Copies& operator=(const Copies&) = delete;

    /// A copy of what `key` names, made by fill(bytes), which does not throw, unless there is one
    /// of this `stamp`: another number after every change.
    const void* lend(size_t key, uint64_t stamp, size_t bytes,
                     const std::function<void(uint8_t*)>& fill);
    /// Whether it was one of these.
    bool release(const void* copy);
    /// Calls change(bytes, capacity) with every copy of `key` that is out.
    void each(size_t key, const std::function<void(uint8_t*, size_t)>& change);
    /// Memory of all that are lent.
    size_t bytes() const;

private:
    struct Copy {
        std::unique_ptr<uint8_t[]> bytes;
        size_t capacity;
        size_t key;
        uint64_t stamp;
        size_t holders;
    };
    mutable std::mutex mutex_;
    std::unordered_map<const void*, Copy> copies_;
    std::unordered_map<size_t, const void*> latest_; ///< of each key; null: none

    Copy* latest(size_t key);
};

} // namespace faiss_vlc
