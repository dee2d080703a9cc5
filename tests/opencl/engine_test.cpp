#include <opencl/opencl_engine.h>

#include <thread>

#include <faiss_vlc/train/reference_assigner.h>
#include <opencl/covariance.h>
#include <opencl/opencl_assigner.h>
#include <opencl/sample_rows.h>

#include <tests/opencl/opencl_fixture.h>

namespace faiss_vlc {
namespace {

void expect_same_training(const KernelSet& kernels, const TestData& data, uint32_t seed) {
    SCOPED_TRACE(std::string(kernels.dot.name) + " group " + std::to_string(kernels.work_group));
    OpenCLEngine device(kernels);
    EXPECT_EQ(device.name(), test_device()->info().name);
    expect_same_training(device, data, seed, [] { return test_device()->allocations(); });
}

TEST(OpenCLEngine, TrainsLikeTheReference) {
    uint32_t seed = 1;
    for (int d : {1, 3, 16, 17, 100, 128, 384}) {
        for (int m : {1, 2, 16, 17, 70}) {
            const KernelSet kernels = KernelSet::compile(test_device(), kWorkGroups[seed % 3]);
            const int n = 300 + int(seed);
            expect_same_training(kernels, TestData(n, n * 9 / 10, d, m, 1 + seed % 4, seed), seed);
            seed++;
        }
    }
}

// Small enough for simulators that watch every access: tests/opencl/oclgrind.sh.
TEST(OpenCLEngine, SmallSizes) {
    const KernelSet kernels = KernelSet::compile(test_device(), 64);
    expect_same_training(kernels, TestData(70, 60, 3, 1, 1, 1), 1);
    expect_same_training(kernels, TestData(70, 70, 20, 17, 3, 2), 2);
    expect_same_training(kernels, TestData(300, 290, 17, 2, 4, 3), 3);
    for (const Dot& gpu : {Dot{"portable", "-DDOT_PORTABLE", 4}, Dot{"dot4", "-DDOT_PACKED", 2}}) {
        const KernelSet gpu_kernels = KernelSet::compile(test_device(), 64, gpu);
        expect_same_training(gpu_kernels, TestData(70, 70, 20, 17, 3, 2), 2);
        expect_same_training(gpu_kernels, TestData(200, 190, 9, 70, 2, 4), 4);
    }
}

TEST(OpenCLEngine, EveryDotTrainsLikeTheReference) {
    for (const Dot& dot : usable_dots(*test_device())) {
        const KernelSet kernels = KernelSet::compile(test_device(), 64, dot);
        expect_same_training(kernels, TestData(5000, 4500, 40, 1000, 3, 7), 7);
    }
}

// The kernels for GPUs, which devices of other kinds can run too.
TEST(OpenCLEngine, GpuKernelsTrainLikeTheReference) {
    for (const Dot& dot : {Dot{"portable", "-DDOT_PORTABLE", 4}, Dot{"dot4", "-DDOT_PACKED", 2}}) {
        for (int work_group : {64, 256}) {
            const KernelSet kernels = KernelSet::compile(test_device(), work_group, dot);
            expect_same_training(kernels, TestData(3000, 2700, 40, 700, 3, 8), 8);
            TestData same(500, 450, 5, 1500, 2,
                          9); // more that are as near than fit into local memory
            for (int64_t j = 100; j < 1400; j++) {
                std::copy_n(&same.anchor[0], same.shape.dp, &same.anchor[j * same.shape.dp]);
            }
            expect_same_training(kernels, same, 9);
        }
    }
}

// The rows come and go in blocks of 128, where a row has 16 bytes, as 2048 are given.
TEST(OpenCLEngine, StreamedSamplesTrainLikeTheReference) {
    LaunchCounter launched;
    uint64_t weighed = 0;
    for (const char* mib : {"0.001953125", "0.015625"}) {
        setenv("VLC_OPENCL_SAMPLE", mib, 1);
        uint32_t seed = 1;
        for (const Dot& dot : all_dots()) {
            const KernelSet kernels = KernelSet::compile(test_device(), kWorkGroups[seed % 3], dot);
            expect_same_training(kernels, TestData(1000, 900, 16, 70, 2, seed), seed);
            expect_same_training(kernels, TestData(640, 512, 100, 17, 4, seed), seed);
            expect_same_training(kernels, TestData(700, 130, 17, 1, 1, seed), seed);
            const uint64_t now = launched("weigh_entries") + launched("weigh_parts");
            EXPECT_GT(now - weighed, 3 * 4 * 3 / 2u) << "several blocks";
            weighed = now;
            seed++;
        }
    }
    for (const char* wrong : {"x", "0", "-3", "5 MB", "nan"}) {
        setenv("VLC_OPENCL_SAMPLE", wrong, 1);
        const TestData data(100, 90, 10, 5, 2, 3);
        EXPECT_ANY_THROW(OpenCLEngine(test_device(), 64).begin(data.shape, data.rows.data()));
    }
    unsetenv("VLC_OPENCL_SAMPLE");
}

TEST(OpenCLEngine, BlocksLeaveRoomForTheRest) {
    unsetenv("VLC_OPENCL_SAMPLE");
    DeviceInfo info;
    info.global_mem = uint64_t(8) << 30;
    info.max_allocation = uint64_t(2) << 30;
    Shape shape;
    shape.dp = 768;
    shape.neighbours = 2;
    shape.d = 768;
    shape.m = 10000;
    shape.n = 2000000;
    EXPECT_EQ(sample_block(info, shape), shape.n);
    shape.n = 3000000; // more than one buffer can hold
    EXPECT_EQ(sample_block(info, shape), (uint64_t(2) << 30) / 768 / kRowBlock * kRowBlock);
    shape.n = 240000000; // 28 bytes are known of each, which leaves room for some
    const int64_t block = sample_block(info, shape);
    EXPECT_GT(block, 100000);
    EXPECT_LT(block * 768 + shape.n * 28, int64_t(info.global_mem));
    shape.n = 245500000;
    EXPECT_ANY_THROW(sample_block(info, shape));
    setenv("VLC_OPENCL_SAMPLE", "1000000", 1); // no more than there is
    shape.n = 3000000;
    EXPECT_EQ(sample_block(info, shape), (uint64_t(2) << 30) / 768 / kRowBlock * kRowBlock);
    unsetenv("VLC_OPENCL_SAMPLE");
}

TEST(OpenCLEngine, LongListsTakeManySegments) {
    const KernelSet kernels = KernelSet::compile(test_device(), 64);
    expect_same_training(kernels, TestData(9000, 9000, 20, 3, 2, 5), 5);
}

TEST(OpenCLEngine, EveryKernelRuns) {
    LaunchCounter launched;
    const KernelSet kernels = KernelSet::compile(test_device(), 64);
    TestData data(400, 360, 20, 12, 2, 3);
    // An empty and a crowded anchor force both kinds of moves.
    for (int k = 0; k < 20; k++) {
        data.anchor[k] = 127 * 65536;
        data.anchor[data.shape.dp + k] = data.anchor[2 * data.shape.dp + k];
    }
    expect_same_training(kernels, data, 3);
    const bool general = kernels.dot.program == Program::kGeneral;
    const bool wgmma = kernels.dot.program == Program::kWgmma;
    const bool on_host = kernels.dot.on_host();
    for (const char* kernel : {general ? "pack_anchors"
                               : wgmma ? "pack_wgmma"
                                       : "pack_mma",
                               general ? "anchor_constants" : "tensor_constants",
                               assign_kernel(kernels.dot),
                               "row_constants",
                               general ? "score_anchors" : "score_mma",
                               "select_near",
                               on_host ? "count_label_parts" : "count_labels",
                               on_host ? "scatter_row_parts" : "scatter_rows",
                               near_kernel(kernels.dot),
                               "relabel",
                               "take_first",
                               "summarize",
                               on_host ? "weigh_parts" : "weigh_entries",
                               "prefix",
                               on_host ? "scatter_entry_parts" : "scatter_entries",
                               on_host ? "sum_segments_alone" : "sum_segments",
                               "combine_segments",
                               "move_anchors",
                               "update_spread_bias",
                               "refresh_anchors",
                               "apply_moves",
                               "quantize_anchors"}) {
        EXPECT_GT(launched(kernel), 0u) << kernel;
    }
    if (default_covariance_routine(kernels) == CovarianceRoutine::kLoops) {
        EXPECT_GT(launched("covariance_by_loops"), 0u);
        return;
    }
    EXPECT_GT(launched("residual_rows"), 0u);
    EXPECT_GT(launched("add_products"), 0u);
    EXPECT_GT(launched("clblast Syrk") + launched("clblast GemmStridedBatched"), 0u);
}

TEST(OpenCLEngine, LabelsCanBeSet) {
    const TestData data(100, 90, 10, 5, 2, 3);
    OpenCLEngine engine(test_device(), 64);
    engine.begin(data.shape, data.rows.data());
    engine.set_anchors(data.anchor.data());
    EXPECT_EQ(engine.assign().changes, 100);
    EXPECT_EQ(engine.assign().changes, 0);
    std::vector<int32_t> labels(100);
    engine.get_labels(labels.data());
    labels[7] = labels[7] ? 0 : 1;
    engine.set_labels(labels.data());
    EXPECT_EQ(engine.assign().changes, 1);
}

TEST(OpenCLAssigner, AssignsBlocks) {
    for (int m : {1, 50, 300}) {
        const TestData data(1000, 1000, 37, m, 1, 11);
        ReferenceAssigner reference;
        OpenCLAssigner device(test_device(), 128);
        for (Assigner* one :
             {static_cast<Assigner*>(&reference), static_cast<Assigner*>(&device)}) {
            one->begin(m, 37, data.anchor8.data(), 400);
        }
        for (int64_t first = 0; first < 1000; first += 400) {
            const int64_t n = std::min<int64_t>(400, 1000 - first);
            std::vector<int32_t> expected(n), met(n);
            const int8_t* x = data.rows.data() + first * data.shape.dp;
            reference.assign(n, x, expected.data());
            device.assign(n, x, met.data());
            EXPECT_EQ(met, expected);
        }
        EXPECT_ANY_THROW(device.assign(401, data.rows.data(), nullptr));
    }
}

TEST(OpenCLEngine, EnginesShareADeviceAcrossThreads) {
    const TestData data(2000, 1800, 33, 40, 2, 9);
    auto train = [&](Engine& engine) {
        engine.begin(data.shape, data.rows.data());
        engine.set_anchors(data.anchor.data());
        for (uint32_t i = 0; i < 5; i++) {
            engine.assign();
            engine.reduce({2000, Robust::none, 0});
            UpdateParams params;
            params.iteration = i;
            engine.update(params);
        }
        std::vector<int32_t> anchors(data.anchor.size());
        engine.get_anchors(anchors.data());
        return anchors;
    };
    ReferenceEngine reference;
    const std::vector<int32_t> expected = train(reference);
    std::vector<std::vector<int32_t>> met(4);
    std::vector<std::thread> threads;
    for (auto& anchors : met) {
        threads.emplace_back([&] {
            OpenCLEngine engine(test_device(), 64);
            anchors = train(engine);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const auto& anchors : met) {
        EXPECT_EQ(anchors, expected);
    }
}

TEST(OpenCLEngine, WrongUseIsAnError) {
    OpenCLEngine engine(test_device(), 64);
    EXPECT_ANY_THROW(engine.assign());
    Shape shape = TestData(10, 9, 4, 2, 1).shape;
    shape.dp = 4;
    EXPECT_ANY_THROW(engine.begin(shape, nullptr));
    shape.dp = 16;
    shape.neighbours = 5;
    EXPECT_ANY_THROW(engine.begin(shape, nullptr));
    shape.neighbours = 4;
    shape.n = int64_t(1) << 29;
    EXPECT_ANY_THROW(engine.begin(shape, nullptr));
    EXPECT_ANY_THROW(OpenCLEngine(test_device(), 77));
}

} // namespace
} // namespace faiss_vlc
