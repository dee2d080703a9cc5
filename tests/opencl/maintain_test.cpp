#include <opencl/maintain.h>

#include <faiss_vlc/train/stages/maintain.h>

#include <tests/opencl/opencl_fixture.h>

namespace faiss_vlc {
namespace {

void load(const TestData& data, const std::vector<int32_t>& spread, AnchorBuffers& anchors) {
    anchors.anchor = to_device(data.anchor);
    anchors.anchor8 = to_device(data.anchor8);
    anchors.norm = to_device(data.norm);
    anchors.bias = to_device(data.bias);
    anchors.spread = to_device(spread);
}

void expect_same(const TestData& data, const std::vector<int32_t>& spread,
                 const AnchorBuffers& anchors) {
    const int m = data.shape.m;
    EXPECT_EQ(from_device<int32_t>(anchors.anchor, data.anchor.size()), data.anchor);
    EXPECT_EQ(from_device<int8_t>(anchors.anchor8, data.anchor8.size()), data.anchor8);
    EXPECT_EQ(from_device<int32_t>(anchors.norm, m), data.norm);
    EXPECT_EQ(from_device<int32_t>(anchors.bias, m), data.bias);
    EXPECT_EQ(from_device<int32_t>(anchors.spread, m), spread);
}

void expect_equal(const KernelSet& kernels, TestData data) {
    const Shape& s = data.shape;
    SCOPED_TRACE(std::string(kernels.dot.name) + " group " + std::to_string(kernels.work_group) +
                 " d " + std::to_string(s.d) + " m " + std::to_string(s.m));
    std::vector<int32_t> label(s.m), dist(s.m), met_label(s.m), met_dist(s.m), spread(s.m),
            count(s.m);
    for (int j = 0; j < s.m; j++) {
        spread[j] = j * 7919 % 4000;
        count[j] = j * 31 % 50;
    }
    AnchorBuffers anchors(*test_device(), s.m, s.dp);
    load(data, spread, anchors);
    AssignStage assign(kernels);
    UpdateStage update(kernels);
    MaintainStage stage(kernels, s.m);
    AssignStage::Packed packed(*test_device(), s.m, s.dp);
    assign.pack(anchors.anchor8, s.m, s.dp, packed);
    stage.nearest(s.m, s.dp, anchors, packed, assign, met_label.data(), met_dist.data());
    nearest_anchors(s.m, s.dp, data.anchor8.data(), data.norm.data(), label.data(), dist.data());
    EXPECT_EQ(met_label, label);
    EXPECT_EQ(met_dist, dist);

    // pairs (0, 1), (2, 3), ... merge and split in turn
    std::vector<Move> moves;
    for (int j = 0; j + 1 < s.m; j += 2) {
        moves.push_back({j / 2 % 2, j, j + 1, uint32_t(j) * 977});
    }
    const Buffer counts = to_device(count);
    stage.apply(s, moves.data(), int(moves.size()), counts, update, anchors);
    apply_moves(s, moves.data(), int(moves.size()), count.data(),
                {data.anchor.data(), data.anchor8.data(), data.norm.data(), spread.data(),
                 data.bias.data()});
    expect_same(data, spread, anchors);

    for (AnchorGrid grid : {AnchorGrid::float16, AnchorGrid::int8}) {
        stage.quantize(s, grid, update, anchors);
        quantize_anchors(s, grid, data.anchor.data(), data.anchor8.data(), data.norm.data(),
                         spread.data());
        expect_same(data, spread, anchors);
    }
    const Move outside{Move::merge, 0, s.m, 0};
    EXPECT_ANY_THROW(stage.apply(s, &outside, 1, counts, update, anchors));
}

TEST(OpenCLMaintain, EqualsTheReference) {
    LaunchCounter launched;
    for (int work_group : kWorkGroups) {
        const KernelSet kernels = KernelSet::compile(test_device(), work_group);
        uint32_t seed = work_group;
        for (int d : {1, 3, 16, 17, 100, 128, 384}) {
            for (int m : {1, 2, 3, 16, 17, 63, 70, 1000}) {
                expect_equal(kernels, TestData(20, 20, d, m, 1, seed++));
            }
        }
    }
    const KernelSet kernels = KernelSet::compile(test_device(), 64);
    for (const char* kernel : {assign_kernel(kernels.dot), "apply_moves", "quantize_anchors"}) {
        EXPECT_GT(launched(kernel), 100u) << kernel;
    }
}

TEST(OpenCLMaintain, EveryDotFindsNearestPairs) {
    for (const Dot& dot : usable_dots(*test_device())) {
        const KernelSet kernels = KernelSet::compile(test_device(), 64, dot);
        for (int m = 1; m <= 70; m++) {
            expect_equal(kernels, TestData(5, 5, 1 + m * 5 % 40, m, 1, m));
        }
    }
}

TEST(OpenCLMaintain, RoundsToHalfLikeTheReference) {
    TestData data(1, 1, 384, 1000, 1);
    const KernelSet kernels = KernelSet::compile(test_device(), 64);
    std::mt19937 random(3);
    for (size_t i = 0; i < data.anchor.size(); i++) {
        // all magnitudes, many of them halfway between two float16
        const int bits = int(random() % 23);
        int32_t value = int32_t(random() & ((1u << bits) - 1)) | (1 << bits);
        if (bits > 11 && i % 3 == 0) {
            value = (value >> (bits - 11)) << (bits - 11);
        }
        value = std::min(value, kMaxAnchor);
        data.anchor[i] = i % 2 ? value : -value;
    }
    refresh_anchors(0, 1000, 384, data.anchor.data(), data.anchor8.data(), data.norm.data());
    std::vector<int32_t> spread(1000);
    for (int32_t& e : spread) {
        e = int32_t(random() % 260000);
    }
    AnchorBuffers anchors(*test_device(), 1000, 384);
    load(data, spread, anchors);
    UpdateStage update(kernels);
    MaintainStage stage(kernels, 1000);
    stage.quantize(data.shape, AnchorGrid::float16, update, anchors);
    quantize_anchors(data.shape, AnchorGrid::float16, data.anchor.data(), data.anchor8.data(),
                     data.norm.data(), spread.data());
    expect_same(data, spread, anchors);
}

} // namespace
} // namespace faiss_vlc
