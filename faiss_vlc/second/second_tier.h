#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <faiss_vlc/axes/frame.h>
#include <faiss_vlc/second/bit_layout.h>

namespace faiss_vlc {

/// What the factors of a second code say. They are its last bytes. Where vectors are compared by
/// decoding them, that is one byte; else 2 for inner products, and 3 for L2, or 4 where codes are
/// fine.
///   byte 0     s, the length of what the first code misses: unit * 2^((byte - 128) / 8); 0 is 0
///   inner products, byte 1: alpha = <r - r^, r^> / |r^|^2, in 255 equal steps from `low` to `high`
///   L2, the others, lowest bits first: 4 bits of alpha in 15 such steps, 11 or 19 bits of the size
///   of `rest`, and its sign. The size is a small float: its bits are the upper ones of a float32
///   less 115 << 23, which has 2^-12 too much, so that 0 is 0 exactly. See SecondTier::own
struct SecondFactors {
    float scale = 0; ///< s
    float alpha = 0;
    float rest = 0;
};

/// What the unit of a second code's `rest` depends on: of its list, and of its first code.
struct SecondList {
    float square = 0; ///< of levels |r|^2 as the factors say, of words |r1|^2
    float start = 0;  ///< |a|
};

/// The second tier: levels, as those of a first code, for what the first code misses. With a an
/// anchor, r = x - a, r1 the residual that the first code decodes to and e = r - r1, it codes e in
/// one frame of axes for all lists. Levels are in units of |e|. Then r^ = r1 + e^ is known, and
///
///   L2:   |q - x|^2 ~ |q - a|^2 - 2 (1 + alpha) (<q, r1> + <q, e^>) + own
///   IP:    <q, x>   ~ <q, a> + (1 + alpha) (<q, r1> + <q, e^>)
///
/// which is the distance to a + r^ moved by what is known of r - r^: its part along r^. `own` is
/// what doesn't depend on the query, (1 + 2 alpha) |r^|^2 + 2 (1 + alpha) <a, r^>; it is kept, so
/// that a list needs nothing but |q - a|^2.
struct SecondTier {
    Frame frame; ///< `layout.axes` of them
    BitLayout layout;
    int factor_bytes = 3;     ///< 2 for inner products
    std::vector<float> sigma; ///< per axis, the deviation of e / |e|
    float unit = 1;           ///< of s, in lattice units
    float low = -1, high = 1; ///< of alpha
    /// How many of the best by the first code are ordered anew where k is 10, in a base of
    /// `refined_base` rows: with all lists probed, and with as many as suffice (the model's default
    /// nprobe); and by what power of k / 10 that grows. See count_for().
    int refined = 100;
    int refined_usual = 100;
    int64_t refined_base = 1;
    float growth = 1;
    float range_slack = 0; ///< see Query::widened

    // derived
    std::vector<float> step, inverse_step; ///< per slot
    std::vector<int16_t> most;             ///< per slot, 2^b - 1
    std::vector<float> zero;               ///< per slot
    int rest_bits = 11;                    ///< without its sign
    float start_share = 0;                 ///< 2 / sqrt(d), see rest_unit
    PackedLevels packed;

    static constexpr int kUsualFactors = 3;
    static constexpr int kLeastBytes = kUsualFactors + 1; ///< of a second code

    /// The bytes of factors for a second code of so many bytes of d dimensions.
    static int factors_of(int d, int code_size, bool inner_product);

    /// Derives what is derived.
    void finish();
    int code_size() const { return layout.code_bytes + factor_bytes; }
    int slots() const { return frame.slots(); }
    bool inner_product() const { return factor_bytes == 2; }
    bool by_decoding() const { return factor_bytes == 1; }

    /// How many to order anew for k results of n vectors. probed: how many times the default nprobe
    /// is probed.
    int64_t count_for(int64_t k, int64_t n, double probed) const;

    SecondFactors factors(const uint8_t* code) const {
        const uint8_t* at = code + layout.code_bytes;
        if (by_decoding()) {
            return {scale(at[0]), 0, 0};
        }
        if (inner_product()) {
            return {scale(at[0]), alpha(at[1]), 0};
        }
        const uint32_t both =
                at[1] | uint32_t(at[2]) << 8 | (factor_bytes > 3 ? uint32_t(at[3]) << 16 : 0u);
        return {scale(at[0]), alpha(int(both & 15)), rest(both >> 4)};
    }
    float scale(uint8_t code) const { return unit * scales_[code]; }
    uint8_t encode_scale(float length) const;
    float alpha(int code) const {
        return low + (high - low) * (float(code) / (inner_product() ? 255.0f : 15.0f));
    }
    int encode_alpha(double alpha) const;
    float rest(uint32_t code) const {
        const uint32_t size = code & ((1u << rest_bits) - 1);
        const uint32_t bits = (size << (27 - rest_bits)) + kRestBias;
        float value;
        std::memcpy(&value, &bits, 4);
        value -= kRestZero;
        return code >> rest_bits ? -value : value;
    }
    uint32_t encode_rest(double rest) const;
    /// The unit of `rest`, and `own` by factors. `rest` is what `own` has beside |r|^2: errors of
    /// l or of words (1/16 of it is plenty), what both codes miss, and products of r1, e and a,
    /// which are about 2 |x| |y| / sqrt(d) where the two have nothing to do with each other.
    float rest_unit(const SecondList& list, float scale) const {
        const float length = std::sqrt(list.square);
        return list.square * (1.0f / 16) + scale * scale +
               (scale * length + (length + scale) * list.start) * start_share;
    }
    float own(const SecondList& list, const SecondFactors& factors) const {
        return list.square + factors.rest * rest_unit(list, factors.scale);
    }

    /// out (float d, lattice coordinates) += e^.
    void decode_add(const uint8_t* code, float* out) const;

    bool same_as(const SecondTier& other) const;
    size_t memory() const;

private:
    static constexpr uint32_t kRestBias = uint32_t(127 - 12) << 23;
    static constexpr float kRestZero = 1.0f / 4096; ///< code 0 is 0 exactly
    const float* scales_ = scale_steps();           ///< of s, in `unit`
    static const float* scale_steps();
};

/// Codes second tiers. Holds scratch, so one per thread.
class SecondCoder {
public:
    explicit SecondCoder(const SecondTier& tier);

    /// anchor, residual (r) and decoded (r1) float d, in lattice coordinates. code gets code_size()
    /// bytes.
    void encode(const float* anchor, const float* residual, const float* decoded,
                const SecondList& list, uint8_t* code);

    double alpha = 0; ///< of the last encode, not rounded

private:
    const SecondTier& tier_;
    std::vector<float> error_, turned_, found_;
    std::vector<uint8_t> level_;
};

/// A query's side of levels: weights for packed codes, as integers whose sums are exact.
class LevelWeights {
public:
    LevelWeights(const PackedLevels& packed, int slots, const int16_t* most);

    /// Weights y_s step_s (float slots each).
    void set(const float* y, const float* step);
    /// The sum over slots of (level - most / 2) y step, of one packed code, of which 15 bytes
    /// behind are readable.
    float dot(const uint8_t* code) const {
        const int32_t sum =
                dot_(int(packed_.chunks.size()), packed_.chunks.data(), code, weight_.data());
        return float((double(sum) - half_) * unit_);
    }

private:
    const PackedLevels& packed_;
    int slots_;
    const int16_t* most_;
    struct Place {
        int32_t place, slot, up;
    };
    std::vector<Place> places_;    ///< those with levels
    std::vector<float> wide_most_; ///< per slot
    std::vector<float> product_;
    std::vector<int16_t> rounded_;
    int32_t (*dot_)(int chunks, const LevelChunk* chunk, const uint8_t* code,
                    const int16_t* weights); ///< see Simd::Levels
    float most_up_ = 1;                      ///< what pieces are taken times
    std::vector<int16_t> weight_;
    double unit_ = 0, half_ = 0;
};

} // namespace faiss_vlc
