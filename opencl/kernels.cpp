#include <opencl/kernels.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/train/stages/host_loops.h>
#include <opencl/assign_tensor.h>

namespace faiss_vlc {
namespace {

constexpr Dot kVnni{"vnni", "-DHOST -DDOT_VNNI", 6};
constexpr Dot kAvx2{"avx2", "-DHOST -DDOT_AVX2", 4};
// Kernels do the rest, and pack anchors as the loops want them.
constexpr Dot kHost{"host", "-DHOST -DDOT_AVX2", 4, Program::kGeneral, true};
constexpr Dot kPortableHost{"portable", "-DHOST -DDOT_PORTABLE", 4};
constexpr Dot kPortable{"portable", "-DDOT_PORTABLE", 4};
constexpr Dot kPortableGpu{"portable", "-DDOT_PORTABLE", 2}; // three vectors of registers per row
constexpr Dot kDot4{"dot4", "-DDOT_PACKED", 2};
constexpr Dot kDp4a{"dp4a", "-DDOT_PACKED -DDOT4_PTX", 2};
constexpr Dot kMma{"mma", "-DDOT_PACKED -DDOT4_PTX", 2, Program::kMma};
constexpr Dot kWgmma{"wgmma", "-DDOT_PACKED -DDOT4_PTX", 2, Program::kWgmma};

std::string options(const Dot& dot) {
    return std::string(dot.option) + " -DROWS=" + std::to_string(dot.rows);
}

/// PoCL 4.0 to 6.0 takes inline assembly for a call of its own pseudo function that allocates local
/// memory (its WorkitemLoops pass compares a null callee with a null declaration): it aborts the
/// process, or compiles nonsense if it was built without assertions. Its driver's version is its
/// own.
bool takes_assembly(const DeviceInfo& info) {
    const int major = std::atoi(info.driver.c_str());
    return (major > 0 && major < 4) || major > 6;
}

} // namespace

std::vector<Dot> usable_dots(const Device& device) {
    std::vector<Dot> dots;
#if defined(__x86_64__)
    if (device.info().is_this_cpu()) {
        const bool has_tiles = loops_beat_kernels();
        if (has_tiles) {
            dots.push_back(kHost);
        }
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni") &&
            takes_assembly(device.info())) {
            dots.push_back(kVnni);
        }
        if (__builtin_cpu_supports("avx2")) {
            dots.push_back(kAvx2);
            if (!has_tiles) {
                dots.push_back(kHost);
            }
        }
    }
#endif
    if (device.info().compute_capability == 90) { // later ones don't have it
        dots.push_back(kWgmma);
    }
    if (device.info().compute_capability >= 80) {
        dots.push_back(kMma);
    }
    if (device.info().compute_capability >= 61) {
        dots.push_back(kDp4a);
    }
    if (device.info().type == DeviceType::kGpu && device.info().integer_dot) {
        dots.push_back(kDot4);
    }
    dots.push_back(device.info().type == DeviceType::kGpu ? kPortableGpu
                   : device.info().is_this_cpu()          ? kPortableHost
                                                          : kPortable);
    return dots;
}

KernelSet KernelSet::compile(std::shared_ptr<Device> device, int work_group, const Dot& dot) {
    if (work_group != 64 && work_group != 128 && work_group != 256) {
        fail("the work-group is 64, 128 or 256, not %d", work_group);
    }
    size_t largest = device->info().max_work_group;
    for (const char* name : {"assign", "sum_segments", "prefix", "summarize"}) {
        largest = std::min(largest, device->kernel(name, options(dot)).max_work_group());
    }
    check_tensor_kernels(*device, dot);
    while (work_group > 1 && size_t(work_group) > largest) {
        work_group /= 2;
    }
    return {std::move(device), dot, work_group};
}

KernelSet KernelSet::compile(std::shared_ptr<Device> device, int work_group) {
    const std::vector<Dot> dots = usable_dots(*device);
    const char* wanted = std::getenv("VLC_OPENCL_DOT");
    if (wanted && *wanted) {
        std::string names;
        for (const Dot& dot : dots) {
            if (std::strcmp(dot.name, wanted) == 0) {
                return compile(std::move(device), work_group, dot);
            }
            names += std::string(names.empty() ? "" : ", ") + dot.name;
        }
        fail("VLC_OPENCL_DOT is '%s', but OpenCL device '%s' has: %s", wanted,
             device->info().name.c_str(), names.c_str());
    }
    // The CPU may have more than the OpenCL compiler knows of, and a driver may be too old for the
    // GPU's: the best may fail to build.
    for (size_t i = 0; i + 1 < dots.size(); i++) {
        try {
            return compile(device, work_group, dots[i]);
        } catch (const std::exception&) {
            continue;
        }
    }
    return compile(std::move(device), work_group, dots.back());
}

Kernel& KernelSet::get(const char* name) const {
    Kernel& kernel = device->kernel(name, options(dot));
    if (kernel.max_work_group() < size_t(work_group)) {
        fail("OpenCL device '%s' runs kernel %s with work-groups of at most %zu, not %d",
             device->info().name.c_str(), name, kernel.max_work_group(), work_group);
    }
    return kernel;
}

} // namespace faiss_vlc
