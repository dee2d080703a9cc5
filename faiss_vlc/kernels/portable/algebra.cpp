#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/multiply.h>

namespace faiss_vlc {

namespace {

void multiply_add(const Strided& a, int rows, int inner, const float* b, float* sums) {
    multiply_all_rows<4, 2>(a, rows, inner, b, sums);
}

} // namespace

void portable::patch_algebra(Simd& simd) {
    simd.algebra.multiply_add = multiply_add;
}

} // namespace faiss_vlc
