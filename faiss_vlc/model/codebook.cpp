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

void nearest_words(const Layout& layout, const Codebook& book, const int16_t* x,
                   std::vector<int32_t>& dots, uint8_t* code) {
    const int blocks = layout.blocks();
    dots.resize(size_t(blocks) * kWords);
    simd().words.products({blocks, layout.block_slot.data(), book.words.data()}, x, dots.data());
    std::fill_n(code + blocks, layout.code_bytes - blocks, uint8_t(0));
    for (int b = 0; b < blocks; b++) {
        const int32_t* dot = &dots[size_t(b) * kWords];
        const int32_t* norm = &book.norms[size_t(b) * kWords];
        int32_t least = INT32_MAX;
        for (int w = 0; w < kWords; w++) {
            least = std::min(least, norm[w] - 2 * dot[w]);
        }
        int w = 0;
        while (norm[w] - 2 * dot[w] != least) {
            w++;
        }
        code[b] = uint8_t(w);
    }
}

} // namespace faiss_vlc
