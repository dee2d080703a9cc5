#include <faiss_vlc/model/coder.h>

#include <algorithm>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

Model::Coder::Coder(const Model& model)
    : model_(model), level_(model.slots()), for_words_(model.slots()), residual_(model.slots()),
      decoded_(model.slots()) {
    for (int v = 0; v < kTogether; v++) {
        lattice_[v].resize(model.dp());
        rotated_[v].resize(model.slots());
        scaled_[v].resize(model.d + model.d % 2);
    }
}

void Model::Coder::to_lattice(const float* x, float* lattice) const {
    for (int k = 0; k < model_.d; k++) {
        lattice[k] = (x[k] - model_.lattice.mean[k]) * model_.lattice.scale;
    }
}

void Model::Coder::encode_levels(const float* rotated, int j, float scale, uint8_t* code) {
    const Model& model = model_;
    const int n = model.slots();
    const Derived& derived = model.derived();
    const LevelGrid grid{n,
                         &derived.anchor_rotated[size_t(j) * n],
                         &derived.inverse_step[size_t(model.group[j]) * n],
                         model.steps_of(j),
                         derived.levels_less_one.data(),
                         scale,
                         scale > 0 ? 1.0f / scale : 0.0f};
    residual_dot = simd().encode.levels(grid, rotated, level_.data());
    pack_code(model.layout, level_.data(), code);
}

void Model::Coder::encode_words(const float* rotated, int j, float scale, uint8_t* code) {
    const Model& model = model_;
    const int n = model.slots();
    const float* base = &model.derived().anchor_rotated[size_t(j) * n];
    const float unit = model.codebook.unit * scale;
    const float inverse = unit > 0 ? 1.0f / unit : 0.0f;
    const auto most = float(Codebook::limit(model.layout));
    for (int s = 0; s < n; s++) {
        residual_[s] = rotated[s] - base[s];
        const float v = residual_[s] * inverse;
        for_words_[s] = int16_t(round_even(std::min(most, std::max(-most, v))));
    }
    nearest_words(model.layout, model.codebook, for_words_.data(), dots_, code);
    word_norms_ = 0;
    for (int b = 0; b < model.layout.blocks(); b++) {
        for (int s = model.layout.block_slot[b]; s < model.layout.block_slot[b + 1]; s++) {
            decoded_[s] = float(model.codebook.at(s, code[b])) * unit;
        }
        word_norms_ += model.codebook.norms[size_t(b) * kWords + code[b]];
    }
    residual_dot = canonical_dot(n, residual_.data(), decoded_.data());
}

void Model::Coder::encode_rotated(const float* lattice, const float* rotated, int j,
                                  uint8_t* code) {
    const Model& model = model_;
    const Estimator& estimator = model.estimator;
    const int factor_bytes = model.layout.factor_bytes;
    residual_square = model.anchor_distance(lattice, j);
    const float spread = model.spread[j];
    uint16_t length_bits = estimator.encode_length(residual_square, spread);
    if (factor_bytes == 1) {
        length_bits = uint16_t(Estimator::short_length(length_bits) << 8);
    }
    const float length = decode_length(length_bits);
    const float scale = factor_bytes > 0 ? Estimator::list_scale(spread) * length : 1.0f;
    list_ = j;
    scale_ = scale;
    if (model.layout.has_words()) {
        encode_words(rotated, j, scale, code);
    } else {
        encode_levels(rotated, j, scale, code);
    }
    uint8_t* factors = code + model.layout.code_bytes;
    if (factor_bytes == 1) {
        factors[0] = uint8_t(length_bits >> 8);
    } else if (factor_bytes == 2) {
        const uint16_t bits =
                estimator.is_far(length)
                        ? estimator.encode_far(residual_square, decoded_square(), spread)
                        : estimator.encode(residual_square, residual_dot, spread);
        factors[0] = uint8_t(bits);
        factors[1] = uint8_t(bits >> 8);
    }
}

double Model::Coder::decoded_square() const {
    if (model_.layout.has_words()) {
        const double unit = double(model_.codebook.unit) * scale_;
        return double(word_norms_) * unit * unit;
    }
    const float* steps = model_.steps_of(list_);
    const int16_t* most = model_.derived().levels_less_one.data();
    double square = 0;
    for (size_t s = 0; s < level_.size(); s++) {
        const double y = 0.5 * double(2 * level_[s] - most[s]) * (double(steps[s]) * scale_);
        square += y * y;
    }
    return square;
}

void Model::Coder::encode(const float* x, int j, uint8_t* code) {
    float* lattice = lattice_[0].data();
    float* rotated = rotated_[0].data();
    to_lattice(x, lattice);
    const float unit = Frame::quantize(model_.d, lattice, scaled_[0].data());
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
            unit[some] = Frame::quantize(model_.d, lattice_[some].data(), scaled_[some].data());
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
