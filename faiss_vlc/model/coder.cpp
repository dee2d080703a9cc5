#include <faiss_vlc/model/coder.h>

#include <algorithm>

namespace faiss_vlc {

Model::Coder::Coder(const Model& model) : level(model.slots()), model_(model) {
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

void Model::Coder::encode_rotated(const float* lattice, const float* rotated, int j,
                                  uint8_t* code) {
    const Model& model = model_;
    residual_square = model.anchor_distance(lattice, j);
    const float spread = model.spread[j];
    const float length = decode_length(model.estimator.encode_length(residual_square, spread));
    const float scale = Estimator::list_scale(spread) * length;
    const int n = model.slots();
    const Derived& derived = model.derived();
    const LevelGrid grid{n,
                         &derived.anchor_rotated[size_t(j) * n],
                         &derived.inverse_step[size_t(model.group[j]) * n],
                         model.steps_of(j),
                         derived.levels_less_one.data(),
                         scale,
                         scale > 0 ? 1.0f / scale : 0.0f};
    residual_dot = simd().encode.levels(grid, rotated, level.data());
    pack_code(model.layout, level.data(), code);
    const Estimator& estimator = model.estimator;
    const uint16_t factors =
            estimator.is_far(length)
                    ? estimator.encode_far(residual_square, decoded_square(j, scale), spread)
                    : estimator.encode(residual_square, residual_dot, spread);
    code[model.layout.code_bytes] = uint8_t(factors);
    code[model.layout.code_bytes + 1] = uint8_t(factors >> 8);
}

double Model::Coder::decoded_square(int j, float scale) const {
    const float* steps = model_.steps_of(j);
    const int16_t* most = model_.derived().levels_less_one.data();
    double square = 0;
    for (size_t s = 0; s < level.size(); s++) {
        const double y = 0.5 * double(2 * level[s] - most[s]) * (double(steps[s]) * scale);
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
