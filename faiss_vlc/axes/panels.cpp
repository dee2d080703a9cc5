#include <faiss_vlc/axes/panels.h>

#include <algorithm>
#include <cstdint>

namespace faiss_vlc {

void add_product(const Strided& a, const Panels& b, Panels& out, int first, int end) {
    constexpr int kRows = 48, kInner = 512; // what a core's caches hold
    const auto multiply_add = simd().algebra.multiply_add;
#pragma omp parallel for schedule(static)
    for (int row = 0; row < out.rows; row += kRows) {
        const int rows = std::min(kRows, out.rows - row);
        for (int k = 0; k < b.rows; k += kInner) {
            const Strided part = {a.at + row * a.row + k * a.column, a.row, a.column};
            for (int t = first; t < end; t++) {
                multiply_add(part, rows, std::min(kInner, b.rows - k), b.tile(t) + size_t(k) * 16,
                             out.tile(t) + size_t(row) * 16);
            }
        }
    }
}

void add_product(const Strided& a, const Panels& b, Panels& out) {
    add_product(a, b, out, 0, b.tiles);
}

} // namespace faiss_vlc
