#include <faiss_vlc/train/schedule.h>

#include <algorithm>
#include <climits>
#include <cmath>

#include <faiss_vlc/lib/integer_math.h>

namespace faiss_vlc {

namespace {

constexpr double kOctave = 0.69314718055994531; ///< size_bias counts in factors of e

int32_t clamp32(double v) {
    return int32_t(std::clamp(std::floor(v + 0.5), 0.0, double(INT_MAX)));
}

int64_t decay_of(const VLCParameters& params) {
    const double decay = params.iterations > 1
                                 ? stable_exp(stable_log(double(params.end_temperature) /
                                                         params.start_temperature) /
                                              (params.iterations - 1))
                                 : 1.0;
    return int64_t(decay * 4294967296.0);
}

int near_of(const Shape& shape, const VLCParameters& params) {
    const int wanted = params.candidates >= 0 ? params.candidates : shape.d <= 512 ? 128 : 256;
    return wanted > 0 && int64_t(shape.m) >= 2 * int64_t(wanted) ? wanted : 0;
}

} // namespace

int64_t rows_of_iteration(const Shape& shape, const VLCParameters& params, int t) {
    if (t < 0) {
        return 0;
    }
    const int64_t least = std::max<int64_t>(64 * int64_t(shape.m),
                                            int64_t(double(shape.n_train) * params.first_share));
    const int grown = params.iterations / 2;
    if (t >= grown || least >= shape.n_train) {
        return shape.n;
    }
    const double rows = double(least) *
                        stable_exp(stable_log(double(shape.n_train) / double(least)) * t / grown);
    const int64_t blocks = (int64_t(rows) + kRowBlock - 1) / kRowBlock;
    return blocks * kRowBlock < shape.n_train ? blocks * kRowBlock : shape.n;
}

Schedule::Schedule(const Shape& shape, const VLCParameters& params)
    : shape_(shape), params_(params), decay_q32_(decay_of(params)), near_(near_of(shape, params)) {}

int64_t Schedule::training_rows(int t) const {
    return std::min(rows(t), shape_.n_train);
}

bool Schedule::maintains(int t) const {
    return t + 1 < params_.iterations * params_.maintain_until;
}

bool Schedule::is_cool(int t) const {
    return rows(t) == shape_.n && t >= params_.iterations / 2;
}

int64_t Schedule::hottest(int64_t energy) const {
    return std::max<int64_t>(1, int64_t(double(energy) * params_.start_temperature * 256.0));
}

int64_t Schedule::cooler(int64_t temperature) const {
    return std::max<int64_t>(1, int64_t((__int128(temperature) * decay_q32_) >> 32));
}

ReduceParams Schedule::reduce(int t, int64_t temperature, int64_t tau2) const {
    ReduceParams reduce;
    reduce.rows = rows(t);
    reduce.inv_t = std::max<int32_t>(1, clamp32(32.0 * 65536.0 / degrees(temperature)));
    reduce.robust = params_.robust;
    reduce.tau2 = int32_t(tau2);
    return reduce;
}

UpdateParams Schedule::update(int t, int64_t temperature, int64_t energy) const {
    const double heat = degrees(temperature);
    UpdateParams update;
    update.step = std::max(
            1, clamp32(256.0 * double(params_.step) * double(energy) / (double(energy) + heat)));
    update.max_step = clamp32(double(params_.max_step) * (1 << kAnchorBits));
    update.mean_count = int32_t(training_rows(t) / shape_.m);
    update.bias_scale = std::min(kMaxBias, clamp32(params_.size_bias * kOctave * double(energy)));
    update.noise_scale = std::min(
            kMaxBias, clamp32(double(params_.random_bias) / params_.start_temperature * heat));
    update.seed = params_.seed;
    update.iteration = uint32_t(t);
    return update;
}

} // namespace faiss_vlc
