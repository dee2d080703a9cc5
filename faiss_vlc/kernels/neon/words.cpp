#include <arm_neon.h>
#include <cmath>

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/neon/estimates.h>
#include <faiss_vlc/kernels/word_residual.h>

// A table of 256 bytes is four times four registers, and a look-up in four of them leaves codes
// beyond them to the next. Entries of 16 bits lie in two planes: the low bytes of a block's 256,
// then the high ones.

namespace faiss_vlc {

namespace {

float residual(int n, const float* y, const float* base, float* out) {
    return word_residual(n, y, base, out);
}

void products(const WordsView& book, const int16_t* x, int32_t* dots) {
    constexpr int kWide = 8; // registers: 32 words at a time
    for (int b = 0; b < book.blocks; b++) {
        for (int first = 0; first < kWords; first += kWide * 4) {
            int32x4_t acc[kWide];
            for (int i = 0; i < kWide; i++) {
                acc[i] = vdupq_n_s32(0);
            }
            for (int s = book.slot[b]; s < book.slot[b + 1]; s += 2) {
                const int16_t* words = book.words + int64_t(s) * kWords + first * 2;
                for (int i = 0; i < kWide; i += 2) {
                    const int16x8x2_t pairs = vld2q_s16(words + i * 8);
                    acc[i] = vmlal_n_s16(acc[i], vget_low_s16(pairs.val[0]), x[s]);
                    acc[i] = vmlal_n_s16(acc[i], vget_low_s16(pairs.val[1]), x[s + 1]);
                    acc[i + 1] = vmlal_n_s16(acc[i + 1], vget_high_s16(pairs.val[0]), x[s]);
                    acc[i + 1] = vmlal_n_s16(acc[i + 1], vget_high_s16(pairs.val[1]), x[s + 1]);
                }
            }
            for (int i = 0; i < kWide; i++) {
                vst1q_s32(dots + b * kWords + first + i * 4, acc[i]);
            }
        }
    }
}

void values(const WordsView& book, const int16_t* x, const float* penalty, float share,
            float* values, ValueRange* ranges) {
    const float32x4_t by = vdupq_n_f32(share);
    for (int b = 0; b < book.blocks; b++) {
        int32_t dots[kWords];
        products({1, book.slot + b, book.words}, x, dots);
        float32x4_t low = vdupq_n_f32(INFINITY), high = vdupq_n_f32(-INFINITY);
        for (int w = 0; w < kWords; w += 4) {
            float32x4_t value = vcvtq_f32_s32(vld1q_s32(dots + w));
            if (penalty) {
                value = vsubq_f32(value, vmulq_f32(by, vld1q_f32(penalty + b * kWords + w)));
            }
            vst1q_f32(values + b * kWords + w, value);
            low = vminq_f32(low, value);
            high = vmaxq_f32(high, value);
        }
        ranges[b] = {vminvq_f32(low), vmaxvq_f32(high)};
    }
}

void entries(int blocks, const float* values, const ValueRange* ranges, float step,
             uint8_t* tables) {
    for (int b = 0; b < blocks; b++) {
        const float32x4_t least = vdupq_n_f32(ranges[b].least);
        const auto rounded = [&](const float* from) { // 8 values
            const auto four = [&](const float* at) {
                return vmovn_u32(
                        vcvtnq_u32_f32(vmulq_n_f32(vsubq_f32(vld1q_f32(at), least), step)));
            };
            return vreinterpretq_u8_u16(vcombine_u16(four(from), four(from + 4)));
        };
        uint8_t* low = tables + int64_t(b) * 2 * kWords;
        for (int w = 0; w < kWords; w += 16) {
            const uint8x16_t some = rounded(values + b * kWords + w);
            const uint8x16_t more = rounded(values + b * kWords + w + 8);
            vst1q_u8(low + w, vuzp1q_u8(some, more));
            vst1q_u8(low + kWords + w, vuzp2q_u8(some, more));
        }
    }
}

/// The entries of 16 codes in a plane of 256.
uint8x16_t look_up(const uint8_t* plane, uint8x16_t codes) {
    uint8x16_t found = vqtbl4q_u8(vld1q_u8_x4(plane), codes);
    for (int part = 1; part < 4; part++) {
        found = vqtbx4q_u8(found, vld1q_u8_x4(plane + 64 * part),
                           vsubq_u8(codes, vdupq_n_u8(uint8_t(64 * part))));
    }
    return found;
}

/// `B` blocks of `width` vectors, 16 but for the last one of a list: they share a table's loads.
template <int B>
void sum_some(const ListScan& list, const uint8_t* blocks, int width, int32_t* acc) {
    const Layout& layout = *list.layout;
    const int of_vector = layout.blocks();
    const int64_t stride = int64_t(layout.code_size()) * width;
    uint16x8_t sums[B][2];
    for (int i = 0; i < B; i++) {
        sums[i][0] = sums[i][1] = vdupq_n_u16(0);
    }
    for (int b = 0; b < of_vector; b++) {
        const uint8_t* row = blocks + int64_t(b) * width;
        const uint8_t* table = list.tables + int64_t(b) * 2 * kWords;
        for (int i = 0; i < B; i++) {
            const uint8x16_t codes = vld1q_u8(row + i * stride);
            const uint8x16_t low = look_up(table, codes);
            const uint8x16_t high = look_up(table + kWords, codes);
            sums[i][0] = vaddq_u16(sums[i][0], vreinterpretq_u16_u8(vzip1q_u8(low, high)));
            sums[i][1] = vaddq_u16(sums[i][1], vreinterpretq_u16_u8(vzip2q_u8(low, high)));
        }
    }
    for (int i = 0; i < B; i++) {
        for (int half = 0; half < 2; half++) {
            int32_t* to = acc + i * kBlock + half * 8;
            const uint16x8_t eight = sums[i][half];
            vst1q_s32(to, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(eight))));
            vst1q_s32(to + 4, vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(eight))));
        }
    }
}

void sums(const ListScan& list, const uint8_t* blocks, int count, int32_t* acc) {
    const int64_t code_size = list.layout->code_size();
    int first = 0;
    for (; first + 4 * kBlock <= count; first += 4 * kBlock) {
        sum_some<4>(list, blocks + first * code_size, kBlock, acc + first);
    }
    for (; first < count; first += kBlock) {
        const int width = count - first < kBlock ? count - first : kBlock;
        sum_some<1>(list, blocks + first * code_size, width, acc + first);
    }
}

uint32_t distances(const ListScan& list, const int32_t* acc, const uint8_t* factors, int count,
                   float bound, float* distance) {
    uint32_t within = 0;
    for (int v = 0; v < kBlock; v += 4) {
        within |= neon::put_distances(list, bound, neon::load_factors(factors + 2 * v),
                                      vld1q_s32(acc + v), distance + v)
                  << v;
    }
    return within & ((1u << count) - 1);
}

} // namespace

void neon::patch_words(Simd& simd) {
    simd.scan.distances = distances;
    simd.words.residual = residual;
    simd.words.products = products;
    simd.words.values = values;
    simd.words.entries = entries;
    simd.words.sums = sums;
}

} // namespace faiss_vlc
