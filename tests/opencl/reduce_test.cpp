#include <opencl/reduce.h>

#include <faiss_vlc/train/stages/assign.h>
#include <faiss_vlc/train/stages/reduce.h>

#include <tests/opencl/opencl_fixture.h>

namespace faiss_vlc {
namespace {

void expect_equal(int work_group, const TestData& data) {
    const Shape& s = data.shape;
    SCOPED_TRACE("group " + std::to_string(work_group) + " n " + std::to_string(s.n_train) + " d " +
                 std::to_string(s.d) + " m " + std::to_string(s.m) + " neighbours " +
                 std::to_string(s.neighbours));
    std::vector<int32_t> label(s.n * s.neighbours), dist(label.size());
    assign_rows(s.n, data.rows.data(),
                {s.m, s.dp, data.anchor8.data(), data.norm.data(), data.bias.data()},
                {s.neighbours, label.data(), dist.data()});
    std::vector<int64_t> weight(s.m), sum(size_t(s.m) * s.dp), energy(s.m);
    std::vector<int32_t> count(s.m);

    ReduceStage stage(KernelSet::compile(test_device(), work_group), s);
    const Buffer rows = to_device(data.rows);
    const Buffer labels = to_device(label);
    const Buffer dists = to_device(dist);
    const Buffer bias = to_device(data.bias);
    const int32_t middle = dist.empty() ? 1 : dist[dist.size() / 2 / s.neighbours * s.neighbours];
    for (const ReduceParams& params :
         {ReduceParams{0, Robust::none, 0}, ReduceParams{2000, Robust::huber, middle},
          ReduceParams{300, Robust::trim, middle}, ReduceParams{INT32_MAX, Robust::huber, 1},
          ReduceParams{5000, Robust::trim, 0}}) {
        reduce_rows(s, data.rows.data(), label.data(), dist.data(), data.bias.data(), params,
                    {weight.data(), sum.data(), count.data(), energy.data()});
        stage.reduce(int(s.n_train), rows, labels, dists, bias, params);
        EXPECT_EQ(from_device<int64_t>(stage.weight(), weight.size()), weight);
        EXPECT_EQ(from_device<int64_t>(stage.sum(), sum.size()), sum);
        EXPECT_EQ(from_device<int32_t>(stage.count(), count.size()), count);
        EXPECT_EQ(from_device<int64_t>(stage.energy(), energy.size()), energy);
    }
}

TEST(OpenCLReduce, EqualsTheReference) {
    LaunchCounter launched;
    for (int work_group : kWorkGroups) {
        uint32_t seed = work_group;
        for (int d : {1, 3, 16, 17, 100, 128, 384}) {
            for (int m : {1, 2, 16, 70, 1000}) {
                const int n = 100 + int(seed % 50);
                expect_equal(work_group, TestData(n, n - n / 10, d, m, 1 + seed % 4, seed));
                seed++;
            }
        }
    }
    const bool on_host = KernelSet::compile(test_device(), 64).dot.on_host();
    for (const char* kernel :
         {on_host ? "weigh_parts" : "weigh_entries", "prefix",
          on_host ? "scatter_entry_parts" : "scatter_entries",
          on_host ? "sum_segments_alone" : "sum_segments", "combine_segments"}) {
        EXPECT_GT(launched(kernel), 100u) << kernel;
    }
}

// Lists around the length of a segment, dimensions beyond the work-group.
TEST(OpenCLReduce, SegmentsAndWideRows) {
    for (int n : {0, 1, 255, 256, 257, 511, 512, 513, 3000}) {
        expect_equal(64, TestData(n, n, 20, 1, 1, n + 1));
        expect_equal(128, TestData(n, n, 20, 5, 4, n + 1));
    }
    expect_equal(64, TestData(60, 55, 2000, 3, 2));
    expect_equal(256, TestData(60, 55, 4096, 3, 2));
}

TEST(OpenCLReduce, LargestSumsFit) {
    TestData data(2000, 2000, 16, 1, 1);
    for (size_t i = 0; i < data.rows.size(); i++) {
        data.rows[i] = i % 16 < 8 ? 127 : -127;
    }
    expect_equal(64, data);
}

} // namespace
} // namespace faiss_vlc
