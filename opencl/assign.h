#pragma once

#include <cstdint>

#include <faiss_vlc/train/engine.h>
#include <opencl/kernels.h>

namespace faiss_vlc {

/// Launches of assign.cl; faiss_vlc/train/stages/assign.h specifies what they compute.
class AssignStage {
public:
    explicit AssignStage(const KernelSet& kernels);

    /// Anchors that the packed arrays have room for.
    static int padded_anchors(int m) { return (m + 127) / 128 * 128; }
    /// Numbers in the buffer of constants.
    static int constants_size(int m);

    /// Anchors in the order that the kernel reads.
    struct Packed {
        Packed(Device& device, int m, int dp);
        Buffer bytes; ///< char padded x dp, rounded up to 32
        Buffer start; ///< int padded
    };
    /// From int8 m x dp.
    void pack(const Buffer& anchor8, int m, int dp, Packed& packed);
    /// int constants_size: what each anchor's score starts from; bias null: none.
    void constants(const Buffer& norm, const Buffer* bias, int m, int dp, Buffer& constants);
    /// int n: what each row adds to a score to make it a distance.
    void row_constants(const Buffer& rows, int n, int dp, Buffer& row_constant);

    struct Anchors {
        const Packed& packed;
        const Buffer& constants;
        const Buffer& norm;
        int m;
    };
    /// rows int8 n x dp, label and dist int n x neighbours. skip_own: row i is anchor i.
    void assign(const Buffer& rows, const Buffer& row_constant, const Anchors& anchors, int n,
                int dp, int neighbours, bool skip_own, Buffer& label, Buffer& dist);

    /// first (int n): the first of each row's values (int n x neighbours).
    void take_first(const Buffer& values, int n, int neighbours, Buffer& first);

    /// Sums of changes and energies of the first rows; previous (int n) takes the nearest labels.
    AssignSummary summarize(const Shape& shape, int rows, const Buffer& label, const Buffer& dist,
                            Buffer& previous);

private:
    static constexpr int kMaxGroups = 64;

    void assign_by_loops(const Buffer& rows, const Buffer& row_constant, const Anchors& anchors,
                         int n, int dp, int neighbours, Buffer& label, Buffer& dist);
    bool by_tensor_cores() const { return kernels_.dot.program != Program::kGeneral; }

    KernelSet kernels_;
    Kernel& pack_;
    Kernel& constants_;
    Kernel& row_constants_;
    Kernel& assign_;
    Kernel& take_first_;
    Kernel& summarize_;
    Buffer sums_;
};

} // namespace faiss_vlc
