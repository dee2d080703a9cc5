#include <faiss_vlc/train/reference_assigner.h>

#include <faiss_vlc/model/lattice.h>
#include <faiss_vlc/train/stages/assign.h>

namespace faiss_vlc {

void ReferenceAssigner::begin(int m, int d, const int8_t* anchors8, int64_t max_block) {
    m_ = m;
    dp_ = padded_dim(d);
    anchor8_.assign(anchors8, anchors8 + size_t(m) * dp_);
    norm_.resize(m);
    for (int j = 0; j < m; j++) {
        const int8_t* a = &anchor8_[size_t(j) * dp_];
        norm_[j] = dot8(dp_, a, a);
    }
    dist_.resize(max_block);
}

void ReferenceAssigner::assign(int64_t n, const int8_t* x, int32_t* labels) {
    assign_rows(n, x, {m_, dp_, anchor8_.data(), norm_.data()}, {1, labels, dist_.data()});
}

} // namespace faiss_vlc
