#include <faiss_vlc/codec/packed_levels.h>
#include <faiss_vlc/kernels/levels.h>

namespace faiss_vlc {

namespace {

int32_t dot(int chunks, const LevelChunk* chunk, const uint8_t* code, const int16_t* weights) {
    int32_t sum = 0;
    for (int c = 0; c < chunks; c++, weights += kChunk) {
        for (int place = 0; place < kChunk; place++) {
            sum += chunk[c].level(code, place) * weights[weight_at(size_t(place))];
        }
    }
    return sum;
}

} // namespace

void portable::patch_levels(Simd& simd) {
    simd.levels.dot = dot;
}

} // namespace faiss_vlc
