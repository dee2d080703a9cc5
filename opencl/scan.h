#pragma once

#include <cstdint>

#include <faiss_vlc/search/lists.h>
#include <opencl/select.h>

namespace faiss_vlc {

/// Inverted lists on a device: blocks of 16 vectors as faiss_vlc/codec/codec.h lays them out, a
/// list's last one too.
struct DeviceLists {
    DeviceLists(Device& device, const VLCInvertedLists& lists);

    uint64_t stamp; ///< of the lists that were copied
    bool wide_ids;
    std::vector<uint32_t> sizes; ///< host's copy
    Buffer size;                 ///< uint32 m
    Buffer block;                ///< uint32 m: number of a list's first block
    Buffer codes;                ///< uint8 blocks x 16 x code_size
    Buffer ids;                  ///< uint32 or uint64 blocks x 16
};

/// Launches of scan.cl.
class ScanStage {
public:
    ScanStage(const SearchKernels& kernels, const Model& model);

    /// What orders the work, for at most `most` queries.
    struct Tasks {
        Tasks(Device& device, int64_t most_pairs, int64_t m, int64_t most_tasks);
        Buffer pair_begin; ///< uint32 m
        Buffer task_begin; ///< uint32 m
        Buffer count;      ///< uint32 1
        Buffer pair;       ///< uint32, the pairs of each list together
        Buffer task;       ///< (list, number)
    };
    /// Tasks that there can be at most.
    static int64_t most_tasks(int64_t pairs, int64_t m, int64_t largest_list);

    struct Queries {
        const Buffer& head;
        const Buffer& lattice;
        const Buffer& rotated;
        int rotated_stride;
    };
    /// Estimates of all vectors in the probed lists, as integers of the same order: key (int32
    /// n x stride).
    void scan(const DeviceLists& lists, const ProbedLists& probed, const Queries& queries,
              int64_t n, int nprobe, Tasks& tasks, uint64_t stride, Buffer& key);

private:
    static constexpr uint32_t kChunk = 2048; ///< vectors of a task
    static constexpr int kQueries = 8;       ///< of a task
    static constexpr int kScanners = 64;     ///< work-items of a task

    SearchKernels kernels_;
    int m_, dp_, slots_, frames_, fields_count_, code_size_, code_bytes_;
    bool inner_product_;
    float energy_, c_;
    Kernel& lay_out_;
    Kernel& gather_;
    Kernel& list_tasks_;
    Kernel& scan_;
    Buffer fields_, anchors_, anchor_rotated_, steps_, group_, spread_, gammas_;
};

} // namespace faiss_vlc
