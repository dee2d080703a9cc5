#include <faiss_vlc/engine.h>

#include <cstdlib>

#include <faiss_vlc/engine_internal.h>
#include <faiss_vlc/reference_engine.h>
#include <opencl/device.h>
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
    if (std::shared_ptr<Device> opened = open_device(device)) {
        return std::make_unique<OpenCLEngine>(std::move(opened), work_group);
    }
    return std::make_unique<ReferenceEngine>();
}

bool is_auto_device(const std::string& device) {
    if (!device.empty()) {
        return device == "auto";
    }
    const char* wanted = std::getenv("VLC_DEVICE");
    return !wanted || !*wanted || std::string(wanted) == "auto";
}

} // namespace faiss_vlc
