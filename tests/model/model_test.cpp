#include <faiss_vlc/model/model.h>

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <tests/model/model_test.h>

namespace faiss_vlc {
namespace {

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
