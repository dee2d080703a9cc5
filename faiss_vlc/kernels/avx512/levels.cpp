#include <immintrin.h>

#include <faiss_vlc/codec/packed_levels.h>
#include <faiss_vlc/kernels/levels.h>

namespace faiss_vlc {

namespace {

/// Products of even and of odd places: latencies overlap.
struct Sums {
    __m512i even, odd;

    void add(const LevelChunk& chunk, __m512i bytes, const int16_t* weights) {
        const __m512i shifted = _mm512_srlv_epi16(bytes, _mm512_loadu_si512(chunk.shift));
        const __m512i levels = _mm512_and_si512(shifted, _mm512_loadu_si512(chunk.mask));
        even = _mm512_dpwssd_epi32(even, _mm512_and_si512(levels, _mm512_set1_epi16(255)),
                                   _mm512_loadu_si512(weights));
        odd = _mm512_dpwssd_epi32(odd, _mm512_srli_epi16(levels, 8),
                                  _mm512_loadu_si512(weights + kChunk / 2));
    }
};

int32_t dot(int chunks, const LevelChunk* chunk, const uint8_t* code, const int16_t* weights) {
    Sums sums = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    const LevelChunk* const end = chunk + chunks;
    for (; chunk < end && chunk->bytes == 64; chunk++, weights += kChunk) {
        sums.add(*chunk, _mm512_loadu_si512(code + chunk->offset), weights);
    }
    for (; chunk < end && chunk->bytes == 32; chunk++, weights += kChunk) {
        const auto* from = reinterpret_cast<const __m256i*>(code + chunk->offset);
        sums.add(*chunk, _mm512_broadcast_i64x4(_mm256_loadu_si256(from)), weights);
    }
    for (; chunk < end; chunk++, weights += kChunk) {
        const auto* from = reinterpret_cast<const __m128i*>(code + chunk->offset);
        sums.add(*chunk, _mm512_broadcast_i32x4(_mm_loadu_si128(from)), weights);
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(sums.even, sums.odd));
}

} // namespace

void avx512::patch_levels(Simd& simd) {
    simd.levels.dot = dot;
}

} // namespace faiss_vlc
