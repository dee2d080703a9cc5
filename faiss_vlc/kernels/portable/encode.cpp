#include <algorithm>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/lib/numeric.h>

// The specification of the loops that the other instruction sets have too.

namespace faiss_vlc {

namespace {

double square_sum(int d, const float* x) {
    double lane[4] = {};
    int k = 0;
    for (; k + 4 <= d; k += 4) {
        for (int i = 0; i < 4; i++) {
            lane[i] += double(x[k + i]) * x[k + i];
        }
    }
    for (; k < d; k++) {
        lane[k % 4] += double(x[k]) * x[k];
    }
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

void round_scaled(int d, const float* x, float scale, int16_t* q) {
    for (int k = 0; k < d; k++) {
        q[k] = int16_t(round_even(x[k] * scale));
    }
}

void quantize_row(int d, const float* x, const float* mean, float scale, int8_t* q) {
    for (int k = 0; k < d; k++) {
        const float v = (x[k] - mean[k]) * scale;
        q[k] = int8_t(round_even(std::min(127.0f, std::max(-127.0f, v))));
    }
}

float levels(const LevelGrid& grid, const float* y, uint8_t* level) {
    const float *b = grid.base, *inverse_step = grid.inverse_step, *step = grid.step;
    const int slots = grid.slots;
    const int16_t* most = grid.most;
    const float scale = grid.scale, inverse_scale = grid.inverse_scale;
    float lane[kLanes] = {};
    for (int s = 0; s < slots; s += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            const float top = float(most[s + i]);
            const float residual = y[s + i] - b[s + i];
            const float wanted = residual * inverse_scale * inverse_step[s + i] + 0.5f * top;
            level[s + i] = uint8_t(round_even(std::min(top, std::max(0.0f, wanted))));
            const float decoded = (float(level[s + i]) - 0.5f * top) * (step[s + i] * scale);
            lane[i] += residual * decoded;
        }
    }
    return add_lanes(lane);
}

} // namespace

void portable::patch_encode(Simd& simd) {
    simd.encode.square_sum = square_sum;
    simd.encode.round_scaled = round_scaled;
    simd.encode.quantize_row = quantize_row;
    simd.encode.levels = levels;
}

} // namespace faiss_vlc
