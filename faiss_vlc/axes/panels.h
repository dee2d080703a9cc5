#pragma once

#include <cstddef>
#include <vector>

#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

/// A matrix of floats in tiles of 16 columns, each row after row; columns are padded with zeros.
struct Panels {
    Panels(int rows_in, int columns)
        : rows(rows_in), tiles((columns + 15) / 16), values(size_t(rows) * tiles * 16, 0) {}

    float* tile(int t) { return &values[size_t(t) * rows * 16]; }
    const float* tile(int t) const { return &values[size_t(t) * rows * 16]; }
    float& at(int row, int column) { return tile(column / 16)[size_t(row) * 16 + column % 16]; }
    float at(int row, int column) const {
        return tile(column / 16)[size_t(row) * 16 + column % 16];
    }

    int rows;
    int tiles;
    std::vector<float> values;
};

/// tiles [first, end) of out += a b; a has out.rows rows and b.rows columns. Each number is made
/// by one thread, its terms in order: the same for any threads and instruction set.
void add_product(const Strided& a, const Panels& b, Panels& out, int first, int end);
void add_product(const Strided& a, const Panels& b, Panels& out);

} // namespace faiss_vlc
