#include <faiss_vlc/codec/estimator.h>

#include <algorithm>
#include <cmath>

namespace faiss_vlc {

uint16_t Estimator::encode(double residual_square, double residual_dot, float spread) const {
    const double unit = double(energy) * spread * spread;
    const double rho = unit > 0 ? residual_square / unit : 0;
    // the comparisons are also right for what is infinite or not a number
    const float shifted = float(rho < 65000.0 ? rho : 65000.0) + kRhoZero;
    uint32_t bits;
    std::memcpy(&bits, &shifted, 4);
    const uint32_t rho_code = std::min<uint32_t>((bits - kRhoBias + (1u << 16)) >> 17, 2047);
    const double g = residual_square > 0 ? residual_dot / residual_square : 1;
    const double step = std::floor((g - gamma_low) / gamma_step + 0.5);
    const int gamma_code = step > 0 ? int(std::min(step, double(kGammaSteps - 1))) : 0;
    return uint16_t(rho_code << 5 | uint32_t(gamma_code));
}

Estimator::Step Estimator::step(bool inner_product, int code) const {
    const float g = gamma(code);
    const float miss = 1.0f - g;
    return {miss, inner_product ? 0.0f : g + t1 * miss, 1.0f + t2 * (1.0f / g - 1.0f)};
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
    const float unit = energy * spread * spread;
    const float penalty = steps.inner_product ? product_penalty(query_norm)
                                              : c * list_distance / (energy > 0 ? energy : 1.0f);
    const float scale = (steps.inner_product ? 1.0f : 2.0f) * dot_scale;
    for (int i = 0; i < kGammaSteps; i++) {
        add[i] = unit * (steps.own[i] + penalty * steps.miss[i]);
        mul[i] = scale * steps.share[i];
    }
}

} // namespace faiss_vlc
