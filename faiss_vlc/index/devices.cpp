#include <faiss_vlc/index/devices.h>

#include <faiss_vlc/index/device_kind.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/train/reference_assigner.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/train/shared/devices_assigner.h>
#include <faiss_vlc/train/shared/devices_engine.h>
#include <opencl/device.h>
#include <opencl/opencl_assigner.h>
#include <opencl/opencl_engine.h>
#include <opencl/search.h>

namespace faiss_vlc {

namespace {

/// What a device string stands for: itself, or the environment's.
std::string meant(const std::string& device) {
    const char* wanted = std::getenv("VLC_DEVICE");
    return device.empty() && wanted ? wanted : device;
}

/// One of `Interface` on each of the devices, or `Several` of them; null without devices.
template <class One, class Several, class Interface>
std::unique_ptr<Interface> make_on(const std::string& device, int work_group) {
    const std::vector<std::shared_ptr<Device>> opened = open_devices(device);
    if (opened.empty()) {
        return nullptr;
    }
    std::vector<std::unique_ptr<Interface>> made(opened.size());
    at_once(int(opened.size()), [&](int i) { // each compiles its kernels
        made[i] = std::make_unique<One>(opened[i], work_group);
    });
    if (made.size() == 1) {
        return std::move(made[0]);
    }
    return std::make_unique<Several>(std::move(made));
}

class OpenCLKind final : public DeviceKind {
public:
    std::unique_ptr<Engine> make_engine(const std::string& device, int work_group) const override {
        return make_on<OpenCLEngine, DevicesEngine, Engine>(device, work_group);
    }
    std::unique_ptr<Assigner> make_assigner(const std::string& device,
                                            int work_group) const override {
        return make_on<OpenCLAssigner, DevicesAssigner, Assigner>(device, work_group);
    }
    std::unique_ptr<DeviceSearch> make_search(const std::string& device) const override {
        if (device.compare(0, 7, "opencl:") != 0) {
            return nullptr;
        }
        return std::make_unique<OpenCLSearch>(device);
    }
    bool outruns_host(const std::string& device, double products) const override {
        constexpr double kLittle = 1e8; // takes the host less than a device needs to begin
        if (!is_auto_device(device)) {
            return meant(device) != "reference";
        }
        if (products < kLittle) {
            return false;
        }
        const std::vector<DeviceInfo> devices = list_devices(); // GPUs first
        const bool has_instructions = std::strcmp(simd().name, "portable") != 0;
        return !devices.empty() && (!has_instructions || devices[0].type == DeviceType::kGpu);
    }
};

class ReferenceKind final : public DeviceKind {
public:
    std::unique_ptr<Engine> make_engine(const std::string&, int) const override {
        return std::make_unique<ReferenceEngine>();
    }
    std::unique_ptr<Assigner> make_assigner(const std::string&, int) const override {
        return std::make_unique<ReferenceAssigner>();
    }
};

using Kinds = std::vector<std::shared_ptr<const DeviceKind>>;

/// The kinds of this process, in the order in which they are asked.
Kinds& all_kinds() {
    static Kinds kinds = {std::make_shared<OpenCLKind>(), std::make_shared<ReferenceKind>()};
    return kinds;
}

/// The first thing that make(kind) gives; null if none does.
template <class Make>
auto first_made(Make make) {
    decltype(make(std::declval<const DeviceKind&>())) made;
    for (const std::shared_ptr<const DeviceKind>& kind : all_kinds()) {
        made = make(*kind);
        if (made) {
            break;
        }
    }
    return made;
}

} // namespace

std::unique_ptr<Engine> DeviceKind::make_engine(const std::string&, int) const {
    return nullptr;
}

std::unique_ptr<Assigner> DeviceKind::make_assigner(const std::string&, int) const {
    return nullptr;
}

std::unique_ptr<DeviceSearch> DeviceKind::make_search(const std::string&) const {
    return nullptr;
}

bool DeviceKind::outruns_host(const std::string&, double) const {
    return false;
}

RegisteredKind::RegisteredKind(std::shared_ptr<const DeviceKind> kind) : kind_(std::move(kind)) {
    all_kinds().insert(all_kinds().begin(), kind_);
}

RegisteredKind::~RegisteredKind() {
    Kinds& kinds = all_kinds();
    kinds.erase(std::remove(kinds.begin(), kinds.end(), kind_), kinds.end());
}

std::unique_ptr<Engine> make_engine(const std::string& device, int work_group) {
    return first_made([&](const DeviceKind& kind) { return kind.make_engine(device, work_group); });
}

std::unique_ptr<Assigner> make_assigner(const std::string& device, int work_group) {
    return first_made(
            [&](const DeviceKind& kind) { return kind.make_assigner(device, work_group); });
}

std::unique_ptr<DeviceSearch> make_search(const std::string& device) {
    std::unique_ptr<DeviceSearch> search =
            first_made([&](const DeviceKind& kind) { return kind.make_search(device); });
    if (!search) {
        fail("search_device is '%s': expected one device, opencl:<part of its name>, or "
             "reference or nothing",
             device.c_str());
    }
    return search;
}

std::shared_ptr<const void> hold_devices(const std::string& device) {
    return std::make_shared<std::vector<std::shared_ptr<Device>>>(open_devices(device));
}

bool host_assigns(const std::string& device, double products) {
    const Kinds& kinds = all_kinds();
    return std::none_of(kinds.begin(), kinds.end(),
                        [&](const std::shared_ptr<const DeviceKind>& kind) {
                            return kind->outruns_host(device, products);
                        });
}

bool is_auto_device(const std::string& device) {
    if (!device.empty()) {
        return device == "auto";
    }
    const char* wanted = std::getenv("VLC_DEVICE");
    return !wanted || !*wanted || std::string(wanted) == "auto";
}

} // namespace faiss_vlc
