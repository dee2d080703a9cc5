#pragma once

#include <arm_neon.h>

#include <faiss_vlc/kernels/list_scan.h>

// From the sums of 4 vectors to their distances, see list_scan.h. Whatever codes the sums are of,
// this end of a scan is the same.

namespace faiss_vlc::neon {

/// The factors of 4 vectors.
struct Factors {
    float32x4_t length;
    uint32x4_t gamma;
};

static inline Factors load_factors(const uint8_t* from) {
    const uint32x4_t word = vmovl_u16(vreinterpret_u16_u8(vld1_u8(from)));
    const uint32x4_t bits =
            vaddq_u32(vshlq_n_u32(vshrq_n_u32(word, 5), 16), vdupq_n_u32(kLengthBias));
    return {vsubq_f32(vreinterpretq_f32_u32(bits), vdupq_n_f32(kLengthZero)),
            vandq_u32(word, vdupq_n_u32(kGammaSteps - 1))};
}

/// A table of 32 floats looked up by 4 indices.
static inline float32x4_t look_up(const float* table, uint32x4_t index) {
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(table);
    // the 4 bytes of entry i are the bytes 4 i to 4 i + 3 of the table, 64 in each half
    const uint8x16_t at =
            vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), index, 0x04040404));
    const uint8x16_t low = vqtbl4q_u8(vld1q_u8_x4(bytes), at);
    const uint8x16_t both = vqtbx4q_u8(low, vld1q_u8_x4(bytes + 64), vsubq_u8(at, vdupq_n_u8(64)));
    return vreinterpretq_f32_u8(both);
}

/// A bit for each lane that is all ones.
static inline uint32_t bits_of(uint32x4_t lanes) {
    static const uint32_t kBit[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(lanes, vld1q_u32(kBit)));
}

/// dot2 of 4 sums.
static inline float32x4_t dot2_of(int32x4_t sums, int32_t half) {
    return vcvtq_f32_s32(vsubq_s32(vshlq_n_s32(sums, 1), vdupq_n_s32(half)));
}

/// Writes 4 distances by dot2; returns a bit for each within the bound.
static inline uint32_t put_estimates(const ListScan& list, float bound, const Factors& factors,
                                     float32x4_t dot2, float* to) {
    const float32x4_t l = factors.length;
    float32x4_t add = look_up(list.add, factors.gamma);
    float32x4_t mul = look_up(list.mul, factors.gamma);
    const uint32x4_t far = vcgtq_f32(l, vdupq_n_f32(list.usual_length));
    if (vmaxvq_u32(far) != 0) {
        const float32x4_t own =
                vmulq_f32(vdupq_n_f32(list.far_add), look_up(list.far, factors.gamma));
        add = vbslq_f32(far, own, add);
        mul = vbslq_f32(far, vdupq_n_f32(list.far_mul), mul);
    }
    const float32x4_t rest = vsubq_f32(vmulq_f32(l, add), vmulq_f32(mul, dot2));
    const float32x4_t estimate = vaddq_f32(vdupq_n_f32(list.list_distance), vmulq_f32(l, rest));
    float32x4_t least =
            vsubq_f32(vdupq_n_f32(list.reach), vmulq_f32(vdupq_n_f32(list.length_unit), l));
    if (!list.inner_product) {
        least = vmulq_f32(least, least);
    }
    const float32x4_t distance = vbslq_f32(vcgtq_f32(least, estimate), least, estimate);
    vst1q_f32(to, distance);
    return bits_of(vcleq_f32(distance, vdupq_n_f32(bound)));
}

/// The same by the sums.
static inline uint32_t put_distances(const ListScan& list, float bound, const Factors& factors,
                                     int32x4_t sums, float* to) {
    return put_estimates(list, bound, factors, dot2_of(sums, list.half), to);
}

/// The same by the sums of two planes.
static inline uint32_t put_fine_distances(const ListScan& list, float bound, const Factors& factors,
                                          int32x4_t sums, int32x4_t fine, float* to) {
    const float32x4_t rest = vmulq_f32(dot2_of(fine, list.fine_half), vdupq_n_f32(kFineUnit));
    return put_estimates(list, bound, factors, vaddq_f32(dot2_of(sums, list.half), rest), to);
}

} // namespace faiss_vlc::neon
