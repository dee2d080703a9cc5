#pragma once

#include <cstdint>

#include <faiss_vlc/search/lists.h>
#include <opencl/search_records.h>
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

/// Launches of scan.cl and scan_words.cl.
class ScanStage {
public:
    /// kernels: compiled for table_bytes().
    ScanStage(const SearchKernels& kernels, const Model& model);

    /// Of what a work-group keeps about a query while it scans words; 0 for levels.
    static size_t table_bytes(const Model& model);

    /// Planes of a query's residual beside levels, see LevelQuery.
    static int planes(const Model& model) { return model.fine_queries ? 2 : 1; }

    /// What orders the work, for at most `most` queries.
    struct Tasks {
        Tasks(Device& device, int64_t most_pairs, int64_t m, int64_t most_tasks);
        Buffer pair_begin; ///< uint32 m
        Buffer task_begin; ///< uint32 m
        Buffer count;      ///< uint32 1
        Buffer pair;       ///< records::Pair, those of each list together
        Buffer task;       ///< records::Task
        Buffer base;       ///< float, of each pair the distance to the list's anchor; levels
    };
    /// Tasks that there can be at most.
    static int64_t most_tasks(int64_t pairs, int64_t m, int64_t largest_list);

    struct Queries {
        const Buffer& head;
        const Buffer& lattice;
        const Buffer& rotated;
        int rotated_stride;
    };
    /// Estimates of all vectors in the probed lists, as integers of the same order.
    struct Estimates {
        uint64_t stride; ///< of a query
        Buffer key;      ///< int32 n x stride
    };
    /// Whether the device's local memory has room for a task's queries.
    bool fits() const { return planes_bytes_ + kBeside <= kernels_.device->info().local_mem; }
    void scan(const DeviceLists& lists, const ProbedLists& probed, const Queries& queries,
              int64_t n, Tasks& tasks, Estimates& estimates);

    const Buffer& fields() const { return fields_; } ///< records::PackedField, row by row; levels
    const Buffer& traits() const { return traits_; } ///< records::ListTraits m

private:
    static constexpr size_t kBeside = 4 << 10; ///< bytes that scan_lists keeps besides
    static constexpr uint32_t kChunk = 2048;   ///< vectors of a task
    static constexpr int kQueries = 8;         ///< of a task
    static constexpr int kScanners = 64;       ///< work-items of a task

    /// What tables of words are made of.
    struct Words {
        records::WordShape shape{};
        size_t group = 0; ///< work-items of a task
        size_t table_bytes = 0;
        int64_t most_groups = 0;
        Buffer slot;   ///< int blocks + 1: their first slots
        Buffer book;   ///< int16 slots x 256, see Codebook
        Buffer norms;  ///< float blocks x 256
        Buffer tables; ///< of most_groups work-groups where local memory has no room
    };
    void upload_words(const Model& model);
    void scan_levels(const DeviceLists& lists, const Queries& queries,
                     const records::ScanShape& shape, size_t groups, Tasks& tasks,
                     Estimates& estimates);
    void scan_words(const DeviceLists& lists, const Queries& queries,
                    const records::ScanShape& shape, size_t groups, const Tasks& tasks,
                    Estimates& estimates);

    SearchKernels kernels_;
    records::ScanShape shape_{};
    size_t planes_bytes_ = 0; ///< levels: of a task's queries
    Kernel& lay_out_;
    Kernel& gather_;
    Kernel& list_tasks_;
    Kernel& scan_;
    Buffer fields_;         ///< records::PackedField, row by row; levels
    Buffer gammas_;         ///< records::GammaStep
    Buffer traits_;         ///< records::ListTraits m
    Buffer anchors_;        ///< float m x dp
    Buffer anchor_rotated_; ///< float m x slots; zeros for inner products
    Buffer steps_;          ///< float frames x slots; levels
    Words words_;
};

} // namespace faiss_vlc
