#include <faiss_vlc/model.h>

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "model_test.h"

namespace faiss_vlc {
namespace {

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
            ASSERT_EQ(factors, model.estimator.encode(coder.residual_square, coder.residual_dot,
                                                      model.spread[j]));
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

TEST(Model, SameAsComparesTheTraining) {
    const std::vector<float> x = clustered(600, 10, 8, 5);
    const Trained a = train_model(600, 10, x.data(), small_parameters(8));
    const Trained b = train_model(600, 10, x.data(), small_parameters(8));
    VLCParameters params = small_parameters(8);
    params.seed++;
    const Trained c = train_model(600, 10, x.data(), params);
    EXPECT_TRUE(a.model->same_as(*a.model));
    EXPECT_TRUE(a.model->same_as(*b.model));
    EXPECT_FALSE(a.model->same_as(*c.model));
    const Trained ip =
            train_model(600, 10, x.data(), small_parameters(8), faiss::METRIC_INNER_PRODUCT);
    EXPECT_FALSE(a.model->same_as(*ip.model));
    Model changed = *a.model;
    changed.spread[3] *= 2;
    EXPECT_FALSE(a.model->same_as(changed));
    EXPECT_GT(a.model->memory(), size_t(8 * 16));
}

} // namespace
} // namespace faiss_vlc
