#pragma once

#include <opencl/device_internal.h>

namespace faiss_vlc {

/// From a program that NVIDIA's OpenCL compiler built for the target sm_90, the same for sm_90a,
/// with the assembly turned on that is a comment until then: lines that begin with "//@" (see
/// assign_wgmma.cl). NVIDIA's program binaries are PTX as text, so this is done there. Throws
/// cl::Error where they are something else, cl::BuildError where the driver does not take it.
cl::Program build_for_hopper(const cl::Context& context, const cl::Device& device,
                             const cl::Program& built);

} // namespace faiss_vlc
