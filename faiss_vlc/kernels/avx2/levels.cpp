#include <immintrin.h>

#include <faiss_vlc/codec/packed_levels.h>
#include <faiss_vlc/kernels/levels.h>

namespace faiss_vlc {

namespace {

__m256i load(const void* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

__m128i count_of(uint16_t shift) {
    return _mm_cvtsi32_si128(shift);
}

/// Bytes of a half of a chunk's places, shifted.
template <int Bytes>
__m256i shifted_half(const LevelChunk& chunk, const uint8_t* code, int half) {
    const uint8_t* from = code + chunk.offset;
    const uint16_t* shift = chunk.shift + half * (kChunk / 4);
    if (Bytes > 16) {
        return _mm256_srl_epi16(load(Bytes == 64 ? from + 32 * half : from), count_of(shift[0]));
    }
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_srl_epi16(bytes, count_of(shift[0]))),
                                   _mm_srl_epi16(bytes, count_of(shift[8])), 1);
}

/// Adds the products of a chunk's places.
template <int Bytes>
void add_chunk(const LevelChunk& chunk, const uint8_t* code, const int16_t* weights,
               __m256i& sums) {
    for (int half = 0; half < 2; half++) {
        const __m256i levels = _mm256_and_si256(shifted_half<Bytes>(chunk, code, half),
                                                load(chunk.mask + 32 * half));
        const __m256i even = _mm256_and_si256(levels, _mm256_set1_epi16(255));
        const __m256i odd = _mm256_srli_epi16(levels, 8);
        const int16_t* own = weights + 16 * half;
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(even, load(own)));
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(odd, load(own + kChunk / 2)));
    }
}

int32_t dot(int chunks, const LevelChunk* chunk, const uint8_t* code, const int16_t* weights) {
    __m256i sums = _mm256_setzero_si256();
    const LevelChunk* const end = chunk + chunks;
    for (; chunk < end && chunk->bytes == 64; chunk++, weights += kChunk) {
        add_chunk<64>(*chunk, code, weights, sums);
    }
    for (; chunk < end && chunk->bytes == 32; chunk++, weights += kChunk) {
        add_chunk<32>(*chunk, code, weights, sums);
    }
    for (; chunk < end; chunk++, weights += kChunk) {
        add_chunk<16>(*chunk, code, weights, sums);
    }
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

} // namespace

void avx2::patch_levels(Simd& simd) {
    simd.levels.dot = dot;
}

} // namespace faiss_vlc
