#include <faiss_vlc/train/shared/share.h>

#include <algorithm>

#include <faiss_vlc/ranks.h>

namespace faiss_vlc {

int64_t Share::before(int64_t row) const {
    const int64_t block = row / kRowBlock;
    return (block + count - 1 - number) / count * kRowBlock + (holds(row) ? row % kRowBlock : 0);
}

std::vector<int32_t> Share::held(const int32_t* rows, int64_t n) const {
    std::vector<int32_t> own;
    own.reserve(size_t(n / count));
    for (int64_t i = 0; i < n; i++) {
        if (holds(rows[i])) {
            own.push_back(int32_t(before(rows[i])));
        }
    }
    return own;
}

void Share::take(int64_t n, const int32_t* all, int32_t* own) const {
    for (int64_t i = number * kRowBlock; i < n; i += count * kRowBlock) {
        own = std::copy_n(all + i, std::min(kRowBlock, n - i), own);
    }
}

void Share::put(int64_t n, const int32_t* own, int32_t* all) const {
    for (int64_t i = number * kRowBlock; i < n; i += count * kRowBlock) {
        const int64_t some = std::min(kRowBlock, n - i);
        std::copy_n(own, some, all + i);
        own += some;
    }
}

Share own_share(const Ranks& processes) {
    return {processes.rank, processes.count};
}

} // namespace faiss_vlc
