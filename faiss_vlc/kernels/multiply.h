#pragma once

#include <cstdint>
#include <cstring>

#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

// The loop of Simd::Algebra for registers of W floats. Every sum is one element of a register and
// takes its terms in order, so the width does not show in the result. Static: each instruction set
// has a copy of its own.

template <int W>
struct Register {
    typedef float type __attribute__((vector_size(W * 4)));
};

/// R rows of Algebra::multiply_add.
template <int W, int R>
static inline void multiply_rows(const Strided& a, int inner, const float* b, float* sums) {
    using V = typename Register<W>::type;
    constexpr int N = 16 / W;
    V acc[R][N];
    std::memcpy(acc, sums, sizeof(acc));
    for (int k = 0; k < inner; k++) {
        V v[N];
        std::memcpy(v, b + int64_t(k) * 16, sizeof(v));
        for (int r = 0; r < R; r++) {
            const float factor = a.at[r * a.row + k * a.column];
            for (int i = 0; i < N; i++) {
                acc[r][i] += v[i] * factor;
            }
        }
    }
    std::memcpy(sums, acc, sizeof(acc));
}

template <int W, int R>
static inline void multiply_all_rows(Strided a, int rows, int inner, const float* b, float* sums) {
    int r = 0;
    for (; r + R <= rows; r += R) {
        multiply_rows<W, R>(a, inner, b, sums);
        a.at += R * a.row;
        sums += R * 16;
    }
    for (; r < rows; r++) {
        multiply_rows<W, 1>(a, inner, b, sums);
        a.at += a.row;
        sums += 16;
    }
}

} // namespace faiss_vlc
