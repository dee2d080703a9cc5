#include <faiss_vlc/model/coder.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <tests/kernels/simd_levels.h>
#include <tests/model/model_test.h>

namespace faiss_vlc {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> normal(int n, float scale, std::mt19937& random) {
    std::normal_distribution<float> gauss(0, 1);
    std::vector<float> x(n);
    for (float& v : x) {
        v = scale * gauss(random);
    }
    return x;
}

TEST(EncodeLoops, VectorsAreTheSameOnAllLevels) {
    std::mt19937 random(1);
    for (int d = 1; d <= 70; d++) {
        for (const float scale : {1e-3f, 1.0f, 50.0f, 1e4f}) {
            std::vector<float> x = normal(d, scale, random), mean = normal(d, scale, random);
            x[d / 2] = 0.5f * scale; // rounds to even
            x[d / 3] = d % 3 ? 1e30f : -kInfinity;
            const Simd::Encode& portable = levels()[0]->encode;
            const double square = portable.square_sum(d, x.data());
            std::vector<int8_t> row(d + 1, 99);
            portable.quantize_row(d, x.data(), mean.data(), 1 / scale, row.data());
            EXPECT_EQ(row[d / 3], d % 3 ? 127 : -127);
            std::vector<float> within = normal(d, 8000, random);
            std::vector<int16_t> words(d + 1, 99);
            portable.round_scaled(d, within.data(), 0.5f, words.data());
            for (int k = 0; k < d; k++) {
                ASSERT_EQ(words[k], std::lrint(0.5f * within[k]));
            }
            for (const Simd* level : levels()) {
                SCOPED_TRACE(std::string(level->name) + ", d = " + std::to_string(d));
                const double met = level->encode.square_sum(d, x.data());
                EXPECT_EQ(std::memcmp(&met, &square, sizeof met), 0);
                std::vector<int8_t> q8(d + 1, 99);
                level->encode.quantize_row(d, x.data(), mean.data(), 1 / scale, q8.data());
                EXPECT_EQ(q8, row); // what lies behind it too
                std::vector<int16_t> q16(d + 1, 99);
                level->encode.round_scaled(d, within.data(), 0.5f, q16.data());
                EXPECT_EQ(q16, words);
            }
        }
    }
}

TEST(EncodeLoops, LevelsAreTheSameOnAllLevels) {
    std::mt19937 random(2);
    for (int n = 16; n <= 16 * 20; n += 16) {
        for (const float spread : {0.0f, 0.03f, 1.0f, 700.0f}) {
            std::vector<float> y = normal(n, spread, random), b = normal(n, spread, random);
            std::vector<float> step(n), inverse_step(n);
            std::vector<int16_t> most(n);
            for (int s = 0; s < n; s++) {
                const int width = int(random() % 9); // 0: an empty slot
                most[s] = int16_t((1 << width) - 1);
                step[s] = width ? 1.0f / float(1 + random() % 7) : 0.0f;
                inverse_step[s] = width ? 1 / step[s] : 0.0f;
            }
            const float inverse = spread > 0 ? 1 / spread : 0.0f;
            std::vector<uint8_t> expected(n);
            const LevelGrid grid{n,      b.data(), inverse_step.data(), step.data(), most.data(),
                                 spread, inverse};
            const float dot = levels()[0]->encode.levels(grid, y.data(), expected.data());
            double exact = 0;
            for (int s = 0; s < n; s++) {
                ASSERT_LE(expected[s], most[s]);
                const double unit = double(step[s]) * spread;
                const double residual = double(y[s]) - b[s];
                const double wanted = unit > 0 ? residual / unit + 0.5 * most[s] : 0.5 * most[s];
                ASSERT_LE(std::fabs(expected[s] - std::min(double(most[s]), std::max(0.0, wanted))),
                          0.501);
                exact += residual * (expected[s] - 0.5 * most[s]) * unit;
            }
            EXPECT_NEAR(dot, exact, 1e-4 * (std::fabs(exact) + double(spread) * spread));
            for (const Simd* level : levels()) {
                std::vector<uint8_t> found(n, 99);
                const float met = level->encode.levels(grid, y.data(), found.data());
                EXPECT_EQ(found, expected) << level->name << " " << n;
                EXPECT_EQ(std::memcmp(&met, &dot, sizeof met), 0) << level->name << " " << n;
            }
        }
    }
}

TEST(Coder, TogetherAsAlone) {
    for (const int d : {1, 7, 24, 33}) {
        const std::vector<float> x = clustered(700, d, 20, 4);
        const Trained t = train_model(700, d, x.data(), small_parameters(12, d < 8 ? 4 : 10));
        const Model& model = *t.model;
        const size_t size = model.layout.code_size();
        std::vector<int64_t> lists(t.sample.shape.n);
        for (size_t i = 0; i < lists.size(); i++) {
            lists[i] = i % 11 == 5 ? -1 : t.anchors.label[i];
        }
        Model::Coder coder(model);
        for (const int n : {0, 1, 2, 5, 63, Model::Coder::kBatch}) {
            std::vector<uint8_t> codes((size + 3) * n, 99), expected(codes);
            coder.encode(n, t.sample.vector(0), lists.data(), codes.data(), size + 3);
            for (int i = 0; i < n; i++) {
                if (lists[i] >= 0) {
                    coder.encode(t.sample.vector(i), int(lists[i]), &expected[(size + 3) * i]);
                }
            }
            EXPECT_EQ(codes, expected) << d << " " << n;
        }
    }
}

TEST(Coder, DecodesNearAndKnowsItsError) {
    const std::vector<float> x = clustered(700, 24, 20, 4);
    double last = 1e30;
    for (int bytes : {5, 10, 26}) { // 26: all 24 dimensions in 8 bits
        VLCParameters params = small_parameters(12, bytes);
        params.grid = bytes == 10 ? AnchorGrid::float16 : AnchorGrid::int8;
        const Trained t = train_model(700, 24, x.data(), params);
        const Model& model = *t.model;
        Model::Coder coder(model);
        std::vector<uint8_t> code(model.layout.code_size());
        std::vector<float> decoded(24), anchor(24);
        double error = 0, residual = 0;
        for (int64_t i = 0; i < t.sample.shape.n; i++) {
            const float* row = t.sample.vector(i);
            const int j = t.anchors.label[i];
            coder.encode(row, j, code.data());
            model.decode(j, code.data(), decoded.data());
            model.anchor(j, anchor.data());
            const double scale2 = double(model.lattice.scale) * model.lattice.scale;
            const double square = true_distance(24, row, anchor.data());
            double dot = 0;
            for (int k = 0; k < 24; k++) {
                dot += (double(row[k]) - anchor[k]) * (double(decoded[k]) - anchor[k]);
            }
            ASSERT_NEAR(coder.residual_square / scale2, square, 1e-4 * square + 1e-6);
            ASSERT_NEAR(coder.residual_dot / scale2, dot, 2e-3 * square + 1e-5);
            const uint16_t factors = uint16_t(code[bytes - 2] | code[bytes - 1] << 8);
            ASSERT_EQ(model.code_scale(j, code.data()),
                      Estimator::list_scale(model.spread[j]) * decode_length(factors));
            const Estimator& estimator = model.estimator;
            if (estimator.is_far(decode_length(factors))) {
                const double kept = coder.decoded_square();
                ASSERT_EQ(factors,
                          estimator.encode_far(uint16_t(factors / kGammaSteps * kGammaSteps), kept,
                                               model.spread[j]));
            } else {
                ASSERT_EQ(factors, estimator.encode(coder.residual_square, coder.residual_dot,
                                                    model.spread[j]));
            }
            error += true_distance(24, row, decoded.data());
            residual += square;
        }
        EXPECT_LT(error, 0.9 * residual) << bytes;
        EXPECT_LT(error, last) << bytes;
        last = error;
        if (bytes == 26) {
            EXPECT_LT(error, 1e-3 * residual);
        }
    }
}

// A far vector's distances need |r^|^2, of which there are 32 values: codes are chosen to have one.
TEST(Coder, FarVectorsHaveTheLengthThatIsKept) {
    const int d = 64;
    Random random(12);
    const std::vector<float> x = random.normals(2000 * d);
    for (const int bytes : {18, 34}) {
        const Trained t = train_model(2000, d, x.data(), small_parameters(8, bytes));
        const Model& model = *t.model;
        Model::Coder coder(model);
        std::vector<uint8_t> code(bytes);
        double off = 0;
        const int rows = 300;
        const std::vector<float> moved = random.normals(rows * d, 1, 3);
        for (int i = 0; i < rows; i++) {
            coder.encode(&moved[size_t(i) * d], i % 8, code.data());
            const uint16_t factors = uint16_t(code[bytes - 2] | code[bytes - 1] << 8);
            ASSERT_TRUE(model.estimator.is_far(decode_length(factors)));
            const double unit = model.estimator.length_unit(model.spread[i % 8]);
            const double square = std::pow(decode_length(factors) * unit, 2);
            const double kept = model.estimator.far[factors % kGammaSteps] * square;
            const double met = coder.decoded_square();
            off += std::fabs(kept - met) / square / rows;
        }
        EXPECT_LT(off, 0.002) << bytes;
    }
}

/// |x - x^|^2 over |x - a|^2, the mean over the sample's rows moved to `times` their residuals.
/// Those whose length the factors could not hold at 1000 times are left out, whatever `times` is.
double relative_error(const Trained& t, double times) {
    const Model& model = *t.model;
    const int d = model.d;
    Model::Coder coder(model);
    std::vector<uint8_t> code(model.layout.code_size());
    std::vector<float> decoded(d), anchor(d), x(d);
    double error = 0;
    int rows = 0;
    for (int64_t i = 0; i < t.sample.shape.n; i++) {
        const int j = t.anchors.label[i];
        model.anchor(j, anchor.data());
        coder.encode(t.sample.vector(i), j, code.data());
        if (std::sqrt(coder.residual_square) > model.estimator.length_unit(model.spread[j])) {
            continue;
        }
        for (int k = 0; k < d; k++) {
            x[k] = float(anchor[k] + times * (double(t.sample.vector(i)[k]) - anchor[k]));
        }
        coder.encode(x.data(), j, code.data());
        model.decode(j, code.data(), decoded.data());
        error += true_distance(d, x.data(), decoded.data()) /
                 true_distance(d, x.data(), anchor.data());
        rows++;
    }
    EXPECT_GT(rows, t.sample.shape.n / 3);
    return error / rows;
}

TEST(Coder, VectorsOfAnyLengthDecodeAlike) {
    const std::vector<float> x = clustered(700, 24, 20, 4);
    for (const AnchorGrid grid : {AnchorGrid::int8, AnchorGrid::float16}) {
        for (const int bytes : {5, 10, 14}) {
            VLCParameters params = small_parameters(12, bytes);
            params.grid = grid;
            const Trained t = train_model(700, 24, x.data(), params);
            const double usual = relative_error(t, 1);
            EXPECT_LT(usual, 0.5) << bytes;
            for (const double times : {30.0, 1000.0, 1.0 / 30}) {
                // far vectors choose their l among several, and so decode a little nearer
                const double met = relative_error(t, times);
                EXPECT_LT(met, 1.005 * usual + 1e-4) << bytes << " x " << times;
                EXPECT_GT(met, 0.95 * usual) << bytes << " x " << times;
            }
            // a thousandth of a residual is a few hundred of the units to which vectors are rounded
            // before they are rotated
            EXPECT_LT(relative_error(t, 1e-2), usual + 2e-3) << bytes;
            EXPECT_GT(relative_error(t, 1e-2), 0.9 * usual) << bytes;
            EXPECT_NEAR(relative_error(t, 1e-3), usual, 0.15) << bytes;
        }
    }
}

// Half the lists' rows are one vector: what these lists get later has a length all the same.
TEST(Coder, RowsAddedToListsOfEqualVectors) {
    std::vector<float> x = clustered(600, 24, 2, 4, 0.2);
    for (int64_t i = 0; i < 600; i += 2) { // those of the first of two centres
        std::copy_n(x.data(), 24, &x[i * 24]);
    }
    const Trained t = train_model(600, 24, x.data(), small_parameters(2, 14));
    const Model& model = *t.model;
    Model::Coder coder(model);
    std::vector<uint8_t> code(14);
    std::vector<float> decoded(24), anchor(24), far(24);
    Random random(5);
    for (const double scale : {1e-2, 1.0, 20.0}) {
        for (int j = 0; j < 2; j++) {
            model.anchor(j, anchor.data());
            for (int k = 0; k < 24; k++) {
                far[k] = float(anchor[k] + scale * random.normal());
            }
            coder.encode(far.data(), j, code.data());
            model.decode(j, code.data(), decoded.data());
            EXPECT_LT(true_distance(24, far.data(), decoded.data()),
                      0.6 * true_distance(24, far.data(), anchor.data()))
                    << scale << " " << j << " spread " << model.spread[j];
        }
    }
}

} // namespace
} // namespace faiss_vlc
