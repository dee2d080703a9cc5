#include <immintrin.h>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>

// A table of 256 bytes is four registers, and a permutation of bytes looks up half of it for 64
// vectors at once. Entries of 16 bits lie in two planes: the low bytes of a block's 256, then the
// high ones.

namespace faiss_vlc {

namespace {

/// The entries of 16 values: 16 bits of each number.
__m512i round_values(const float* values, __m512 least, __m512 step) {
    const __m512 scaled = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(values), least), step);
    return _mm512_cvtps_epi32(scaled);
}

void entries(int blocks, const float* values, const ValueRange* ranges, float step,
             uint8_t* tables) {
    const __m512 by = _mm512_set1_ps(step);
    // byte 4 i + j of what follows is that of value i + 16 j
    alignas(64) uint8_t place[64];
    for (int i = 0; i < 64; i++) {
        place[i] = uint8_t(i % 16 * 4 + i / 16);
    }
    const __m512i order = _mm512_load_si512(place);
    const __m512i even = _mm512_set1_epi16(255);
    for (int b = 0; b < blocks; b++) {
        const __m512 least = _mm512_set1_ps(ranges[b].least);
        for (int w = 0; w < kWords; w += 64) {
            const float* from = values + b * kWords + w;
            const __m512i ac =
                    _mm512_or_si512(round_values(from, least, by),
                                    _mm512_slli_epi32(round_values(from + 32, least, by), 16));
            const __m512i bd =
                    _mm512_or_si512(round_values(from + 16, least, by),
                                    _mm512_slli_epi32(round_values(from + 48, least, by), 16));
            // a byte of ac where `even` is set, of bd elsewhere
            constexpr int kChoose = 0xca;
            const __m512i low =
                    _mm512_ternarylogic_epi32(even, ac, _mm512_slli_epi16(bd, 8), kChoose);
            const __m512i high =
                    _mm512_ternarylogic_epi32(even, _mm512_srli_epi16(ac, 8), bd, kChoose);
            uint8_t* to = tables + int64_t(b) * 2 * kWords + w;
            _mm512_storeu_si512(to, _mm512_permutexvar_epi8(order, low));
            _mm512_storeu_si512(to + kWords, _mm512_permutexvar_epi8(order, high));
        }
    }
}

/// The entries of 64 codes in a plane of 256.
__m512i look_up(const uint8_t* plane, __m512i codes, __mmask64 upper) {
    const __m512i below = _mm512_permutex2var_epi8(_mm512_loadu_si512(plane), codes,
                                                   _mm512_loadu_si512(plane + 64));
    const __m512i above = _mm512_permutex2var_epi8(_mm512_loadu_si512(plane + 128), codes,
                                                   _mm512_loadu_si512(plane + 192));
    return _mm512_mask_blend_epi8(upper, below, above);
}

__m128i load_row(const uint8_t* row) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
}

/// `B` blocks of `width` vectors, 16 but for the last one of a list.
template <int B>
void sum_some(const ListScan& list, const uint8_t* blocks, int width, int32_t* acc) {
    const Layout& layout = *list.layout;
    const int of_vector = layout.blocks();
    const int64_t stride = int64_t(layout.code_size()) * width;
    __m512i even = _mm512_setzero_si512(); // 16-bit sums of vectors 0-7, 16-23, ...
    __m512i odd = _mm512_setzero_si512();
    for (int b = 0; b < of_vector; b++) {
        const uint8_t* row = blocks + int64_t(b) * width;
        __m512i codes = _mm512_castsi128_si512(load_row(row));
        if (B > 1) {
            codes = _mm512_inserti32x4(codes, load_row(row + stride), 1);
        }
        if (B > 2) {
            codes = _mm512_inserti32x4(codes, load_row(row + 2 * stride), 2);
        }
        if (B > 3) {
            codes = _mm512_inserti32x4(codes, load_row(row + 3 * stride), 3);
        }
        const uint8_t* table = list.tables + int64_t(b) * 2 * kWords;
        const __mmask64 upper = _mm512_movepi8_mask(codes);
        const __m512i low = look_up(table, codes, upper);
        const __m512i high = look_up(table + kWords, codes, upper);
        even = _mm512_add_epi16(even, _mm512_unpacklo_epi8(low, high));
        odd = _mm512_add_epi16(odd, _mm512_unpackhi_epi8(low, high));
    }
    alignas(64) uint16_t sums[2][32];
    _mm512_store_si512(sums[0], even);
    _mm512_store_si512(sums[1], odd);
    for (int i = 0; i < B; i++) {
        for (int half = 0; half < 2; half++) {
            const __m128i eight =
                    _mm_load_si128(reinterpret_cast<const __m128i*>(sums[half] + i * 8));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + i * 16 + half * 8),
                                _mm256_cvtepu16_epi32(eight));
        }
    }
}

void sums(const ListScan& list, const uint8_t* blocks, int count, int32_t* acc) {
    const int whole = count / kBlock * kBlock;
    if (whole == 64) {
        sum_some<4>(list, blocks, kBlock, acc);
    } else if (whole == 48) {
        sum_some<3>(list, blocks, kBlock, acc);
    } else if (whole == 32) {
        sum_some<2>(list, blocks, kBlock, acc);
    } else if (whole == 16) {
        sum_some<1>(list, blocks, kBlock, acc);
    }
    if (whole < count) {
        sum_some<1>(list, blocks + int64_t(whole) * list.layout->code_size(), count - whole,
                    acc + whole);
    }
}

} // namespace

void avx512_vbmi::patch_words(Simd& simd) {
    simd.words.entries = entries;
    simd.words.sums = sums;
}

} // namespace faiss_vlc
