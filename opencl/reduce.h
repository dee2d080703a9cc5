#pragma once

#include <cstdint>

#include <faiss_vlc/train/engine.h>
#include <opencl/kernels.h>

namespace faiss_vlc {

/// Launches of reduce.cl; faiss_vlc/train/stages/reduce.h specifies what they compute. Owns the
/// sorted entries and the results: allocated once for the rows of a Shape, of which one call takes
/// at most n_train (about 8 bytes per row and neighbour, 4 dp bytes per 256 of those and per
/// anchor).
class ReduceStage {
public:
    ReduceStage(const KernelSet& kernels, const Shape& shape);

    /// rows int8 n x dp, label and dist int n x neighbours, bias int m. params.rows is not looked
    /// at. more: the sums go on from those of the last call.
    void reduce(int n, const Buffer& rows, const Buffer& label, const Buffer& dist,
                const Buffer& bias, const ReduceParams& params, bool more = false);

    /// Other results in place of its own, as Engine::set_sums takes them.
    void set(const int64_t* sums);

    const Buffer& weight() const { return weight_j_; } ///< long m
    const Buffer& sum() const { return sum_; }         ///< long m x dp
    const Buffer& count() const { return count_j_; }   ///< int m
    const Buffer& energy() const { return energy_j_; } ///< long m

private:
    void sort_entries(int32_t n_train, const Buffer& label, const Buffer& dist, const Buffer& bias,
                      const ReduceParams& params);

    KernelSet kernels_;
    Shape shape_;
    Kernel& weigh_;
    Kernel& prefix_;
    Kernel& scatter_;
    Kernel& sum_segments_;
    Kernel& combine_;
    Kernel* add_parts_ = nullptr; ///< on CPUs, which sort by parts, see row_parts
    Buffer part_count_;
    Buffer gibbs_, weight_, entry_row_, entry_weight_, entry_count_, first_entry_, first_segment_;
    Buffer segment_sum_, segment_scalars_;
    Buffer weight_j_, sum_, count_j_, energy_j_;
};

} // namespace faiss_vlc
