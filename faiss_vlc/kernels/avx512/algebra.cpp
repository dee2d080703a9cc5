#include <immintrin.h>

#include <cstring>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/multiply.h>

namespace faiss_vlc {

namespace {

void multiply_add(const Strided& a, int rows, int inner, const float* b, float* sums) {
    multiply_all_rows<16, 8>(a, rows, inner, b, sums);
}

constexpr int kSide = 8; ///< components whose products with others are summed in registers

/// Differences as products take them: of each tile the steps, of each of these 16 components of
/// `kRows` rows. Behind the last row are zeros.

/// Differences of 16 bits, two rows to a step.
struct Wide {
    static constexpr int kRows = 2;

    static __m512i pack(int rows, const int8_t* const* x, const int8_t* const* a, int k) {
        const auto difference = [&](int r) {
            return _mm512_sub_epi32(_mm512_cvtepi8_epi32(_mm_loadu_si128(
                                            reinterpret_cast<const __m128i*>(x[r] + k))),
                                    _mm512_cvtepi8_epi32(_mm_loadu_si128(
                                            reinterpret_cast<const __m128i*>(a[r] + k))));
        };
        const __m512i second = rows > 1 ? difference(1) : _mm512_setzero_si512();
        return _mm512_mask_mov_epi16(difference(0), 0xaaaaaaaa, _mm512_slli_epi32(second, 16));
    }
    static __m512i right(__m512i packed) { return packed; }
    static __m512i add(__m512i sums, __m512i right, int32_t left) {
        return _mm512_dpwssd_epi32(sums, right, _mm512_set1_epi32(left));
    }
    static void find_excess(int, const int8_t*, int32_t* excess) {
        std::memset(excess, 0, kSide * sizeof(*excess));
    }
};

/// Of 8 bits, four rows to a step. The instruction wants one side unsigned: 128 is added to it, and
/// so 128 times the sum of the other to what comes out.
struct Narrow {
    static constexpr int kRows = 4;

    static __m512i pack(int rows, const int8_t* const* x, const int8_t* const* a, int k) {
        __m128i u[kRows];
        for (int r = 0; r < kRows; r++) {
            u[r] = r < rows ? _mm_sub_epi8(
                                      _mm_loadu_si128(reinterpret_cast<const __m128i*>(x[r] + k)),
                                      _mm_loadu_si128(reinterpret_cast<const __m128i*>(a[r] + k)))
                            : _mm_setzero_si128();
        }
        const __m256i first =
                _mm256_set_m128i(_mm_unpackhi_epi8(u[0], u[1]), _mm_unpacklo_epi8(u[0], u[1]));
        const __m256i second =
                _mm256_set_m128i(_mm_unpackhi_epi8(u[2], u[3]), _mm_unpacklo_epi8(u[2], u[3]));
        return _mm512_mask_mov_epi16(_mm512_cvtepu16_epi32(first), 0xaaaaaaaa,
                                     _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
    }
    static __m512i right(__m512i packed) {
        return _mm512_xor_si512(packed, _mm512_set1_epi8(-128));
    }
    static __m512i add(__m512i sums, __m512i right, int32_t left) {
        return _mm512_dpbusd_epi32(sums, right, _mm512_set1_epi32(left));
    }
    static void find_excess(int steps, const int8_t* left, int32_t* excess) {
        __m256i sums = _mm256_setzero_si256();
        for (int s = 0; s < steps; s++) {
            const __m256i v =
                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(left + int64_t(s) * 64));
            sums = _mm256_dpbusd_epi32(sums, _mm256_set1_epi8(1), v);
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(excess), _mm256_slli_epi32(sums, 7));
    }
};

/// Products of kSide components with those of N tiles. left: of the first step; right: N tiles;
/// excess: what Kind adds.
template <class Kind, int N>
void square(int steps, const int8_t* left, const int8_t* right, const int32_t* excess, int64_t side,
            int32_t* sums) {
    __m512i acc[kSide][N];
    for (int r = 0; r < kSide; r++) {
        for (int n = 0; n < N; n++) {
            acc[r][n] = _mm512_loadu_si512(sums + r * side + n * 16);
        }
    }
    for (int s = 0; s < steps; s++, left += 64, right += 64) {
        __m512i b[N];
        for (int n = 0; n < N; n++) {
            b[n] = Kind::right(_mm512_loadu_si512(right + int64_t(n) * steps * 64));
        }
        for (int r = 0; r < kSide; r++) {
            int32_t four;
            std::memcpy(&four, left + 4 * r, 4);
            for (int n = 0; n < N; n++) {
                acc[r][n] = Kind::add(acc[r][n], b[n], four);
            }
        }
    }
    for (int r = 0; r < kSide; r++) {
        for (int n = 0; n < N; n++) {
            _mm512_storeu_si512(sums + r * side + n * 16,
                                _mm512_sub_epi32(acc[r][n], _mm512_set1_epi32(excess[r])));
        }
    }
}

template <class Kind>
void add_squares_of(int tiles, int rows, const int8_t* const* x, const int8_t* const* a,
                    int8_t* packed, int32_t* sums) {
    const int steps = (rows + Kind::kRows - 1) / Kind::kRows;
    for (int s = 0; s < steps; s++) {
        const int first = s * Kind::kRows;
        for (int t = 0; t < tiles; t++) {
            _mm512_store_si512(packed + (int64_t(t) * steps + s) * 64,
                               Kind::pack(rows - first, x + first, a + first, t * 16));
        }
    }
    const int64_t side = int64_t(tiles) * 16;
    for (int k = 0; k < tiles * 16; k += kSide) {
        const int8_t* left = packed + int64_t(k / 16) * steps * 64 + k % 16 * 4;
        int32_t excess[kSide];
        Kind::find_excess(steps, left, excess);
        for (int t = k / 16; t < tiles;) {
            const int8_t* right = packed + int64_t(t) * steps * 64;
            int32_t* to = sums + k * side + t * 16;
            const int some = tiles - t < 3 ? tiles - t : 3;
            (some == 3   ? square<Kind, 3>
             : some == 2 ? square<Kind, 2>
                         : square<Kind, 1>)(steps, left, right, excess, side, to);
            t += some;
        }
    }
}

/// Whether the differences of `size` components fit in 8 bits.
bool is_narrow(int size, const int8_t* x, const int8_t* a) {
    __mmask64 beyond = 0;
    for (int k = 0; k < size; k += 64) {
        const __mmask64 lanes = size - k >= 64 ? ~__mmask64(0) : (__mmask64(1) << (size - k)) - 1;
        const __m512i v = _mm512_maskz_loadu_epi8(lanes, x + k);
        const __m512i w = _mm512_maskz_loadu_epi8(lanes, a + k);
        beyond |= _mm512_cmpneq_epi8_mask(_mm512_subs_epi8(v, w), _mm512_sub_epi8(v, w));
    }
    return beyond == 0;
}

void add_squares(int tiles, int rows, const int8_t* const* x, const int8_t* const* a, int16_t* room,
                 int32_t* sums) {
    const int8_t *narrow_x[kSquareRows], *narrow_a[kSquareRows];
    const int8_t *wide_x[kSquareRows], *wide_a[kSquareRows];
    int narrow = 0, wide = 0;
    for (int r = 0; r < rows; r++) {
        if (is_narrow(tiles * 16, x[r], a[r])) {
            narrow_x[narrow] = x[r];
            narrow_a[narrow++] = a[r];
        } else {
            wide_x[wide] = x[r];
            wide_a[wide++] = a[r];
        }
    }
    int8_t* packed = reinterpret_cast<int8_t*>(room);
    add_squares_of<Narrow>(tiles, narrow, narrow_x, narrow_a, packed, sums);
    add_squares_of<Wide>(tiles, wide, wide_x, wide_a, packed, sums);
}

} // namespace

void avx512::patch_algebra(Simd& simd) {
    simd.algebra.multiply_add = multiply_add;
    simd.algebra.add_squares = add_squares;
}

} // namespace faiss_vlc
