#include <immintrin.h>

#include <faiss_vlc/codec/packed_levels.h>
#include <faiss_vlc/kernels/levels.h>

namespace faiss_vlc {

namespace {

int32_t dot(int chunks, const LevelChunk* chunk, const uint8_t* code, const int16_t* weights) {
    const auto words_at = [](const uint8_t* bytes) {
        return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
    };
    __m256i sums = _mm256_setzero_si256();
    for (int c = 0; c < chunks; c++) {
        const __m256i bytes = words_at(code + chunk[c].offset);
        const __m256i shifted = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(chunk[c].shift));
        const __m256i level = _mm256_and_si256(shifted, words_at(chunk[c].mask));
        const auto* weight = reinterpret_cast<const __m256i*>(weights + c * kChunk);
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(level, _mm256_loadu_si256(weight)));
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
