#include <faiss_vlc/findings.h>

#include <algorithm>
#include <cmath>

namespace faiss_vlc {

bool HeldOutRecall::below_product() const {
    constexpr double kMargin = 0.02, kChance = 0.63; // of the root of what is sought
    const auto n = double(sought);
    return double(product - estimated) > kMargin * n + kChance * std::sqrt(n);
}

void AddedRows::add(const AddedRows& other) {
    rows += other.rows;
    outside += other.outside;
    twice += other.twice;
    farthest = std::max(farthest, other.farthest);
}

} // namespace faiss_vlc
