#include <faiss_vlc/model/codebook.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/integer_math.h>

namespace faiss_vlc {

int Codebook::limit(const Layout& layout) {
    constexpr int kMost = 8191;
    constexpr uint64_t kMostSum = (1u << 28) - 1;
    int widest = 1;
    for (int b = 0; b < layout.blocks(); b++) {
        widest = std::max(widest, layout.block_axis[b + 1] - layout.block_axis[b]);
    }
    return std::min(kMost, int(isqrt(kMostSum / uint64_t(widest))));
}

void Codebook::finish(const Layout& layout) {
    norms.assign(size_t(layout.blocks()) * kWords, 0);
    for (int b = 0; b < layout.blocks(); b++) {
        for (int s = layout.block_slot[b]; s < layout.block_slot[b + 1]; s++) {
            for (int w = 0; w < kWords; w++) {
                norms[size_t(b) * kWords + w] += int32_t(at(s, w)) * at(s, w);
            }
        }
    }
}

void nearest_words(const Layout& layout, const Codebook& book, const int16_t* x, uint8_t* code) {
    const int blocks = layout.blocks();
    std::fill_n(code + blocks, layout.code_bytes - blocks, uint8_t(0));
    for (int b = 0; b < blocks; b++) {
        const int first = layout.block_slot[b];
        const BlockWords block{layout.block_slot[b + 1] - first,
                               &book.words[size_t(first) * kWords],
                               &book.norms[size_t(b) * kWords]};
        int32_t least;
        simd().nearest.words(block, 1, x + first, code + b, &least);
    }
}

} // namespace faiss_vlc
