#include <faiss_vlc/index/devices.h>

#include <cstdlib>
#include <cstring>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/train/shared/devices_engine.h>
#include <opencl/opencl_engine.h>

namespace faiss_vlc {

EngineFactory& engine_factory_for_tests() {
    static EngineFactory factory;
    return factory;
}

std::unique_ptr<Engine> make_engine(const std::string& device, int work_group) {
    if (const EngineFactory& factory = engine_factory_for_tests()) {
        return factory(device);
    }
    const std::vector<std::shared_ptr<Device>> opened = open_devices(device);
    if (opened.empty()) {
        return std::make_unique<ReferenceEngine>();
    }
    std::vector<std::unique_ptr<Engine>> engines(opened.size());
    at_once(int(opened.size()), [&](int i) { // each compiles its kernels
        engines[i] = std::make_unique<OpenCLEngine>(opened[i], work_group);
    });
    return engines.size() == 1 ? std::move(engines[0])
                               : std::make_unique<DevicesEngine>(std::move(engines));
}

std::shared_ptr<const void> hold_devices(const std::string& device) {
    return std::make_shared<std::vector<std::shared_ptr<Device>>>(open_devices(device));
}

bool host_assigns(const std::string& device, double products) {
    constexpr double kLittle = 1e8; // takes the host less than a device needs to begin
    if (engine_factory_for_tests()) {
        return false;
    }
    if (!is_auto_device(device)) {
        const char* wanted = std::getenv("VLC_DEVICE");
        return (device.empty() && wanted ? wanted : device) == "reference";
    }
    if (products < kLittle) {
        return true;
    }
    const std::vector<DeviceInfo> devices = list_devices(); // GPUs first
    const bool has_instructions = std::strcmp(simd().name, "portable") != 0;
    return devices.empty() || (has_instructions && devices[0].type != DeviceType::kGpu);
}

bool is_auto_device(const std::string& device) {
    if (!device.empty()) {
        return device == "auto";
    }
    const char* wanted = std::getenv("VLC_DEVICE");
    return !wanted || !*wanted || std::string(wanted) == "auto";
}

} // namespace faiss_vlc
