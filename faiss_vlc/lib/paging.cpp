#include <faiss_vlc/lib/paging.h>

#include <algorithm>

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace faiss_vlc {

namespace {

uintptr_t page_size() {
    static const auto size = uintptr_t(sysconf(_SC_PAGESIZE));
    return size;
}

uintptr_t page_of(uintptr_t address) {
    return address / page_size() * page_size();
}

void advise(uintptr_t begin, uintptr_t end, int advice) {
    if (begin < end) {
        (void)madvise(reinterpret_cast<void*>(begin), end - begin, advice); // a hint
    }
}

/// The pages that lie wholly in some bytes.
void advise_inner(const void* data, size_t bytes, int advice) {
    const auto begin = reinterpret_cast<uintptr_t>(data);
    advise(page_of(begin + page_size() - 1), page_of(begin + bytes), advice);
}

void request(uintptr_t begin, uintptr_t end) {
    constexpr uintptr_t kPiece = 1 << 17; // the system may cut what one request asks for
    for (; begin < end; begin += std::min(kPiece, end - begin)) {
        advise(begin, std::min(end, begin + kPiece), MADV_WILLNEED);
    }
}

/// Pages that this thread had to wait for; 0 where that isn't known.
long faults_of_thread() {
#ifdef RUSAGE_THREAD
    struct rusage usage {};
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_majflt : 0;
#else
    return 0;
#endif
}

} // namespace

void will_need(const void* data, size_t bytes) {
    const auto begin = reinterpret_cast<uintptr_t>(data);
    request(page_of(begin), begin + bytes);
}

void read_at_random(const void* data, size_t bytes) {
    advise_inner(data, bytes, MADV_RANDOM);
}

void leave_pages(const void* data, size_t bytes) {
    advise_inner(data, bytes, MADV_DONTNEED);
}

namespace {

constexpr size_t kLargePage = size_t(1) << 21; ///< on x86-64, and on ARM with pages of 4096 bytes

std::align_val_t alignment_of(size_t bytes) {
    constexpr size_t kCacheLine = 64;
    return std::align_val_t(bytes < kLargePage ? kCacheLine : kLargePage);
}

} // namespace

OnePiece::OnePiece(size_t bytes)
    : data_(static_cast<uint8_t*>(operator new[](bytes, alignment_of(bytes))),
            Free{alignment_of(bytes)}),
      size_(bytes) {
#ifdef MADV_HUGEPAGE
    advise_inner(data(), bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
#endif
}

void OnePiece::Free::operator()(uint8_t* data) const {
    operator delete[](data, alignment);
}

void Residence::note(bool missed) {
    const int calm = __atomic_load_n(&calm_, __ATOMIC_RELAXED);
    const int next = missed ? 0 : std::min(calm + 1, kCalm);
    if (next != calm) {
        __atomic_store_n(&calm_, next, __ATOMIC_RELAXED);
    }
}

void PageRequests::begin() {
    constexpr unsigned kCounted = 8; // one visit in so many
    static thread_local unsigned visit = 0;
    wanted_ = residence_->is_missing();
    counts_ = !wanted_ && visit++ % kCounted == 0;
    faults_ = counts_ ? faults_of_thread() : 0;
}

void PageRequests::end() {
    constexpr long kMost = 1; // a request would not have saved waiting for one page
    if (faults_of_thread() - faults_ > kMost) {
        residence_->note(true);
    }
}

void PageRequests::add(const void* data, size_t bytes) {
    const auto begin = reinterpret_cast<uintptr_t>(data);
    if (bytes > 0) {
        ranges_.push_back({page_of(begin), page_of(begin + bytes - 1) + page_size()});
    }
}

/// Of a sample: asking for each takes longer than requesting it.
bool PageRequests::misses_some() const {
    constexpr size_t kSample = 8;
    const size_t step = std::max<size_t>(1, ranges_.size() / kSample);
    for (size_t i = step / 2; i < ranges_.size(); i += step) {
        unsigned char is_there = 1;
        if (mincore(reinterpret_cast<void*>(ranges_[i].first), page_size(), &is_there) == 0 &&
            !(is_there & 1)) {
            return true;
        }
    }
    return false;
}

void PageRequests::send() {
    if (ranges_.empty()) {
        return;
    }
    std::sort(ranges_.begin(), ranges_.end());
    residence_->note(misses_some());
    size_t last = 0;
    for (size_t i = 1; i <= ranges_.size(); i++) {
        if (i < ranges_.size() && ranges_[i].first <= ranges_[last].second) {
            ranges_[last].second = std::max(ranges_[last].second, ranges_[i].second);
            continue;
        }
        request(ranges_[last].first, ranges_[last].second);
        last = i;
    }
    ranges_.clear();
}

} // namespace faiss_vlc
