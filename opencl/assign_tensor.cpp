#include <opencl/assign_tensor.h>

#include <algorithm>
#include <string>

namespace faiss_vlc {
namespace {

constexpr size_t kWorkGroup = 256; // of the small kernels

std::string option(const char* name, int value) {
    return std::string(" -D") + name + "=" + std::to_string(value);
}

} // namespace

// Shapes as measured on an H100, see benchmarks/GPU.md.
TensorAssign::Plan TensorAssign::make_plan(Program program, int dp) {
    const int k_steps = steps(dp);
    Plan plan;
    plan.options = "-DK_STEPS=" + std::to_string(k_steps);
    if (program == Program::kWgmma && k_steps <= 24) {
        const bool in_local = k_steps > 8 && k_steps <= 16;
        const int groups = k_steps <= 8 ? 4 : in_local ? 3 : 2;
        const int stages = in_local ? 4 : k_steps <= 8 ? 8 : 10;
        plan.program = Program::kWgmma;
        plan.options += option("N_TILE", in_local ? 128 : 64) + option("GROUPS", groups) +
                        option("STAGES", stages) + (in_local ? " -DROWS_IN_LOCAL" : "");
        plan.threads = size_t(groups) * 128 + 32;
        plan.rows = size_t(groups) * 64;
        plan.persistent = true;
        return plan;
    }
    const bool held = k_steps <= 12;
    plan.program = Program::kMma;
    plan.options += option("N_TILE", held ? 32 : 64) + option("WARPS", 4);
    plan.threads = plan.rows = 4 * 32;
    plan.persistent = false;
    return plan;
}

TensorAssign::TensorAssign(const KernelSet& kernels, int dp)
    : kernels_(kernels), dp_(dp), plan_(make_plan(kernels.dot.program, dp)) {}

Kernel& TensorAssign::get(const char* name) const {
    return kernels_.device->kernel(name, plan_.options, plan_.program);
}

void TensorAssign::pack(const Buffer& anchor8, int m, int padded, Buffer& packed) {
    const bool wgmma = plan_.program == Program::kWgmma;
    kernels_.device->launch(get(wgmma ? "pack_wgmma" : "pack_mma"), size_t(padded) * 2 * steps(dp_),
                            kWorkGroup, anchor8, int32_t(m), int32_t(dp_), int32_t(padded), packed);
}

void TensorAssign::constants(const Buffer& norm, const Buffer* bias, int m, int padded,
                             Buffer& constants) {
    const Buffer& some_bias = bias ? *bias : norm;
    const int32_t use_bias = bias != nullptr;
    kernels_.device->fill(constants, 0, sizeof(int32_t));
    kernels_.device->launch(get("tensor_reach"), m, kWorkGroup, norm, some_bias, use_bias,
                            int32_t(m), constants);
    kernels_.device->launch(get("tensor_constants"), padded, kWorkGroup, norm, some_bias, use_bias,
                            int32_t(m), int32_t(padded), int32_t(dp_), constants);
}

void TensorAssign::assign(const Buffer& rows, const Buffer& row_constant, const Buffer& packed,
                          const Buffer& constants, const Buffer& norm, int n, int m, int neighbours,
                          bool skip_own, Buffer& label, Buffer& dist) {
    size_t groups = (size_t(n) + plan_.rows - 1) / plan_.rows;
    if (plan_.persistent) {
        groups = std::min<size_t>(groups, kernels_.device->info().compute_units);
    }
    const bool wgmma = plan_.program == Program::kWgmma;
    kernels_.device->launch(get(wgmma ? "assign_wgmma" : "assign_mma"), groups * plan_.threads,
                            plan_.threads, rows, row_constant, packed, constants, norm, int32_t(n),
                            int32_t(m), int32_t(dp_), int32_t(neighbours), int32_t(skip_own), label,
                            dist);
}

void check_tensor_kernels(Device& device, const Dot& dot) {
    if (dot.program != Program::kGeneral) {
        const TensorAssign::Plan plan = TensorAssign::make_plan(dot.program, 128);
        const bool wgmma = plan.program == Program::kWgmma;
        Kernel& kernel =
                device.kernel(wgmma ? "assign_wgmma" : "assign_mma", plan.options, plan.program);
        // On no rows: a driver may refuse the local memory, which is more than it admits to having.
        const Buffer none = device.allocate<int32_t>(1, "nothing");
        device.launch(kernel, plan.threads, plan.threads, none, none, none, none, none, int32_t(0),
                      int32_t(0), int32_t(128), int32_t(1), int32_t(0), none, none);
        device.finish();
    }
}

} // namespace faiss_vlc
