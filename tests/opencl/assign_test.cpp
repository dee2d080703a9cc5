#include <opencl/assign.h>

#include <faiss_vlc/train/stages/assign.h>

#include <tests/opencl/opencl_fixture.h>

namespace faiss_vlc {
namespace {

void expect_equal(const KernelSet& kernels, const TestData& data, bool with_bias) {
    const Shape& s = data.shape;
    SCOPED_TRACE(std::string(kernels.dot.name) + " group " + std::to_string(kernels.work_group) +
                 " n " + std::to_string(s.n) + " d " + std::to_string(s.d) + " m " +
                 std::to_string(s.m) + " neighbours " + std::to_string(s.neighbours));
    const size_t size = size_t(s.n) * s.neighbours;
    std::vector<int32_t> label(size), dist(size);
    const int32_t* bias = with_bias ? data.bias.data() : nullptr;
    assign_rows(s.n, data.rows.data(), {s.m, s.dp, data.anchor8.data(), data.norm.data(), bias},
                {s.neighbours, label.data(), dist.data()});

    Device& device = *kernels.device;
    AssignStage stage(kernels);
    const Buffer rows = to_device(data.rows);
    const Buffer norm = to_device(data.norm);
    const Buffer biases = to_device(data.bias);
    AssignStage::Packed packed(device, s.m, s.dp);
    Buffer constants = device.allocate<int32_t>(AssignStage::constants_size(s.m), "constants");
    Buffer row_constant = device.allocate<int32_t>(s.n, "row constants");
    Buffer labels = device.allocate<int32_t>(size, "labels");
    Buffer dists = device.allocate<int32_t>(size, "distances");
    stage.pack(to_device(data.anchor8), s.m, s.dp, packed);
    stage.constants(norm, with_bias ? &biases : nullptr, s.m, s.dp, constants);
    stage.row_constants(rows, int(s.n), s.dp, row_constant);
    stage.assign(rows, row_constant, {packed, constants, norm, s.m}, int(s.n), s.dp, s.neighbours,
                 false, labels, dists);
    EXPECT_EQ(from_device<int32_t>(labels, size), label);
    EXPECT_EQ(from_device<int32_t>(dists, size), dist);

    std::vector<int32_t> previous(s.n);
    for (size_t i = 0; i < previous.size(); i++) {
        previous[i] = int32_t(i % 3) - 1;
    }
    Buffer previous_buffer = to_device(previous);
    const AssignSummary expected =
            summarize_assign(s, s.n, label.data(), dist.data(), previous.data());
    const AssignSummary met = stage.summarize(s, int(s.n), labels, dists, previous_buffer);
    EXPECT_EQ(met.changes, expected.changes);
    EXPECT_EQ(met.energy_train, expected.energy_train);
    EXPECT_EQ(met.energy_held, expected.energy_held);
    EXPECT_EQ(from_device<int32_t>(previous_buffer, s.n), previous);
}

TEST(OpenCLAssign, EqualsTheReference) {
    LaunchCounter launched;
    for (const Dot& dot : all_dots()) {
        const KernelSet kernels = KernelSet::compile(test_device(), 64, dot);
        int seed = 0;
        for (int d : {1, 3, 16, 17, 100, 128, 384}) {
            for (int m : {1, 2, 15, 16, 17, 33, 63, 64, 65, 70, 200}) {
                const int neighbours = 1 + seed % 4;
                expect_equal(kernels, TestData(97 + seed % 7, 80, d, m, neighbours, seed), true);
                seed++;
            }
            expect_equal(kernels, TestData(131, 120, d, 1000, 4, seed), true);
        }
        // what tensor cores take in other shapes, up to rows that wgmma can't hold
        for (int d : {32, 129, 161, 192, 385, 768, 769}) {
            expect_equal(kernels, TestData(300 + d % 7, 280, d, 300 + d % 5, 1 + d % 4, d), true);
        }
        for (int m = 1; m <= 70; m++) {
            expect_equal(kernels, TestData(40, 33, 19, m, 1 + m % 4, m), m % 2 == 0);
        }
        for (int n = 1; n <= 26; n++) {
            expect_equal(kernels, TestData(n, n - n / 3, 32, 40, 2, n), true);
        }
    }
    for (const char* kernel :
         {"pack_anchors", "anchor_constants", "row_constants", "assign", "summarize"}) {
        EXPECT_GT(launched(kernel), 100u) << kernel;
    }
}

TEST(OpenCLAssign, WorkGroupsDoNotMatter) {
    for (const Dot& dot : all_dots()) {
        for (int work_group : kWorkGroups) {
            const KernelSet kernels = KernelSet::compile(test_device(), work_group, dot);
            EXPECT_EQ(kernels.work_group, work_group);
            for (int n : {1, 385, 1537, 20001}) {
                expect_equal(kernels, TestData(n, n * 9 / 10, 24, 100, 3, n), true);
            }
        }
    }
}

TEST(OpenCLAssign, ExtremesDoNotOverflow) {
    for (const Dot& dot : all_dots()) {
        const KernelSet kernels = KernelSet::compile(test_device(), 64, dot);
        for (const size_t d : {4096, 768, 128}) {
            TestData data(30, 20, int(d), 200, 4);
            for (size_t i = 0; i < data.rows.size(); i++) {
                data.rows[i] = (i / d) % 3 ? ((i / d) % 2 ? 127 : -127) : int8_t(i % 255 - 127);
            }
            for (size_t i = 0; i < data.anchor.size(); i++) {
                data.anchor[i] = ((i / d) % 2 ? 127 : -127) * 65536;
            }
            refresh_anchors(0, 200, int(d), data.anchor.data(), data.anchor8.data(),
                            data.norm.data());
            for (size_t j = 0; j < data.bias.size(); j++) {
                data.bias[j] = j % 3 == 0 ? kMaxBias : j % 3 == 1 ? -kMaxBias : 0;
            }
            expect_equal(kernels, data, true);
        }
    }
}

// Where winners are kept by tile numbers, these overflow at 2^k anchors.
TEST(OpenCLAssign, ManyAnchors) {
    for (const Dot& dot : all_dots()) {
        const KernelSet kernels = KernelSet::compile(test_device(), 64, dot);
        expect_equal(kernels, TestData(300, 300, 16, 40000, 4, 1), true);
        expect_equal(kernels, TestData(300, 300, 128, 9001, 4, 2), true);
        expect_equal(kernels, TestData(200, 200, 800, 2100, 4, 3), true);
    }
}

TEST(OpenCLAssign, TheDotCanBeChosen) {
    for (const Dot& dot : usable_dots(*test_device())) {
        setenv("VLC_OPENCL_DOT", dot.name, 1);
        EXPECT_STREQ(KernelSet::compile(test_device(), 64).dot.name, dot.name);
    }
    setenv("VLC_OPENCL_DOT", "nonsense", 1);
    EXPECT_ANY_THROW(KernelSet::compile(test_device(), 64));
    unsetenv("VLC_OPENCL_DOT");
    EXPECT_STREQ(KernelSet::compile(test_device(), 64).dot.name,
                 usable_dots(*test_device()).front().name);
    EXPECT_ANY_THROW(KernelSet::compile(test_device(), 100));
}

} // namespace
} // namespace faiss_vlc
