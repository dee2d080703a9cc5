#include <opencl/update.h>

#include <faiss_vlc/train/stages/assign.h>
#include <faiss_vlc/train/stages/reduce.h>
#include <faiss_vlc/train/stages/update.h>

#include <tests/opencl/opencl_fixture.h>

namespace faiss_vlc {
namespace {

void expect_equal(int work_group, TestData data, const UpdateParams& params) {
    const Shape& s = data.shape;
    SCOPED_TRACE("group " + std::to_string(work_group) + " n " + std::to_string(s.n_train) + " d " +
                 std::to_string(s.d) + " m " + std::to_string(s.m));
    std::vector<int32_t> label(s.n * s.neighbours), dist(label.size());
    assign_rows(s.n, data.rows.data(),
                {s.m, s.dp, data.anchor8.data(), data.norm.data(), data.bias.data()},
                {s.neighbours, label.data(), dist.data()});
    std::vector<int64_t> weight(s.m), sum(size_t(s.m) * s.dp), energy(s.m);
    std::vector<int32_t> count(s.m), spread(s.m);
    const ReduceParams reduce{700, Robust::huber, 5000};
    reduce_rows(s, data.rows.data(), label.data(), dist.data(), data.bias.data(), reduce,
                {weight.data(), sum.data(), count.data(), energy.data()});

    const KernelSet kernels = KernelSet::compile(test_device(), work_group);
    ReduceStage sums(kernels, s);
    sums.reduce(int(s.n_train), to_device(data.rows), to_device(label), to_device(dist),
                to_device(data.bias), reduce);
    UpdateStage stage(kernels);
    AnchorBuffers anchors(*test_device(), s.m, s.dp);
    anchors.anchor = to_device(data.anchor);
    anchors.bias = to_device(data.bias);
    stage.update(s, params, sums, anchors);

    update_anchors(s, params, {weight.data(), sum.data(), count.data(), energy.data()},
                   {data.anchor.data(), data.anchor8.data(), data.norm.data(), spread.data(),
                    data.bias.data()});
    EXPECT_EQ(from_device<int32_t>(anchors.anchor, data.anchor.size()), data.anchor);
    EXPECT_EQ(from_device<int8_t>(anchors.anchor8, data.anchor8.size()), data.anchor8);
    EXPECT_EQ(from_device<int32_t>(anchors.norm, s.m), data.norm);
    EXPECT_EQ(from_device<int32_t>(anchors.spread, s.m), spread);
    EXPECT_EQ(from_device<int32_t>(anchors.bias, s.m), data.bias);
}

TEST(OpenCLUpdate, EqualsTheReference) {
    LaunchCounter launched;
    UpdateParams params;
    for (int work_group : kWorkGroups) {
        uint32_t seed = work_group;
        for (int d : {1, 3, 16, 17, 100, 128, 384}) {
            for (int m : {1, 2, 16, 70, 1000}) {
                const int n = 100 + int(seed % 50);
                params.step = 1 + int(seed * 37 % 256);
                params.max_step = seed % 2 ? kMaxAnchor : int(seed * 1000);
                params.mean_count = n / m;
                params.bias_scale = int(seed % 5) * 1000 - 1000;
                params.noise_scale = int(seed % 3) * 5000;
                params.seed = seed;
                params.iteration = seed % 7;
                expect_equal(work_group, TestData(n, n - n / 10, d, m, 1 + seed % 4, seed), params);
                seed++;
            }
        }
    }
    for (const char* kernel : {"move_anchors", "update_spread_bias", "refresh_anchors"}) {
        EXPECT_GT(launched(kernel), 100u) << kernel;
    }
}

TEST(OpenCLUpdate, ExtremeBiasesAreClamped) {
    UpdateParams params;
    params.bias_scale = INT32_MAX;
    params.noise_scale = INT32_MIN;
    params.mean_count = 1;
    expect_equal(64, TestData(3000, 3000, 8, 4, 1), params);
    params.bias_scale = INT32_MIN;
    params.mean_count = INT32_MAX;
    expect_equal(64, TestData(3000, 3000, 8, 4, 1), params);
}

} // namespace
} // namespace faiss_vlc
