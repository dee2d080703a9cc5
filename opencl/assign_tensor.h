#pragma once

#include <opencl/kernels.h>

namespace faiss_vlc {

/// Launches of assign_mma.cl and assign_wgmma.cl for one number of dimensions; AssignStage chooses
/// between them and assign.cl. wgmma leaves rows that are too long for it to mma.
class TensorAssign {
public:
    TensorAssign(const KernelSet& kernels, int dp);

    /// Bytes that packed anchors take, for `padded` ones.
    static uint64_t packed_bytes(int padded, int dp) { return uint64_t(padded) * steps(dp) * 32; }
    /// Numbers before the constants of anchors.
    static constexpr int kConstantsFrom = 16; // CONSTANTS_FROM in assign_tensor.cl

    void pack(const Buffer& anchor8, int m, int padded, Buffer& packed);
    void constants(const Buffer& norm, const Buffer* bias, int m, int padded, Buffer& constants);
    void assign(const Buffer& rows, const Buffer& row_constant, const Buffer& packed,
                const Buffer& constants, const Buffer& norm, int n, int m, int neighbours,
                bool skip_own, Buffer& label, Buffer& dist);

private:
    static int steps(int dp) { return (dp + 31) / 32; }

    struct Plan {
        Program program;
        std::string options;
        size_t threads = 0;      ///< per work-group
        size_t rows = 0;         ///< that a work-group takes at once
        bool persistent = false; ///< no more work-groups than run at once
    };
    static Plan make_plan(Program program, int dp);
    Kernel& get(const char* name) const;

    KernelSet kernels_;
    int dp_;
    Plan plan_;

    friend void check_tensor_kernels(Device& device, const Dot& dot);
};

/// Throws if the device does not build and run the kernels that `dot` needs.
void check_tensor_kernels(Device& device, const Dot& dot);

} // namespace faiss_vlc
