#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <opencl/device.h>

namespace faiss_vlc {

/// How the assign kernel multiplies bytes; all give the same integers:
///   vnni         inline assembly for x86-64 CPUs, by PoCL if its version compiles that
///   host         not by kernels: this CPU's loops (VLC_SIMD), where PoCL runs on it
///   avx2         builtins of PoCL's compiler, for x86-64 CPUs
///   wgmma, mma   NVIDIA's tensor cores, compute capability 9.0; 8.0 and later
///   dp4a         NVIDIA's 4-way product, 6.1 and later
///   dot4         the same as cl_khr_integer_dot_product has it, on GPUs
///   portable     plain OpenCL C
struct Dot {
    const char* name;
    const char* option;                  ///< of the general program
    int rows;                            ///< that one of its work-items takes
    Program program = Program::kGeneral; ///< that assigns
    bool by_loops = false;               ///< train/stages/host_loops.h assigns rows instead

    /// Whether the general program has the kernels whose work-group is one work-item (HOST).
    bool on_host() const { return std::strstr(option, "HOST") != nullptr; }
};

/// The ways that work on `device`, best first: what this CPU has if it is PoCL's, what NVIDIA's
/// GPUs have, and always portable.
std::vector<Dot> usable_dots(const Device& device);

/// The kernels of one engine: device, build options and work-group, shared by its stages.
struct KernelSet {
    std::shared_ptr<Device> device;
    Dot dot;
    int work_group;

    /// Compiles with the best usable Dot, or with the one that the environment's VLC_OPENCL_DOT
    /// names (see Dot; an error if it does not work here).
    /// work_group: 64, 128 or 256, halved until the device takes it.
    static KernelSet compile(std::shared_ptr<Device> device, int work_group);
    /// The same with a given Dot.
    static KernelSet compile(std::shared_ptr<Device> device, int work_group, const Dot& dot);

    /// The kernel `name`; throws if the device can't run it with this work-group.
    Kernel& get(const char* name) const;
};

} // namespace faiss_vlc
