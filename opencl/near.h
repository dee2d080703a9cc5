#pragma once

#include <cstdint>

#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/stages/host_loops.h>
#include <opencl/assign.h>
#include <opencl/update.h>

namespace faiss_vlc {

/// Launches of near.cl; faiss_vlc/train/stages/near.h specifies what they compute. Takes 4 bytes a
/// row, the lists, and up to 64 MiB (with tensor cores 128) for scores; allocated by the first call
/// of make_lists.
class NearStage {
public:
    NearStage(const KernelSet& kernels, const Shape& shape);

    void make_lists(int length, const AnchorBuffers& anchors);

    /// The first n rows, at most those of the shape. rows int8, previous int n; label and dist int
    /// n x neighbours.
    void assign(int n, const Buffer& rows, const Buffer& row_constant, const AnchorBuffers& anchors,
                const Buffer& previous, Buffer& label, Buffer& dist);

private:
    void score_anchors(int begin, int count, const AnchorBuffers& anchors);
    void assign_by_loops(const Buffer& rows, const Buffer& row_constant,
                         const AnchorBuffers& anchors, Buffer& label, Buffer& dist);
    void sort_rows(int n, const Buffer& previous);

    KernelSet kernels_;
    Shape shape_;
    Kernel& pack_;
    Kernel& score_;
    Kernel* score_mma_ = nullptr; ///< instead, on tensor cores
    Kernel& select_;
    Kernel& count_;
    Kernel& prefix_;
    Kernel& scatter_;
    Kernel& assign_;
    int length_ = 0;
    int list_stride_ = 0; ///< that list_ has room for
    int batch_ = 0;       ///< anchors scored at once
    NearScores by_loops_; ///< instead, see Dot
    Buffer packed_, start_, scores_, list_;
    Kernel* add_parts_ = nullptr; ///< on CPUs, which sort by parts, see row_parts
    Buffer part_count_;
    Buffer row_count_, first_row_, first_segment_, order_;
};

} // namespace faiss_vlc
