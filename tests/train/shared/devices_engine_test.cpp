// Several devices as one engine, played by the reference: the integers and bytes of one.

#include <faiss_vlc/train/shared/devices_engine.h>

#include <tests/index/devices_test.h>
#include <tests/support/test_kind.h>

namespace faiss_vlc {
namespace {

TEST(DevicesEngine, TrainsLikeOne) {
    for (int count : {1, 2, 3, 8}) {
        SCOPED_TRACE(std::to_string(count) + " devices");
        const std::unique_ptr<DevicesEngine> devices =
                several_engines(count); // begun again and again
        each_ragged_sample([&](const TestData& data, uint32_t seed) {
            expect_same_training(*devices, data, seed);
        });
    }
}

TEST(DevicesEngine, AssignsBlocks) {
    for (int count : {1, 2, 3, 8}) {
        expect_same_blocks(*several_assigners(count));
    }
}

// A process's rows, a share already, are shared out again.
TEST(DevicesEngine, TakesAShare) {
    const TestData data(1500, 1300, 9, 12, 2, 5);
    const Share share{1, 3};
    TestData own = data;
    own.shape = share_of(data.shape, share);
    for (int64_t i = 0; i < own.shape.n; i++) {
        std::copy_n(&data.rows[share.row(i) * data.shape.dp], data.shape.dp,
                    &own.rows[i * data.shape.dp]);
    }
    ReferenceEngine expected;
    const std::unique_ptr<DevicesEngine> devices = several_engines(2);
    expected.begin(own.shape, own.rows.data());
    devices->begin(own.shape, {data.rows.data(), share});
    for (Engine* engine : {static_cast<Engine*>(&expected), static_cast<Engine*>(devices.get())}) {
        engine->set_anchors(data.anchor.data());
        engine->set_bias(data.bias.data());
        engine->assign();
        engine->reduce({1000, Robust::none, 0});
    }
    expect_same_state(expected, *devices, own.shape, "reduce");
}

TEST(DevicesEngine, Names) {
    EXPECT_EQ(several_engines(1)->name(), "reference");
    EXPECT_EQ(several_engines(3)->name(), "3 x reference");
    EXPECT_ANY_THROW(DevicesEngine({}));
    EXPECT_EQ(several_assigners(3)->name(), "3 x reference");
    EXPECT_ANY_THROW(DevicesAssigner({}));
}

/// As many references as the device string says.
class DevicesIndex : public testing::Test {
protected:
    static int count(const std::string& device) {
        return device == "reference" ? 1 : std::stoi(device);
    }
    const RegisteredKind kind_{std::make_shared<TestKind>(
            [](const std::string& device) { return several_engines(count(device)); },
            [](const std::string& device) { return several_assigners(count(device)); })};
};

TEST_F(DevicesIndex, HasTheBytesOfOne) {
    expect_same_indexes({"2", "3", "5"});
}

TEST_F(DevicesIndex, ResumesWithOtherDevices) {
    expect_same_resumed({"1", "2", "3"});
}

} // namespace
} // namespace faiss_vlc
