#include <faiss_vlc/search/copies.h>

#include <algorithm>

namespace faiss_vlc {

Copies::Copy* Copies::latest(size_t key) {
    const auto at = latest_.find(key);
    return at != latest_.end() && at->second ? &copies_.at(at->second) : nullptr;
}

const void* Copies::lend(size_t key, uint64_t stamp, size_t bytes,
                         const std::function<void(uint8_t*)>& fill) {
    size_t capacity = std::max<size_t>(bytes, 1);
    // the latest copy, if it is or can be made what is wanted
    const auto take = [&]() -> const void* {
        Copy* copy = latest(key);
        if (!copy) {
            return nullptr;
        }
        if (copy->stamp != stamp && copy->capacity < bytes) {
            capacity = std::max(capacity, 2 * copy->capacity);
            return nullptr;
        }
        if (copy->stamp != stamp) {
            fill(copy->bytes.get());
            copy->stamp = stamp;
        }
        copy->holders++;
        return copy->bytes.get();
    };
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (const void* copy = take()) {
            return copy;
        }
    }
    std::unique_ptr<uint8_t[]> fresh(new uint8_t[capacity]); // while others have the lock
    fill(fresh.get());
    const std::lock_guard<std::mutex> lock(mutex_);
    if (const void* copy = take()) {
        return copy; // another thread was here
    }
    const void*& latest = latest_[key];
    const void* const address = fresh.get();
    copies_.emplace(address, Copy{std::move(fresh), capacity, key, stamp, 1});
    latest = address;
    return address;
}

bool Copies::release(const void* copy) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto at = copies_.find(copy);
    if (at == copies_.end()) {
        return false;
    }
    if (--at->second.holders == 0) {
        const auto latest = latest_.find(at->second.key);
        if (latest != latest_.end() && latest->second == copy) {
            latest_.erase(latest);
        }
        copies_.erase(at);
    }
    return true;
}

void Copies::each(size_t key, const std::function<void(uint8_t*, size_t)>& change) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [address, copy] : copies_) {
        if (copy.key == key) {
            change(copy.bytes.get(), copy.capacity);
        }
    }
}

size_t Copies::bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t sum = 0;
    for (const auto& [address, copy] : copies_) {
        sum += copy.capacity;
    }
    return sum;
}

} // namespace faiss_vlc
