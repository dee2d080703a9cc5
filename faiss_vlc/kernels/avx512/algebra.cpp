#include <immintrin.h>

#include <cstring>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/multiply.h>

namespace faiss_vlc {

namespace {

void multiply_add(const Strided& a, int rows, int inner, const float* b, float* sums) {
    multiply_all_rows<16, 8>(a, rows, inner, b, sums);
}

void differences(int tiles, int pairs, const int8_t* const* x, const int8_t* const* a,
                 int16_t* packed) {
    const auto wide = [](const int8_t* at) {
        return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    };
    for (int p = 0; p < pairs; p++, x += 2, a += 2) {
        for (int t = 0; t < tiles; t++) {
            const __m512i first = _mm512_sub_epi32(wide(x[0] + t * 16), wide(a[0] + t * 16));
            const __m512i second = _mm512_sub_epi32(wide(x[1] + t * 16), wide(a[1] + t * 16));
            const __m512i both =
                    _mm512_mask_mov_epi16(first, 0xaaaaaaaa, _mm512_slli_epi32(second, 16));
            _mm512_storeu_si512(packed + (int64_t(t) * pairs + p) * 32, both);
        }
    }
}

constexpr int kSide = 8; ///< components whose products are summed in registers ...

/// ... with those of N tiles. left: of the first pair of rows; right: N tiles.
template <int N>
void square(int pairs, const int16_t* left, const int16_t* right, int64_t side, int32_t* sums) {
    __m512i acc[kSide][N];
    for (int r = 0; r < kSide; r++) {
        for (int n = 0; n < N; n++) {
            acc[r][n] = _mm512_loadu_si512(sums + r * side + n * 16);
        }
    }
    for (int p = 0; p < pairs; p++, left += 32, right += 32) {
        __m512i b[N];
        for (int n = 0; n < N; n++) {
            b[n] = _mm512_loadu_si512(right + int64_t(n) * pairs * 32);
        }
        for (int r = 0; r < kSide; r++) {
            int32_t two;
            std::memcpy(&two, left + 2 * r, 4);
            for (int n = 0; n < N; n++) {
                acc[r][n] = _mm512_dpwssd_epi32(acc[r][n], b[n], _mm512_set1_epi32(two));
            }
        }
    }
    for (int r = 0; r < kSide; r++) {
        for (int n = 0; n < N; n++) {
            _mm512_storeu_si512(sums + r * side + n * 16, acc[r][n]);
        }
    }
}

void squares(int tiles, int pairs, const int16_t* packed, int32_t* sums) {
    const int64_t side = int64_t(tiles) * 16;
    for (int k = 0; k < tiles * 16; k += kSide) {
        const int16_t* left = packed + int64_t(k / 16) * pairs * 32 + k % 16 * 2;
        for (int t = k / 16; t < tiles;) {
            const int16_t* right = packed + int64_t(t) * pairs * 32;
            int32_t* to = sums + k * side + t * 16;
            const int some = tiles - t < 3 ? tiles - t : 3;
            (some == 3   ? square<3>
             : some == 2 ? square<2>
                         : square<1>)(pairs, left, right, side, to);
            t += some;
        }
    }
}

} // namespace

void avx512::patch_algebra(Simd& simd) {
    simd.algebra.multiply_add = multiply_add;
    simd.algebra.differences = differences;
    simd.algebra.squares = squares;
}

} // namespace faiss_vlc
