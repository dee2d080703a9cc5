#include <opencl/covariance.h>

#include <map>
#include <string>

#include <faiss_vlc/train/stages/assign.h>
#include <faiss_vlc/train/stages/covariance.h>

#include <tests/opencl/opencl_fixture.h>

namespace faiss_vlc {
namespace {

/// Over every row, last one first, or with gaps.
void expect_equal(int work_group, CovarianceRoutine routine, const TestData& data, int skip = 1) {
    const Shape& s = data.shape;
    SCOPED_TRACE("n " + std::to_string(s.n_train) + " d " + std::to_string(s.d));
    std::vector<int32_t> label(s.n * s.neighbours), dist(label.size());
    assign_rows(s.n, data.rows.data(), {s.m, s.dp, data.anchor8.data(), data.norm.data()},
                {s.neighbours, label.data(), dist.data()});
    std::vector<int64_t> expected(size_t(s.d) * s.d), met(expected.size(), -1);
    std::vector<int32_t> rows;
    for (int64_t i = s.n_train - 1; i >= 0; i -= 1 + i % skip) {
        rows.push_back(int32_t(i));
    }
    const int64_t count = int64_t(rows.size());
    residual_covariance(s, data.rows.data(), data.anchor8.data(), label.data(), rows.data(), count,
                        expected.data());
    device_covariance(KernelSet::compile(test_device(), work_group), s, to_device(data.rows),
                      to_device(data.anchor8), to_device(label), rows.data(), count, routine,
                      met.data());
    EXPECT_EQ(met, expected);
}

const std::map<CovarianceRoutine, std::string> kRoutines = {
        {CovarianceRoutine::kLoops, "covariance_by_loops"},
        {CovarianceRoutine::kSyrk, "clblast Syrk"},
        {CovarianceRoutine::kBatchedGemm, "clblast GemmStridedBatched"},
        {CovarianceRoutine::kOwn, "multiply_residuals"}};

class OpenCLCovariance : public testing::TestWithParam<CovarianceRoutine> {
protected:
    void SetUp() override {
        if (GetParam() == CovarianceRoutine::kLoops &&
            !(KernelSet::compile(test_device(), 64).dot.on_host() && has_covariance_loops())) {
            GTEST_SKIP() << "the device is not this CPU, or the level has no loops";
        }
    }
};

TEST_P(OpenCLCovariance, EqualsTheReference) {
    LaunchCounter launched;
    uint32_t seed = 1;
    for (int n : {0, 1, 255, 256, 257, 1000}) {
        for (int d : {1, 3, 16, 17, 100, 128}) {
            expect_equal(kWorkGroups[seed % 3], GetParam(),
                         TestData(n, n - n / 10, d, 1 + seed % 20, 1 + seed % 4, seed),
                         1 + seed % 3);
            seed++;
        }
    }
    expect_equal(64, GetParam(), TestData(600, 600, 384, 5, 1));
    if (GetParam() != CovarianceRoutine::kLoops) {
        EXPECT_GT(launched("residual_rows"), 0u);
        EXPECT_GT(launched("add_products"), 0u);
    }
    EXPECT_GT(launched(kRoutines.at(GetParam())), 0u);
}

// Residuals as large as they get, all of one sign: partial sums come close to 2^24.
TEST_P(OpenCLCovariance, LargestSumsAreExact) {
    TestData data(2000, 2000, 20, 1, 1);
    for (size_t i = 0; i < data.rows.size(); i++) {
        data.rows[i] = int8_t(i % 32 < 20 ? 127 - int(i % 3) : 0);
    }
    for (size_t i = 0; i < 20; i++) {
        data.anchor8[i] = -127;
    }
    expect_equal(64, GetParam(), data);
}

// More blocks than one slab holds.
TEST_P(OpenCLCovariance, SlabsAddUp) {
    expect_equal(64, GetParam(), TestData(4000, 3900, 1024, 3, 1));
}

INSTANTIATE_TEST_SUITE_P(, OpenCLCovariance,
                         testing::Values(CovarianceRoutine::kLoops, CovarianceRoutine::kSyrk,
                                         CovarianceRoutine::kBatchedGemm, CovarianceRoutine::kOwn),
                         [](const auto& info) {
                             const std::string& name = kRoutines.at(info.param);
                             return name.substr(name.find(' ') + 1);
                         });

} // namespace
} // namespace faiss_vlc
