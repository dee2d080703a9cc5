#include <faiss_vlc/model/coder.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

Model::Coder::Coder(const Model& model)
    : model_(model), level_(model.slots()), for_words_(model.slots()), residual_(model.slots()),
      decoded_(model.slots()) {
    if (model.second) {
        second_ = std::make_unique<SecondCoder>(*model.second);
        whole_.resize(model.d);
        missing_.resize(model.d);
        anchor_.resize(model.d);
    }
    for (int v = 0; v < kTogether; v++) {
        lattice_[v].resize(model.dp());
        rotated_[v].resize(model.slots());
        scaled_[v].resize(model.frames[0].scaled_size());
    }
}

void Model::Coder::to_lattice(const float* x, float* lattice) const {
    for (int k = 0; k < model_.d; k++) {
        lattice[k] = (x[k] - model_.lattice.mean[k]) * model_.lattice.scale;
    }
}

LevelGrid Model::Coder::grid_of(int j, float length) const {
    const Model& model = model_;
    const float scale = Estimator::list_scale(model.spread[j]) * length;
    const int n = model.slots();
    const Derived& derived = model.derived();
    return {n,
            &derived.anchor_rotated[size_t(j) * n],
            &derived.inverse_step[size_t(model.group[j]) * n],
            model.steps_of(j),
            derived.levels_less_one.data(),
            scale,
            scale > 0 ? 1.0f / scale : 0.0f};
}

uint16_t Model::Coder::encode_levels(const float* rotated, int j, uint16_t length, uint8_t* code) {
    const Estimator& estimator = model_.estimator;
    uint16_t factors;
    if (estimator.is_far(decode_length(length))) {
        factors = encode_far(rotated, j, length);
    } else {
        const LevelGrid grid = grid_of(j, decode_length(length));
        scale_ = grid.scale;
        residual_dot = simd().encode.levels(grid, rotated, level_.data());
        factors = estimator.encode(residual_square, residual_dot, model_.spread[j]);
    }
    pack_code(model_.layout, level_.data(), code);
    return factors;
}

uint16_t Model::Coder::encode_words(const float* rotated, int j, uint16_t length, uint8_t* code) {
    const Model& model = model_;
    const Estimator& estimator = model.estimator;
    const int n = model.slots();
    const float spread = model.spread[j];
    if (model.layout.factor_bytes == 1) {
        length = uint16_t(Estimator::short_length(length) << 8);
    }
    scale_ = model.layout.factor_bytes > 0 ? Estimator::list_scale(spread) * decode_length(length)
                                           : 1.0f;
    const float* base = &model.derived().anchor_rotated[size_t(j) * n];
    const float unit = model.codebook.unit * scale_;
    const float inverse = unit > 0 ? 1.0f / unit : 0.0f;
    const auto most = float(Codebook::limit(model.layout));
    for (int s = 0; s < n; s++) {
        residual_[s] = rotated[s] - base[s];
        const float v = residual_[s] * inverse;
        for_words_[s] = int16_t(round_even(std::min(most, std::max(-most, v))));
    }
    nearest_words(model.layout, model.codebook, for_words_.data(), code);
    word_norms_ = 0;
    for (int b = 0; b < model.layout.blocks(); b++) {
        for (int s = model.layout.block_slot[b]; s < model.layout.block_slot[b + 1]; s++) {
            decoded_[s] = float(model.codebook.at(s, code[b])) * unit;
        }
        word_norms_ += model.codebook.norms[size_t(b) * kWords + code[b]];
    }
    residual_dot = canonical_dot(n, residual_.data(), decoded_.data());
    if (model.layout.factor_bytes < 2) {
        return length;
    }
    return estimator.is_far(decode_length(length))
                   ? estimator.encode_far(length, decoded_square(), spread)
                   : estimator.encode(residual_square, residual_dot, spread);
}

void Model::Coder::encode_rotated(const float* lattice, const float* rotated, int j,
                                  uint8_t* code) {
    const Layout& layout = model_.layout;
    residual_square = model_.anchor_distance(lattice, j);
    list_ = j;
    const uint16_t length = model_.estimator.encode_length(residual_square, model_.spread[j]);
    const uint16_t factors = layout.has_words() ? encode_words(rotated, j, length, code)
                                                : encode_levels(rotated, j, length, code);
    for (int i = 0; i < layout.factor_bytes; i++) { // one byte is the upper one
        code[layout.code_bytes + i] = uint8_t(factors >> 8 * (2 - layout.factor_bytes + i));
    }
    if (second_) {
        encode_second(lattice, j, code);
    }
}

void Model::Coder::encode_second(const float* lattice, int j, uint8_t* code) {
    const Model& model = model_;
    model.start_of(j, anchor_.data());
    model.decode_residual(j, code, decoded_.data());
    std::fill(missing_.begin(), missing_.end(), 0.0f);
    model.frame_of(j).rotate_back_add(decoded_.data(), missing_.data());
    for (int k = 0; k < model.d; k++) {
        whole_[k] = lattice[k] - anchor_[k];
    }
    second_->encode(anchor_.data(), whole_.data(), missing_.data(), model.second_list(j, code),
                    code + model.layout.code_size());
}

uint16_t Model::Coder::encode_far(const float* rotated, int j, uint16_t length) {
    constexpr int kAround = 4;
    const Estimator& estimator = model_.estimator;
    const double unit = estimator.length_unit(model_.spread[j]);
    uint16_t best = length;
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; i <= 2 * kAround; i++) { // the nearest first, and again last
        const int step = i % 2 ? (i + 1) / 2 : -i / 2;
        const int code = length / kGammaSteps + step;
        if (code < 0 || code >= kLengthSteps ||
            !estimator.is_far(decode_length(uint16_t(code * kGammaSteps)))) {
            continue;
        }
        const auto other = uint16_t(code * kGammaSteps);
        const LevelGrid grid = grid_of(j, decode_length(other));
        const double dot = simd().encode.levels(grid, rotated, level_.data());
        const double square = square_of_levels(j, grid.scale);
        const double loss = square - 2 * dot + missed(square, decode_length(other) * unit);
        if (loss < least) {
            least = loss;
            best = other;
        }
    }
    const LevelGrid grid = grid_of(j, decode_length(best));
    scale_ = grid.scale;
    residual_dot = simd().encode.levels(grid, rotated, level_.data());
    const double met = decode_length(best) * unit;
    meet_far(grid, rotated, met, square_of_levels(j, grid.scale));
    return estimator.encode_far(best, square_of_levels(j, grid.scale), model_.spread[j]);
}

double Model::Coder::missed(double square, double length) const {
    const double of = length * length;
    return std::fabs(square - model_.estimator.nearest_far(square / of) * of);
}

void Model::Coder::meet_far(const LevelGrid& grid, const float* rotated, double length,
                            double square) {
    constexpr int kMostMoves = 8;
    double off = missed(square, length);
    for (int move = 0; move < kMostMoves; move++) {
        int best = -1, best_level = 0;
        double least = off, best_square = 0, best_dot = 0;
        for (int s = 0; s < grid.slots; s++) {
            const int most = grid.most[s], now = level_[s];
            const double step = double(grid.step[s]) * grid.scale;
            const double wanted = double(rotated[s]) - grid.base[s];
            const auto value = [&](int c) { return 0.5 * double(2 * c - most) * step; };
            const int other = wanted > value(now) ? now + 1 : now - 1;
            if (other < 0 || other > most) {
                continue;
            }
            const double from = value(now), to = value(other);
            const double cost = (wanted - to) * (wanted - to) - (wanted - from) * (wanted - from);
            if (!(cost < least)) {
                continue;
            }
            const double met = square + to * to - from * from;
            const double loss = missed(met, length) + cost;
            if (loss < least) {
                least = loss;
                best = s;
                best_level = other;
                best_square = met;
                best_dot = wanted * (to - from);
            }
        }
        if (best < 0) {
            return;
        }
        level_[best] = uint8_t(best_level);
        square = best_square;
        residual_dot += best_dot;
        off = missed(square, length);
    }
}

double Model::Coder::decoded_square() const {
    if (model_.layout.has_words()) {
        const double unit = double(model_.codebook.unit) * scale_;
        return double(word_norms_) * unit * unit;
    }
    return square_of_levels(list_, scale_);
}

double Model::Coder::square_of_levels(int j, float scale) const {
    const float* steps = model_.steps_of(j);
    const int16_t* most = model_.derived().levels_less_one.data();
    double square = 0;
    for (size_t s = 0; s < level_.size(); s++) {
        const double y = 0.5 * double(2 * level_[s] - most[s]) * (double(steps[s]) * scale);
        square += y * y;
    }
    return square;
}

void Model::Coder::encode(const float* x, int j, uint8_t* code) {
    float* lattice = lattice_[0].data();
    float* rotated = rotated_[0].data();
    to_lattice(x, lattice);
    const float unit = model_.frames[0].quantize(lattice, scaled_[0].data());
    model_.frame_of(j).rotate(scaled_[0].data(), unit, rotated);
    encode_rotated(lattice, rotated, j, code);
}

void Model::Coder::encode(int n, const float* x, const int64_t* lists, uint8_t* codes,
                          size_t stride) {
    int order[kBatch]; // by frame
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (lists[i] >= 0) {
            order[count++] = i;
        }
    }
    const auto frame_of = [&](int i) { return model_.group[lists[i]]; };
    std::stable_sort(order, order + count, [&](int a, int b) { return frame_of(a) < frame_of(b); });
    for (int first = 0; first < count;) {
        const int16_t* scaled[kTogether];
        float* rotated[kTogether];
        float unit[kTogether];
        int some = 0;
        while (some < kTogether && first + some < count &&
               frame_of(order[first + some]) == frame_of(order[first])) {
            to_lattice(x + size_t(order[first + some]) * model_.d, lattice_[some].data());
            unit[some] = model_.frames[0].quantize(lattice_[some].data(), scaled_[some].data());
            scaled[some] = scaled_[some].data();
            rotated[some] = rotated_[some].data();
            some++;
        }
        const Frame& frame = model_.frames[frame_of(order[first])];
        if (some > 1) {
            frame.rotate_together(some, scaled, unit, rotated);
        } else {
            frame.rotate(scaled[0], unit[0], rotated[0]);
        }
        for (int v = 0; v < some; v++) {
            const int i = order[first + v];
            encode_rotated(lattice_[v].data(), rotated[v], int(lists[i]), codes + i * stride);
        }
        first += some;
    }
}

} // namespace faiss_vlc
