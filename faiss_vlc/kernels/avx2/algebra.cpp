#include <immintrin.h>

#include <cstring>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/multiply.h>

namespace faiss_vlc {

namespace {

void multiply_add(const Strided& a, int rows, int inner, const float* b, float* sums) {
    multiply_all_rows<8, 4>(a, rows, inner, b, sums);
}

/// Of each tile the pairs of rows, of each of these 16 components of both. The last row of an odd
/// number stands beside zeros.
void pack_pairs(int tiles, int rows, const int8_t* const* x, const int8_t* const* a,
                int16_t* packed) {
    const auto wide = [](const int8_t* at) {
        return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
    };
    const int pairs = (rows + 1) / 2;
    for (int p = 0; p < pairs; p++) {
        const int8_t* const* x2 = x + 2 * p;
        const int8_t* const* a2 = a + 2 * p;
        const bool both = 2 * p + 1 < rows;
        for (int k = 0; k < tiles * 16; k += 8) {
            const __m256i first = _mm256_sub_epi32(wide(x2[0] + k), wide(a2[0] + k));
            const __m256i second = both ? _mm256_sub_epi32(wide(x2[1] + k), wide(a2[1] + k))
                                        : _mm256_setzero_si256();
            const __m256i mixed = _mm256_blend_epi16(first, _mm256_slli_epi32(second, 16), 0xaa);
            int16_t* to = packed + (int64_t(k / 16) * pairs + p) * 32 + k % 16 * 2;
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), mixed);
        }
    }
}

constexpr int kSide = 4; ///< components whose products with those of a tile are in registers

void square(int pairs, const int16_t* left, const int16_t* right, int64_t side, int32_t* sums) {
    __m256i acc[kSide][2];
    for (int r = 0; r < kSide; r++) {
        for (int n = 0; n < 2; n++) {
            acc[r][n] =
                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + r * side + n * 8));
        }
    }
    for (int p = 0; p < pairs; p++, left += 32, right += 32) {
        const __m256i b[2] = {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(right)),
                              _mm256_loadu_si256(reinterpret_cast<const __m256i*>(right + 16))};
        for (int r = 0; r < kSide; r++) {
            int32_t two;
            std::memcpy(&two, left + 2 * r, 4);
            for (int n = 0; n < 2; n++) {
                acc[r][n] = _mm256_add_epi32(acc[r][n],
                                             _mm256_madd_epi16(b[n], _mm256_set1_epi32(two)));
            }
        }
    }
    for (int r = 0; r < kSide; r++) {
        for (int n = 0; n < 2; n++) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * side + n * 8), acc[r][n]);
        }
    }
}

void add_squares(int tiles, int rows, const int8_t* const* x, const int8_t* const* a, int16_t* room,
                 int32_t* sums) {
    const int64_t side = int64_t(tiles) * 16;
    const int pairs = (rows + 1) / 2;
    pack_pairs(tiles, rows, x, a, room);
    for (int k = 0; k < tiles * 16; k += kSide) {
        const int16_t* left = room + int64_t(k / 16) * pairs * 32 + k % 16 * 2;
        for (int t = k / 16; t < tiles; t++) {
            square(pairs, left, room + int64_t(t) * pairs * 32, side, sums + k * side + t * 16);
        }
    }
}

} // namespace

void avx2::patch_algebra(Simd& simd) {
    simd.algebra.multiply_add = multiply_add;
    simd.algebra.add_squares = add_squares;
}

} // namespace faiss_vlc
