#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <functional>

#include <faiss/impl/FaissException.h>

#include <opencl/kernel_source.h>

#include <tests/opencl/opencl_fixture.h>

namespace faiss_vlc {
namespace {

std::string error_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const faiss::FaissException& error) {
        return error.what();
    }
    return "";
}

TEST(OpenCLDevice, DevicesAreListed) {
    const std::vector<DeviceInfo> devices = list_devices();
    ASSERT_FALSE(devices.empty());
    for (const DeviceInfo& info : devices) {
        EXPECT_FALSE(info.name.empty());
        EXPECT_FALSE(info.version.empty());
        EXPECT_FALSE(info.platform.empty());
        EXPECT_GT(info.compute_units, 0u);
        EXPECT_GT(info.global_mem, 0u);
        EXPECT_GT(info.max_work_group, 0u);
    }
}

TEST(OpenCLDevice, SpecsNameDevices) {
    EXPECT_EQ(open_device("reference"), nullptr);
    const std::shared_ptr<Device> device = test_device();
    std::string name = device->info().name;
    EXPECT_EQ(open_device("opencl:" + name), device) << "one Device per device";
    std::transform(name.begin(), name.end(), name.begin(), [](char c) { return std::toupper(c); });
    EXPECT_EQ(open_device("opencl:" + name), device);
    EXPECT_NE(open_device("auto"), nullptr);

    const std::string message = error_of([] { open_device("opencl:no such device"); });
    EXPECT_NE(message.find("no such device"), std::string::npos) << message;
    EXPECT_NE(message.find(device->info().name), std::string::npos) << message;
    EXPECT_NE(error_of([] { open_device("gpu"); }).find("'gpu'"), std::string::npos);

    const char* old = std::getenv("VLC_DEVICE");
    const std::string kept = old ? old : "";
    setenv("VLC_DEVICE", "reference", 1);
    EXPECT_EQ(open_device(""), nullptr);
    setenv("VLC_DEVICE", ("opencl:" + name).c_str(), 1);
    EXPECT_EQ(open_device(""), device);
    old ? setenv("VLC_DEVICE", kept.c_str(), 1) : unsetenv("VLC_DEVICE");
}

TEST(OpenCLDevice, BuffersHoldWhatIsWritten) {
    Device& device = *test_device();
    const uint64_t before = device.allocations();
    Buffer buffer = device.allocate<int32_t>(300, "test");
    EXPECT_EQ(device.allocations(), before + 1);
    EXPECT_EQ(buffer.bytes(), 512 * sizeof(int32_t)) << "padded to the largest work-group";
    EXPECT_EQ(from_device<int32_t>(buffer, 512), std::vector<int32_t>(512, 0));
    const std::vector<int32_t> values = {1, 2, 3};
    device.write(buffer, values.data(), 12, 8);
    device.fill(buffer, -7, 8);
    EXPECT_EQ(from_device<int32_t>(buffer, 6), (std::vector<int32_t>{-7, -7, 1, 2, 3, 0}));
    Buffer moved = std::move(buffer);
    EXPECT_EQ(buffer.handle(), nullptr);
    EXPECT_EQ(from_device<int32_t>(moved, 3), (std::vector<int32_t>{-7, -7, 1}));
}

TEST(OpenCLDevice, WrongUseIsAnError) {
    const std::shared_ptr<Device> device = test_device();
    const std::string& name = device->info().name;
    Buffer buffer = device->allocate<int32_t>(1, "test");
    int32_t value = 0;
    EXPECT_NE(error_of([&] { device->read(buffer, &value, 4, buffer.bytes()); }).find(name),
              std::string::npos);
    EXPECT_NE(error_of([&] {
                  device->allocate<int32_t>(uint64_t(1) << 60, "far too much");
              }).find("far too much"),
              std::string::npos);
    EXPECT_NE(error_of([&] { device->allocate<int32_t>(~uint64_t(0), "far too much"); }), "");
    const KernelSet kernels = KernelSet::compile(device, 64);
    EXPECT_NE(error_of([&] { kernels.get("no_such_kernel"); }).find("no_such_kernel"),
              std::string::npos);
    EXPECT_NE(error_of([&] {
                  device->launch(kernels.get("row_constants"), 1, 64, buffer);
              }).find("takes 4 arguments"),
              std::string::npos);
    const std::string log = error_of([&] { device->kernel("assign", "-DDOT_PORTABLE -DROWS=3"); });
    EXPECT_NE(log.find("ROWS must be"), std::string::npos) << log;
    EXPECT_ANY_THROW(kernel_source("nothing"));
}

// The child must come to its end with errors, not wait for threads that it does not have.
TEST(OpenCLDevice, AForkedChildGetsAnError) {
    std::shared_ptr<Device> device = test_device();
    Buffer buffer = device->allocate<int32_t>(10, "test");
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        alarm(20);
        int32_t value;
        int status = 0;
        status |= error_of([&] { device->read(buffer, &value, 4); }).find("fork") ==
                  std::string::npos;
        status |= 2 * (error_of([&] { device->allocate<int>(1, "test"); }).empty());
        status |= 4 * (!list_devices().empty());
        status |= 8 * (open_device("auto") != nullptr);
        status |= 16 * (error_of([] { open_device("opencl:"); }).find("fork") == std::string::npos);
        buffer = Buffer();
        device.reset();
        _exit(status);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "the child was killed";
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_EQ(from_device<int32_t>(buffer, 1)[0], 0) << "the parent goes on";
}

// Runs itself again without any OpenCL platform.
TEST(OpenCLDevice, NoPlatformIsNotAnError) {
    if (std::getenv("VLC_TEST_NO_PLATFORM")) {
        EXPECT_TRUE(list_devices().empty());
        EXPECT_EQ(open_device("auto"), nullptr);
        EXPECT_NE(error_of([] { open_device("opencl:"); }).find("there are: none"),
                  std::string::npos);
        return;
    }
    char self[4096];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ASSERT_GT(length, 0);
    self[length] = '\0';
    const std::string command = "VLC_TEST_NO_PLATFORM=1 VLC_DEVICE= OCL_ICD_FILENAMES= "
                                "OCL_ICD_VENDORS=/nonexistent "
                                "OPENCL_VENDOR_PATH=/nonexistent '" +
                                std::string(self) +
                                "' --gtest_filter=OpenCLDevice.NoPlatformIsNotAnError >/dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0);
}

} // namespace
} // namespace faiss_vlc
