#include <algorithm>

#include <faiss_vlc/kernels/simd.h>
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

float levels(int n, const float* y, const float* b, const float* inverse_step, const float* step,
             const int16_t* most, float spread, float inverse_spread, uint8_t* level) {
    float lane[kLanes] = {};
    for (int s = 0; s < n; s += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            const float top = float(most[s + i]);
            const float residual = y[s + i] - b[s + i];
            const float wanted = residual * inverse_spread * inverse_step[s + i] + 0.5f * top;
            level[s + i] = uint8_t(round_even(std::min(top, std::max(0.0f, wanted))));
            const float decoded = (float(level[s + i]) - 0.5f * top) * (step[s + i] * spread);
            lane[i] += residual * decoded;
        }
    }
    return add_lanes(lane);
}

} // namespace

extern const EncodeLoops kEncodePortable;
const EncodeLoops kEncodePortable = {square_sum, round_scaled, quantize_row, levels};

} // namespace faiss_vlc
