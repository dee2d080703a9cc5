#pragma once

#include <cstdint>
#include <cstring>

namespace faiss_vlc {

/// IEEE binary16, to nearest with ties to even; overflow gives infinity.
inline uint16_t float_to_half(float f) {
    uint32_t x;
    std::memcpy(&x, &f, 4);
    const uint32_t sign = (x >> 16) & 0x8000;
    const uint32_t magnitude = x & 0x7fffffff;
    if (magnitude >= 0x7f800000) {
        return uint16_t(sign | 0x7c00 | (magnitude > 0x7f800000 ? 0x200 : 0));
    }
    const int exponent = int(magnitude >> 23) - 127;
    if (exponent > 15) {
        return uint16_t(sign | 0x7c00);
    }
    if (exponent < -25) {
        return uint16_t(sign);
    }
    const bool normal = exponent >= -14;
    const uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    const int drop = normal ? 13 : -exponent - 1;
    uint32_t kept = mantissa >> drop;
    const uint32_t rest = mantissa & ((1u << drop) - 1);
    const uint32_t tie = 1u << (drop - 1);
    kept += rest > tie || (rest == tie && (kept & 1));
    // A carry out of the mantissa moves into the exponent by itself.
    return uint16_t(sign | (normal ? kept + (uint32_t(exponent + 14) << 10) : kept));
}

inline float half_to_float(uint16_t h) {
    const uint32_t sign = uint32_t(h & 0x8000) << 16;
    const uint32_t exponent = (h >> 10) & 31;
    const uint32_t mantissa = h & 0x3ff;
    float f;
    if (exponent == 0) {
        f = float(mantissa) * (1.0f / 16777216.0f);
        return sign ? -f : f;
    }
    const uint32_t x =
            sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | (mantissa << 13);
    std::memcpy(&f, &x, 4);
    return f;
}

} // namespace faiss_vlc
