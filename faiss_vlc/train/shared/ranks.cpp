#include <faiss_vlc/ranks.h>

#include <algorithm>
#include <cstring>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

constexpr int64_t kSummedAtOnce = 1 << 22; ///< values: bounds buffers, MPI counts in int

} // namespace

void Ranks::check() const {
    if (count < 1 || rank < 0 || rank >= count || (count > 1 && !all_reduce)) {
        fail("training by several processes: expected a rank below their number and a function "
             "that adds up, got rank %d of %d",
             rank, count);
    }
}

void Ranks::sum(int64_t* values, int64_t n) const {
    for (int64_t first = 0; count > 1 && first < n; first += kSummedAtOnce) {
        all_reduce(values + first, std::min(kSummedAtOnce, n - first));
    }
}

void Ranks::gather(void* bytes, size_t size) const {
    if (count == 1) {
        return;
    }
    constexpr size_t kWord = sizeof(int64_t);
    constexpr size_t kPart = size_t(kSummedAtOnce) * kWord;
    std::vector<int64_t> words((std::min(size, kPart) + kWord - 1) / kWord);
    for (size_t first = 0; first < size; first += kPart) {
        char* part = static_cast<char*>(bytes) + first;
        const size_t some = std::min(kPart, size - first);
        words[(some - 1) / kWord] = 0; // what the last word has beyond the bytes
        std::memcpy(words.data(), part, some);
        all_reduce(words.data(), int64_t((some + kWord - 1) / kWord));
        std::memcpy(part, words.data(), some);
    }
}

std::vector<int64_t> Ranks::each(int64_t own) const {
    std::vector<int64_t> values(count, 0);
    values[rank] = own;
    sum(values.data(), count);
    return values;
}

void Ranks::require_same(uint64_t value, const char* what) const {
    const std::vector<int64_t> values = each(int64_t(value));
    for (int other = 0; other < count; other++) {
        if (values[other] != values[0]) {
            fail("training by several processes: %s differ between processes 0 and %d", what,
                 other);
        }
    }
}

void Ranks::settle(const std::exception_ptr& error) const {
    const std::vector<int64_t> failed = each(error != nullptr);
    if (error) {
        std::rethrow_exception(error);
    }
    for (int other = 0; other < count; other++) {
        if (failed[other]) {
            fail("training by several processes: process %d failed", other);
        }
    }
}

} // namespace faiss_vlc
