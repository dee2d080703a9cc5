// Several OpenCL devices that train together. PoCL makes three of this CPU; where VLC_DEVICE names
// several (opencl-all:<part of a name>) it is those, two at least.

#include <faiss_vlc/train/shared/devices_engine.h>

#include <algorithm>
#include <thread>

#include <faiss_vlc/index/devices.h>
#include <opencl/opencl_assigner.h>
#include <opencl/opencl_engine.h>

#include <tests/index/devices_test.h>
#include <tests/opencl/opencl_fixture.h>
#include <tests/support/test_kind.h>

namespace faiss_vlc {
namespace {

const char* const kPocl = "Portable Computing Language";

/// The device string, or empty: PoCL's. PoCL reads its variable when OpenCL is first used, which is
/// later.
std::string spec = [] {
    const char* variable = std::getenv("VLC_DEVICE");
    const std::string given = variable ? variable : "";
    unsetenv("VLC_DEVICE");
    if (given.rfind("opencl-all", 0) == 0) {
        return given;
    }
    setenv("POCL_DEVICES", "pthread pthread pthread", 1);
    return std::string();
}();

class OpenCLDevices : public testing::Test {
protected:
    static void SetUpTestSuite() {
        const std::vector<DeviceInfo> infos = list_devices();
        const auto pocl = std::find_if(infos.begin(), infos.end(), [](const DeviceInfo& info) {
            return info.platform == kPocl;
        });
        if (spec.empty() && pocl != infos.end()) {
            spec = "opencl-all:" + pocl->name;
            expected = 3;
        }
        no_pocl = spec.empty();
        if (!no_pocl) {
            devices = new std::vector<std::shared_ptr<Device>>(open_devices(spec));
        }
    }
    void SetUp() override {
        if (no_pocl) {
            GTEST_SKIP()
                    << "no PoCL, which would make several devices of a CPU, and VLC_DEVICE names "
                       "none: training on several devices is NOT tested";
        }
        ASSERT_GE(devices->size(), expected) << "devices of " << spec;
    }

    static int count() { return int(devices->size()); }
    static std::unique_ptr<DevicesEngine> engine_of(int first, int count, int work_group = 64) {
        std::vector<std::unique_ptr<Engine>> engines;
        for (int i = first; i < first + count; i++) {
            engines.push_back(std::make_unique<OpenCLEngine>((*devices)[i], work_group));
        }
        return std::make_unique<DevicesEngine>(std::move(engines));
    }
    static std::unique_ptr<DevicesAssigner> assigner_of(int first, int count) {
        std::vector<std::unique_ptr<Assigner>> assigners;
        for (int i = first; i < first + count; i++) {
            assigners.push_back(std::make_unique<OpenCLAssigner>((*devices)[i], 64));
        }
        return std::make_unique<DevicesAssigner>(std::move(assigners));
    }
    static uint64_t buffers() {
        uint64_t made = 0;
        for (const std::shared_ptr<Device>& device : *devices) {
            made += device->allocations();
        }
        return made;
    }

    static bool no_pocl;
    static size_t expected;                               ///< devices at least
    static std::vector<std::shared_ptr<Device>>* devices; ///< never destroyed, see test_device
};

bool OpenCLDevices::no_pocl = false;
size_t OpenCLDevices::expected = 2;
std::vector<std::shared_ptr<Device>>* OpenCLDevices::devices = nullptr;

TEST_F(OpenCLDevices, AreFoundByName) {
    const std::string name = (*devices)[0]->info().name;
    std::string upper = name;
    for (char& c : upper) {
        c = char(toupper((unsigned char)c));
    }
    const std::vector<std::shared_ptr<Device>> same = open_devices("opencl-all:" + upper);
    ASSERT_GE(same.size(), 1u);
    for (const std::shared_ptr<Device>& device : same) {
        EXPECT_EQ(device->info().name, name);
        EXPECT_NE(std::find(devices->begin(), devices->end(), device), devices->end())
                << "one Device per device";
    }
    for (size_t i = 0; i < devices->size(); i++) {
        EXPECT_EQ((*devices)[i]->info().type, (*devices)[0]->info().type);
        EXPECT_EQ((*devices)[i]->info().platform, (*devices)[0]->info().platform);
        EXPECT_EQ(std::count(devices->begin(), devices->end(), (*devices)[i]), 1);
    }
    EXPECT_EQ(open_devices("opencl:" + name).size(), 1u);
    EXPECT_EQ(open_devices("opencl:" + name)[0], (*devices)[0]);
    EXPECT_LE(open_devices("auto").size(), 1u);
    EXPECT_TRUE(open_devices("reference").empty());
    const auto all = open_devices("opencl-all");
    EXPECT_EQ(open_devices("opencl-all:"), all);
    EXPECT_EQ(all[0], open_devices("opencl:")[0]);
    setenv("VLC_DEVICE", "opencl-all", 1);
    EXPECT_EQ(open_devices(), all);
    EXPECT_FALSE(is_auto_device(""));
    EXPECT_FALSE(host_assigns("", 1));
    unsetenv("VLC_DEVICE");

    EXPECT_TRUE(throws([] { open_devices("opencl-all:no such device"); }, "'no such device'"));
    EXPECT_TRUE(throws([] { open_devices("opencl-all:no such device"); }, name));
    for (const char* wrong : {"opencl-all2", "opencl-al:x", "opencl-", "opencl"}) {
        EXPECT_TRUE(throws([&] { open_devices(wrong); }, "opencl-all[:<part>]")) << wrong;
    }
    EXPECT_TRUE(throws([] { open_device("opencl-all"); }, "expected one"));
}

TEST_F(OpenCLDevices, TrainLikeTheReference) {
    for (int some = 1; some <= std::min(3, count()); some++) {
        SCOPED_TRACE(std::to_string(some) + " devices");
        const std::unique_ptr<DevicesEngine> engine =
                engine_of(count() - some, some, kWorkGroups[some % 3]);
        each_ragged_sample([&](const TestData& data, uint32_t seed) {
            expect_same_training(*engine, data, seed, buffers);
        });
    }
}

TEST_F(OpenCLDevices, StreamTheirShares) {
    setenv("VLC_OPENCL_SAMPLE", "0.001953125", 1); // blocks of 128 rows, where a row has 16 bytes
    const std::unique_ptr<DevicesEngine> engine = engine_of(0, 2);
    expect_same_training(*engine, TestData(1000, 900, 16, 70, 2, 1), 1, buffers);
    expect_same_training(*engine, TestData(1281, 1200, 9, 17, 3, 2), 2, buffers);
    setenv("VLC_OPENCL_SAMPLE", "0.015625", 1);
    expect_same_training(*engine, TestData(900, 640, 100, 17, 4, 3), 3, buffers);
    unsetenv("VLC_OPENCL_SAMPLE");
}

TEST_F(OpenCLDevices, MayBeOfOtherKinds) {
    std::vector<std::unique_ptr<Engine>> engines;
    engines.push_back(std::make_unique<OpenCLEngine>((*devices)[0], 64));
    engines.push_back(std::make_unique<ReferenceEngine>());
    DevicesEngine engine(std::move(engines));
    EXPECT_EQ(engine.name(), (*devices)[0]->info().name + ", reference");
    expect_same_training(engine, TestData(700, 600, 30, 17, 2, 3), 3);
}

TEST_F(OpenCLDevices, AssignBlocks) {
    for (int some = 2; some <= std::min(3, count()); some++) {
        expect_same_blocks(*assigner_of(0, some));
    }
}

TEST_F(OpenCLDevices, MakeTheSameIndexes) {
    std::string name;
    trained_bytes(clustered(2000, 8, 10, 1), 8, quick(10), spec, &name);
    EXPECT_EQ(name, engine_of(0, count())->name());
    if ((*devices)[0]->info().name == devices->back()->info().name) {
        EXPECT_EQ(name, std::to_string(count()) + " x " + (*devices)[0]->info().name);
    }
    expect_same_indexes({"opencl:" + (*devices)[0]->info().name, spec});
}

TEST_F(OpenCLDevices, ResumeWithOtherDevices) {
    const RegisteredKind kind(std::make_shared<TestKind>(
            [](const std::string& device) -> std::unique_ptr<Engine> {
                if (device == "reference") {
                    return std::make_unique<ReferenceEngine>();
                }
                return engine_of(0, std::stoi(device));
            },
            [](const std::string& device) -> std::unique_ptr<Assigner> {
                if (device == "reference") {
                    return std::make_unique<ReferenceAssigner>();
                }
                return assigner_of(0, std::stoi(device));
            }));
    expect_same_resumed({"1", "2", std::to_string(count())});
}

TEST_F(OpenCLDevices, AreSharedByThreads) {
    const std::vector<float> x = clustered(2000, 12, 20, 5);
    const Bytes expected = trained_bytes(x, 12, quick(20), "reference");
    std::vector<Bytes> met(3);
    std::vector<std::thread> threads;
    for (Bytes& bytes : met) {
        threads.emplace_back([&] { bytes = trained_bytes(x, 12, quick(20), spec); });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const Bytes& bytes : met) {
        EXPECT_TRUE(bytes == expected);
    }
}

TEST_F(OpenCLDevices, DontSearchTogether) {
    const std::vector<float> x = clustered(500, 12, 8, 3);
    IndexVLC index(12, quick(5, 6));
    index.train(500, x.data());
    index.add(500, x.data());
    const Results expected = search(index, x);
    index.search_device = spec;
    EXPECT_TRUE(throws([&] { search(index, x); }, "expected one device"));
    index.search_device = "opencl:" + (*devices)[0]->info().name;
    EXPECT_EQ(search(index, x), expected);
    index.parameters.device = "opencl-all:nothing like it";
    EXPECT_TRUE(throws([&] { index.add(500, x.data()); }, "'nothing like it'"));
    EXPECT_EQ(index.ntotal, 500);
}

} // namespace
} // namespace faiss_vlc
