#include <opencl/device.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdlib>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <opencl/device_internal.h>

namespace faiss_vlc {
namespace {

/// OpenCL runtimes keep threads that don't survive fork(): the process that touched OpenCL first is
/// the only one that may use it.
bool opencl_is_ours() noexcept {
    static std::atomic<pid_t> owner{0};
    pid_t expected = 0;
    const pid_t me = getpid();
    return owner.compare_exchange_strong(expected, me) || expected == me;
}

// cl_nv_device_attribute_query
constexpr cl_device_info kComputeCapabilityMajor = 0x4000;
constexpr cl_device_info kComputeCapabilityMinor = 0x4001;

struct Candidate {
    cl::Platform platform;
    cl::Device device;
    DeviceInfo info;
    int number; ///< on its platform
};

std::string text(std::string value) {
    while (!value.empty() && (value.back() == '\0' || std::isspace((unsigned char)value.back()))) {
        value.pop_back();
    }
    return value;
}

DeviceInfo describe(const cl::Platform& platform, const cl::Device& device) {
    DeviceInfo info;
    info.name = text(device.getInfo<CL_DEVICE_NAME>());
    info.vendor = text(device.getInfo<CL_DEVICE_VENDOR>());
    info.driver = text(device.getInfo<CL_DRIVER_VERSION>());
    info.version = text(device.getInfo<CL_DEVICE_VERSION>());
    info.platform = text(platform.getInfo<CL_PLATFORM_NAME>());
    const cl_device_type type = device.getInfo<CL_DEVICE_TYPE>();
    info.type = (type & CL_DEVICE_TYPE_GPU)   ? DeviceType::kGpu
                : (type & CL_DEVICE_TYPE_CPU) ? DeviceType::kCpu
                                              : DeviceType::kOther;
    info.compute_units = device.getInfo<CL_DEVICE_MAX_COMPUTE_UNITS>();
    info.global_mem = device.getInfo<CL_DEVICE_GLOBAL_MEM_SIZE>();
    info.max_allocation = device.getInfo<CL_DEVICE_MAX_MEM_ALLOC_SIZE>();
    info.local_mem = device.getInfo<CL_DEVICE_LOCAL_MEM_SIZE>();
    info.max_work_group = device.getInfo<CL_DEVICE_MAX_WORK_GROUP_SIZE>();
    info.integer_dot = device.getInfo<CL_DEVICE_EXTENSIONS>().find("cl_khr_integer_dot_product") !=
                       std::string::npos;
    constexpr cl_device_fp_config kExact =
            CL_FP_DENORM | CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT | CL_FP_ROUND_TO_NEAREST;
    info.exact_floats = (device.getInfo<CL_DEVICE_SINGLE_FP_CONFIG>() & kExact) == kExact ||
                        info.name == "Oclgrind Simulator"; // has the host's floats, unsaid
    cl_uint major = 0;
    cl_uint minor = 0;
    if (clGetDeviceInfo(device(), kComputeCapabilityMajor, sizeof(major), &major, nullptr) ==
                CL_SUCCESS &&
        clGetDeviceInfo(device(), kComputeCapabilityMinor, sizeof(minor), &minor, nullptr) ==
                CL_SUCCESS &&
        info.platform == "NVIDIA CUDA") {
        info.compute_capability = int(10 * major + minor);
    }
    return info;
}

std::vector<Candidate> find_devices() {
    std::vector<Candidate> found;
    if (!opencl_is_ours()) {
        return found;
    }
    std::vector<cl::Platform> platforms;
    try {
        cl::Platform::get(&platforms);
    } catch (const cl::Error&) {
        return found;
    }
    for (const cl::Platform& platform : platforms) {
        std::vector<cl::Device> devices;
        try {
            platform.getDevices(CL_DEVICE_TYPE_ALL, &devices);
        } catch (const cl::Error&) {
            continue;
        }
        for (size_t i = 0; i < devices.size(); i++) {
            const cl::Device& device = devices[i];
            try {
                if (device.getInfo<CL_DEVICE_AVAILABLE>() &&
                    device.getInfo<CL_DEVICE_COMPILER_AVAILABLE>() &&
                    device.getInfo<CL_DEVICE_ENDIAN_LITTLE>()) {
                    found.push_back({platform, device, describe(platform, device), int(i)});
                }
            } catch (const cl::Error&) {
                continue;
            }
        }
    }
    std::stable_sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
        return a.info.type < b.info.type;
    });
    return found;
}

std::string lower(std::string value) {
    std::transform(value.begin(), value.end(), value.begin(),
                   [](unsigned char c) { return (char)std::tolower(c); });
    return value;
}

/// A device string, taken apart.
struct Wanted {
    explicit Wanted(const std::string& given) {
        const char* variable = std::getenv("VLC_DEVICE");
        spec = !given.empty() ? given : variable && *variable ? variable : "auto";
        reference = spec == "reference";
        automatic = spec == "auto";
        all = spec == "opencl-all" || begins("opencl-all:");
        if (!reference && !automatic && !all && !begins("opencl:")) {
            fail("unknown device '%s': expected auto, reference, opencl:<part of a device name> "
                 "or opencl-all[:<part>]",
                 spec.c_str());
        }
        const size_t colon = spec.find(':');
        part = colon == std::string::npos ? "" : lower(spec.substr(colon + 1));
    }

    bool begins(const char* prefix) const { return spec.rfind(prefix, 0) == 0; }

    std::string spec;
    bool reference, automatic, all;
    std::string part; ///< of a name, in lower case
};

} // namespace

std::vector<DeviceInfo> list_devices() {
    std::vector<DeviceInfo> infos;
    for (Candidate& candidate : find_devices()) {
        infos.push_back(std::move(candidate.info));
    }
    return infos;
}

std::vector<std::shared_ptr<Device>> open_devices(const std::string& given) {
    const Wanted wanted(given);
    if (wanted.reference) {
        return {};
    }

    static std::mutex mutex;
    static std::map<cl_device_id, std::weak_ptr<Device>> opened;
    const std::lock_guard<std::mutex> hold(mutex);
    std::vector<std::shared_ptr<Device>> found;
    const std::vector<Candidate> candidates = find_devices();
    const Candidate* first = nullptr;
    for (const Candidate& candidate : candidates) {
        const DeviceInfo& info = candidate.info;
        if (wanted.automatic ? info.type == DeviceType::kOther
                             : lower(info.name).find(wanted.part) == std::string::npos) {
            continue;
        }
        if (found.empty()) {
            first = &candidate;
        } else if (!wanted.all || info.type != first->info.type ||
                   candidate.platform() != first->platform()) {
            continue;
        }
        std::weak_ptr<Device>& slot = opened[candidate.device()];
        if (std::shared_ptr<Device> device = slot.lock()) {
            found.push_back(std::move(device));
            continue;
        }
        try {
            auto state = std::make_unique<Device::State>();
            state->info = info;
            state->process = getpid();
            const char* profile = std::getenv("VLC_OPENCL_PROFILE");
            state->profile = profile && std::strcmp(profile, "1") == 0;
            // Before 6.0 PoCL miscounts the uses of a kernel, and aborts, where two devices run it
            // over different numbers of work-items: each gets programs of its own.
            if (info.platform == "Portable Computing Language" && candidate.number > 0) {
                state->options = "-DDEVICE_NUMBER=" + std::to_string(candidate.number) + " ";
            }
            state->device = candidate.device;
            state->context = cl::Context(candidate.device);
            state->queue = cl::CommandQueue(state->context, candidate.device,
                                            state->profile ? cl::QueueProperties::Profiling
                                                           : cl::QueueProperties::None);
            const std::shared_ptr<Device> device(new Device(std::move(state)));
            found.push_back(device);
            slot = device;
        } catch (const cl::Error& error) {
            if (!wanted.automatic) {
                fail("OpenCL device '%s': %s failed: %s (%d)", info.name.c_str(), error.what(),
                     opencl_error_name(error.err()), error.err());
            }
        }
    }
    if (wanted.automatic || !found.empty()) {
        return found;
    }
    if (!opencl_is_ours()) {
        fail("device '%s': OpenCL was used before this process was forked and can't be used in it: "
             "start processes anew instead (Python: multiprocessing's 'spawn')",
             wanted.spec.c_str());
    }
    std::string names;
    for (const Candidate& candidate : candidates) {
        names += (names.empty() ? "" : ", ") + candidate.info.name;
    }
    fail("no OpenCL device has '%s' in its name; there are: %s", wanted.part.c_str(),
         names.empty() ? "none" : names.c_str());
}

std::shared_ptr<Device> open_device(const std::string& given) {
    const Wanted wanted(given);
    if (wanted.all) {
        fail("device '%s' may be several: expected one, opencl:<part of a device name>",
             wanted.spec.c_str());
    }
    const std::vector<std::shared_ptr<Device>> found = open_devices(wanted.spec);
    return found.empty() ? nullptr : found[0];
}

} // namespace faiss_vlc
