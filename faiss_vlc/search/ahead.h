#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/lists.h>

namespace faiss_vlc {

/// Fetches into the cache what is scanned next, a piece at a time while something else is scanned:
/// lists are scanned faster than they arrive when they are asked for only then.
class Ahead {
public:
    /// Of `count` lists one after another, -1 for none; then `following`, unless that is -1.
    Ahead(const Model& model, const VLCInvertedLists& vectors, size_t count, const int64_t* lists,
          int64_t following)
        : model_(model), vectors_(vectors), count_(count), lists_(lists), following_(following),
          by_scan_(simd().scan.fetches ? 64 * model.layout.fields.size() : 0),
          requests_(vectors.block_pages()) {}

    /// From now on the l-th list.
    void next(size_t l) {
        const int64_t j = list(l);
        if (requests_.are_wanted()) {
            request(l);
        }
        left_ = 0;
        if (list(l + 1) >= 0) {
            vectors_.prefetch(size_t(list(l + 1)));
        }
        if (j >= 0) {
            Query::prefetch(model_, int(j));
            at_ = vectors_.blocks(size_t(j));
            left_ = std::min(vectors_.list_bytes(size_t(j)), kFetched);
        }
    }
    /// The next `bytes`. The first of them may be left to a scan of kScanBatch vectors by one
    /// plane, which gets where they are for its ListScan::ahead; null: none are.
    const uint8_t* fetch(size_t bytes, bool leave_some) {
        const size_t some = std::min(left_, bytes);
        const uint8_t* const from = at_;
        const bool is_shared = leave_some && by_scan_ > 0 && some >= by_scan_;
        fetch(from, is_shared ? by_scan_ : 0, some);
        at_ += some;
        left_ -= some;
        return is_shared ? from : nullptr;
    }
    void fetch_all() {
        fetch(at_, 0, left_);
        left_ = 0;
    }

private:
    static constexpr size_t kFetched = 16384; ///< bytes of a list; the rest follows by itself
    const Model& model_;
    const VLCInvertedLists& vectors_;
    size_t count_;
    const int64_t* lists_;
    int64_t following_;
    size_t by_scan_; ///< bytes that a scan of kScanBatch vectors fetches, 0: none
    static void fetch(const uint8_t* from, size_t at, size_t end) {
        for (; at < end; at += 256) { // up to 192 bytes more do no harm
            __builtin_prefetch(from + at, 0, 2);
            __builtin_prefetch(from + at + 64, 0, 2);
            __builtin_prefetch(from + at + 128, 0, 2);
            __builtin_prefetch(from + at + 192, 0, 2);
        }
    }
    int64_t list(size_t l) const { return l < count_ ? lists_[l] : l == count_ ? following_ : -1; }
    const uint8_t* at_ = nullptr;
    size_t left_ = 0; ///< bytes from there on

    static constexpr size_t kRequested = 8 << 20; ///< bytes of lists in a file, ahead of scanning
    PageRequests requests_;
    size_t asked_ = 0; ///< lists so far
    size_t ahead_ = 0; ///< bytes of those not scanned yet
    size_t list_bytes(size_t l) const {
        return lists_[l] < 0 ? 0 : vectors_.list_bytes(size_t(lists_[l]));
    }
    /// Requests lists from the l-th on, in the file's order.
    void request(size_t l) {
        if (l > 0 && l <= asked_) {
            ahead_ -= list_bytes(l - 1);
        }
        if (asked_ >= count_ || ahead_ > kRequested / 2) {
            return; // many at once
        }
        for (; asked_ < count_ && ahead_ < kRequested; asked_++) {
            const size_t bytes = list_bytes(asked_);
            ahead_ += bytes;
            if (bytes > 0 && vectors_.is_lent(size_t(lists_[asked_]))) {
                requests_.add(vectors_.blocks(size_t(lists_[asked_])), bytes);
            }
        }
        requests_.send();
    }
};

} // namespace faiss_vlc
