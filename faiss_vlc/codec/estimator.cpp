#include <faiss_vlc/codec/estimator.h>

#include <algorithm>
#include <cmath>

namespace faiss_vlc {

namespace {

/// The code of the value next to v.
int nearest_value(const float* values, double v) {
    int code = 0;
    while (code + 1 < kGammaSteps && v > 0.5 * (double(values[code]) + values[code + 1])) {
        code++;
    }
    return code;
}

} // namespace

void Estimator::set_gamma(float low, float high) {
    constexpr int kBelow = kUnusualGammas, kAbove = 6;
    constexpr int kLast = kGammaSteps - 1 - kAbove;
    constexpr float kLeast = 0.02f; // 1 / gamma stays within bounds
    low = std::max(low, kLeast);
    high = std::max(high, low + 0.001f);
    const float step = (high - low) / float(kLast - kBelow);
    for (int i = kBelow; i <= kLast; i++) {
        gamma[i] = low + float(i - kBelow) * step;
    }
    for (int i = kBelow - 1; i >= 0; i--) {
        gamma[i] = std::max(kLeast, 0.7f * gamma[i + 1]);
    }
    for (int i = kLast + 1; i < kGammaSteps; i++) { // what is missed becomes less
        gamma[i] = high < 1 ? 1.0f - 0.75f * (1.0f - gamma[i - 1]) : gamma[i - 1] + step;
    }
}

void Estimator::set_far(float low, float high) {
    constexpr int kBeyond = 6; // on each side
    constexpr int kLast = kGammaSteps - 1 - kBeyond;
    constexpr float kLeast = 0.02f, kLeastStep = 0.005f;
    low = std::max(low, kLeast);
    high = std::max(high, low + 0.001f);
    const float step = (high - low) / float(kLast - kBeyond);
    for (int i = kBeyond; i <= kLast; i++) {
        far[i] = low + float(i - kBeyond) * step;
    }
    float wider = std::max(step, kLeastStep);
    for (int i = 1; i <= kBeyond; i++, wider *= 2) {
        far[kLast + i] = far[kLast + i - 1] + wider;
        far[kBeyond - i] = std::max(kLeast, far[kBeyond - i + 1] - wider);
    }
}

double Estimator::nearest_far(double share) const {
    return far[nearest_value(far, share)];
}

float Estimator::length_unit(float spread) const {
    return std::sqrt(energy) * list_scale(spread);
}

uint16_t Estimator::encode_length(double residual_square, float spread) const {
    constexpr double kMost = 1020; // below 2^10 with kLengthZero
    const double unit = length_unit(spread);
    const double l = unit > 0 ? std::sqrt(residual_square) / unit : 0;
    // the comparison is also right for what is infinite or not a number
    const float shifted = float(l < kMost ? l : kMost) + kLengthZero;
    uint32_t bits;
    std::memcpy(&bits, &shifted, 4);
    const uint32_t code =
            std::min<uint32_t>((bits - kLengthBias + (1u << 15)) >> 16, kLengthSteps - 1);
    return uint16_t(code << 5);
}

uint16_t Estimator::encode(double residual_square, double residual_dot, float spread) const {
    const double g = residual_square > 0 ? residual_dot / residual_square : 1;
    return uint16_t(encode_length(residual_square, spread) | nearest_value(gamma, g));
}

uint16_t Estimator::encode_far(uint16_t length, double decoded_square, float spread) const {
    const double met = double(decode_length(length)) * length_unit(spread);
    return uint16_t(length | nearest_value(far, decoded_square / (met * met)));
}

Estimator::Step Estimator::step(bool inner_product, int code) const {
    const float g = gamma[code];
    const float miss = 1.0f - g;
    return {miss, inner_product ? 0.0f : g + t1 * miss, share(g)};
}

float Estimator::product_penalty(float query_norm) const {
    return c * query_norm / std::sqrt(energy > 0 ? energy : 1.0f);
}

Estimator::Steps Estimator::steps(bool inner_product) const {
    Steps steps{};
    steps.inner_product = inner_product;
    for (int i = 0; i < kGammaSteps; i++) {
        const Step own = step(inner_product, i);
        steps.miss[i] = own.miss;
        steps.own[i] = own.own;
        steps.share[i] = own.share;
    }
    return steps;
}

void Estimator::tables(const Steps& steps, float list_distance, float query_norm, float spread,
                       float dot_scale, float* add, float* mul) const {
    const Scales by =
            scales(steps.inner_product, list_distance, query_norm, length_unit(spread), dot_scale);
    for (int i = 0; i < kGammaSteps; i++) {
        add[i] = by.square * (steps.own[i] + by.penalty * steps.miss[i]);
        mul[i] = by.dot * steps.share[i];
    }
}

} // namespace faiss_vlc
