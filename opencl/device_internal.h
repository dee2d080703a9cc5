#pragma once

// 1.2 is what we use; with a wider range this header does not compile in Debian 12.
#define CL_HPP_TARGET_OPENCL_VERSION 120
#define CL_HPP_MINIMUM_OPENCL_VERSION 120
#define CL_HPP_ENABLE_EXCEPTIONS
#include <CL/opencl.hpp>

#include <sys/types.h>

#include <opencl/device.h>

namespace faiss_vlc {

/// What a Device holds, for device.cpp and open_device.cpp only.
struct Device::State {
    DeviceInfo info;
    pid_t process = 0;
    bool profile = false;
    std::string options; ///< of every program, besides its own
    cl::Device device;
    cl::Context context;
    cl::CommandQueue queue;
    std::map<std::string, cl::Program> programs;
    std::map<std::string, std::unique_ptr<Kernel>> kernels;
    std::map<std::string, uint64_t> library_launches;
    uint64_t allocations = 0;
    mutable std::recursive_mutex mutex;

    ~State() {
        for (auto& entry : kernels) {
            clReleaseKernel(entry.second->handle_);
        }
    }
};

/// The constant's name, as far as we may meet it.
const char* opencl_error_name(int code);

} // namespace faiss_vlc
