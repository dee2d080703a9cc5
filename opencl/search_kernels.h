#pragma once

#include <memory>
#include <string>

#include <opencl/device.h>

namespace faiss_vlc {

/// The kernels that search, shared by their stages.
struct SearchKernels {
    std::shared_ptr<Device> device;
    std::string options;      ///< how the program is built
    size_t group = 256;       ///< work-items of kernels that leave it open, a power of two
    bool local_tables = true; ///< local memory has room for a query's table of words

    /// Multiplies bytes by the device's own instruction where it has one that works; the
    /// environment's VLC_OPENCL_DOT=portable turns that off. Throws if the device's floats are not
    /// exact enough to give the CPU's results. table_bytes: of a query's table of words, else 0;
    /// planes: of its residual beside levels, 1 or 2.
    static SearchKernels compile(const std::shared_ptr<Device>& device, size_t table_bytes,
                                 int planes);

    Kernel& get(const char* name) const { return device->kernel(name, options, Program::kSearch); }
};

} // namespace faiss_vlc
