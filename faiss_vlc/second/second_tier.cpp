#include <faiss_vlc/second/second_tier.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

namespace {

constexpr int kUnitScale = 128; ///< code of s = unit

/// 2^((code - 128) / 8)
std::array<float, 256> make_scales() {
    constexpr double kEighths[8] = {1.0,
                                    1.0905077326652577,
                                    1.189207115002721,
                                    1.2968395546510096,
                                    1.4142135623730951,
                                    1.5422108254079407,
                                    1.681792830507429,
                                    1.8340080864093424};
    std::array<float, 256> scales{};
    for (int code = 1; code < 256; code++) {
        const int eighths = code - kUnitScale + 256; // of 0 and more
        scales[size_t(code)] = float(std::ldexp(kEighths[eighths % 8], eighths / 8 - 32));
    }
    return scales;
}

} // namespace

const float* SecondTier::scale_steps() {
    static const std::array<float, 256> steps = make_scales();
    return steps.data();
}

void SecondTier::finish() {
    const int axes = layout.axes();
    std::vector<int> axis(static_cast<size_t>(axes));
    std::iota(axis.begin(), axis.end(), 0);
    frame.arrange(axis);
    const size_t n = size_t(slots());
    step.assign(n, 0);
    inverse_step.assign(n, 0);
    most.assign(n, 0);
    zero.assign(n, 0);
    for (size_t s = 0; s < axis.size(); s++) {
        const int width = layout.width[s];
        if (width > 0) {
            most[s] = int16_t((1 << width) - 1);
            step[s] = sigma[s] * float(kUniformStep[width]);
            inverse_step[s] = step[s] > 0 ? 1.0f / step[s] : 0.0f;
        }
    }
    rest_bits = factor_bytes > 3 ? 19 : 11;
    start_share = 2.0f / std::sqrt(float(frame.d));
    packed = layout.packed();
}

int64_t SecondTier::count_for(int64_t k, int64_t n, double probed) const {
    constexpr double kBasePower = 0.36;                      // measured: docs/decisions/0074
    const double fourth_root = std::sqrt(std::sqrt(probed)); // measured: docs/decisions/0079
    const double for_ten = std::min(double(refined), double(refined_usual) * fourth_root);
    const double times =
            stable_exp(double(growth) * stable_log(std::max(1.0, double(k) / 10)) +
                       kBasePower * stable_log(std::max(1.0, double(n) / double(refined_base))));
    return std::max(k, std::min<int64_t>(n, int64_t(std::ceil(for_ten * times))));
}

uint8_t SecondTier::encode_scale(float length) const {
    const float* const of = scales_;
    const float share = unit > 0 ? length / unit : 0.0f;
    // the first whose square is at least the product with the one below: the nearest by ratio
    int code = int(std::lower_bound(of + 1, of + 256, share) - of);
    if (code == 256 || !(share > 0)) {
        return share > 0 ? 255 : 0;
    }
    if (code > 1 && share * share < of[code] * of[code - 1]) {
        code--;
    }
    return code == 1 && share < 0.5f * of[1] ? uint8_t(0) : uint8_t(code);
}

int SecondTier::encode_alpha(double alpha) const {
    const double steps = inner_product() ? 255 : 15;
    const double at = (alpha - double(low)) / (double(high) - double(low)) * steps;
    return int(std::lrint(std::min(steps, std::max(0.0, at))));
}

uint32_t SecondTier::encode_rest(double rest) const {
    constexpr double kMost = 15.99;
    const double size = std::fabs(rest);
    const float shifted = float(size < kMost ? size : kMost) + kRestZero;
    const int drop = 27 - rest_bits; // 4 bits of exponent, the others of mantissa
    uint32_t bits;
    std::memcpy(&bits, &shifted, 4);
    const uint32_t code =
            std::min((bits - kRestBias + (1u << (drop - 1))) >> drop, (1u << rest_bits) - 1);
    return code | (rest < 0 ? 1u << rest_bits : 0u);
}

int SecondTier::factors_of(int d, int code_size, bool inner_product) {
    constexpr double kFine = 6.5; // bits a dimension from which `rest` would be coarser than codes
    return inner_product ? 2 : double(code_size - kUsualFactors) * 8 >= kFine * d ? 4 : 3;
}

void SecondTier::decode_add(const uint8_t* code, float* out) const {
    const float by = scale(code[layout.code_bytes]);
    if (by == 0) {
        return;
    }
    std::vector<uint8_t> level(size_t(slots()), 0);
    layout.unpack(code, level.data());
    std::vector<float> found(level.size());
    for (size_t s = 0; s < level.size(); s++) {
        found[s] = (float(level[s]) - 0.5f * float(most[s])) * (step[s] * by);
    }
    frame.rotate_back_add(found.data(), out);
}

bool SecondTier::same_as(const SecondTier& other) const {
    return frame.rows == other.frame.rows && sigma == other.sigma && unit == other.unit &&
           low == other.low && high == other.high && factor_bytes == other.factor_bytes &&
           layout.code_bytes == other.layout.code_bytes && layout.width == other.layout.width;
}

size_t SecondTier::memory() const {
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    return sizeof(*this) + 2 * bytes(frame.rows) + bytes(sigma) + bytes(step) +
           bytes(inverse_step) + bytes(most) + bytes(zero) + bytes(packed.chunks) +
           bytes(packed.slot) + bytes(packed.up) + bytes(layout.width) + bytes(layout.pieces);
}

SecondCoder::SecondCoder(const SecondTier& tier)
    : tier_(tier), error_(size_t(tier.frame.d)), turned_(size_t(tier.slots())),
      found_(turned_.size()), level_(turned_.size()) {}

void SecondCoder::encode(const float* anchor, const float* residual, const float* decoded,
                         const SecondList& list, uint8_t* code) {
    const SecondTier& tier = tier_;
    const int d = tier.frame.d;
    const int slots = tier.slots();
    uint8_t* const factors = code + tier.layout.code_bytes;
    for (int k = 0; k < d; k++) {
        error_[size_t(k)] = residual[k] - decoded[k];
    }
    const float length = std::sqrt(canonical_dot(d, error_.data(), error_.data()));
    factors[0] = tier.encode_scale(length);
    const float by = tier.scale(factors[0]);
    tier.frame.rotate(error_.data(), turned_.data());
    const LevelGrid grid{slots,
                         tier.zero.data(),
                         tier.inverse_step.data(),
                         tier.step.data(),
                         tier.most.data(),
                         by,
                         by > 0 ? 1.0f / by : 0.0f};
    simd().encode.levels(grid, turned_.data(), level_.data());
    tier.layout.pack(level_.data(), code);
    std::fill(error_.begin(), error_.end(), 0.0f); // becomes e^
    tier.decode_add(code, error_.data());

    double known = 0, along = 0, cross = 0; // |r^|^2, <r - r^, r^>, <a, r^>
    for (int k = 0; k < d; k++) {
        const double r = double(decoded[k]) + error_[size_t(k)];
        known += r * r;
        along += (double(residual[k]) - r) * r;
        cross += double(anchor[k]) * r;
    }
    alpha = known > 0 ? along / known : 0;
    if (tier.by_decoding()) {
        return;
    }
    const int near = tier.encode_alpha(alpha);
    if (tier.inner_product()) {
        factors[1] = uint8_t(near);
        return;
    }
    const double met = tier.alpha(near);
    const double own = (1 + 2 * met) * known + 2 * (1 + met) * cross;
    const double unit = tier.rest_unit(list, by);
    const double rest = unit > 0 ? (own - double(list.square)) / unit : 0;
    const uint32_t both = uint32_t(near) | tier.encode_rest(rest) << 4;
    for (int i = 1; i < tier.factor_bytes; i++) {
        factors[i] = uint8_t(both >> 8 * (i - 1));
    }
}

LevelWeights::LevelWeights(const PackedLevels& packed, int slots, const int16_t* most)
    : packed_(packed), slots_(slots), most_(most), wide_most_(most, most + slots),
      product_(size_t(slots)), rounded_(size_t(slots)), dot_(simd().levels.dot),
      weight_(packed.slot.size()) {
    for (const uint8_t up : packed.up) {
        most_up_ = std::max(most_up_, float(1 << up));
    }
    for (size_t i = 0; i < packed.slot.size(); i++) {
        if (packed.slot[i] >= 0) {
            places_.push_back({int32_t(weight_at(i)), packed.slot[i], packed.up[i]});
        }
    }
}

void LevelWeights::set(const float* y, const float* step) {
    constexpr float kMostSum = 2.0e9f; // and what rounding adds, within 31 bits
    constexpr float kLeast = 1e-33f;   // of which a scale is finite
    float most[kLanes] = {}, lane[kLanes] = {};
    for (int s = 0; s < slots_; s += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            const float v = y[s + i] * step[s + i];
            const float size = std::fabs(v);
            product_[size_t(s + i)] = v;
            most[i] = size > most[i] ? size : most[i];
            lane[i] += size * wide_most_[size_t(s + i)];
        }
    }
    const float largest = *std::max_element(most, most + kLanes), sum = add_lanes(lane);
    const bool usable = largest > kLeast && sum < std::numeric_limits<float>::max();
    if (!usable) { // infinite or nothing
        std::fill(product_.begin(), product_.end(), 0.0f);
    }
    const float scale =
            usable ? std::min(std::floor(32767.0f / most_up_) / largest, kMostSum / sum) : 0.0f;
    int64_t half = 0;
    for (int s = 0; s < slots_; s += kLanes) {
        int32_t some = 0; // within 2^24 a lane
        for (int i = 0; i < kLanes; i++) {
            const auto weight = int16_t(round_even(product_[size_t(s + i)] * scale));
            rounded_[size_t(s + i)] = weight;
            some += weight * most_[s + i];
        }
        half += some;
    }
    for (const Place& at : places_) {
        weight_[size_t(at.place)] = int16_t(rounded_[size_t(at.slot)] * (1 << at.up));
    }
    unit_ = usable ? 1.0 / double(scale) : 0;
    half_ = 0.5 * double(half);
}

} // namespace faiss_vlc
