#pragma once

#include <cstdint>

#include <faiss_vlc/model/model.h>
#include <opencl/search_kernels.h>

namespace faiss_vlc {

/// Pairs of a query and a list that it probes, for at most `most` queries.
struct ProbedLists {
    ProbedLists(Device& device, int64_t most, int64_t m, int64_t nprobe, int frames);
    int64_t most;
    Buffer probes;        ///< int32 n x nprobe: lists, in no order
    Buffer starts;        ///< uint32 n x nprobe: where the list's estimates begin among the query's
    Buffer totals;        ///< uint32 n: estimates of a query
    Buffer counts;        ///< uint32 m: pairs of a list
    Buffer slots;         ///< uint32 n x nprobe: place of the pair among those of its list
    Buffer frame_counts;  ///< uint32 frames: queries that need a frame
    Buffer frame_queries; ///< uint32 frames x most: these
};

/// Launches of select.cl: the nearest lists, and the best hits in them.
class SelectStage {
public:
    SelectStage(const SearchKernels& kernels, const Model& model);

    /// The nprobe lists of least (score, number). scores int32 n x stride, sizes uint32 m.
    void nearest_lists(const Buffer& scores, int stride, int64_t n, int m, int nprobe,
                       const Buffer& sizes, ProbedLists& lists);

    /// What best_hits reads, see scan.h.
    struct Hits {
        const Buffer& keys; ///< int32 n x stride
        uint64_t stride;
        const Buffer& list_block;
        const Buffer& ids;
        bool wide_ids;
    };
    /// The best k hits of each query by (estimate, id, place): key int32 and label uint64 n x k,
    /// found uint32 n, where kTooMany stands for more ties than can be compared.
    void best_hits(const Hits& hits, const ProbedLists& lists, int64_t n, int nprobe, int k,
                   bool as_places, Buffer& key, Buffer& label, Buffer& found);

    static constexpr uint32_t kTooMany = ~uint32_t(0);
    /// Hits that are compared with each other, beyond k.
    static constexpr int kSpare = 256;
    /// The largest k for which that takes at most 26 KB of local memory.
    static constexpr int kMostResults = 1024;

private:
    SearchKernels kernels_;
    Kernel& nearest_lists_;
    Kernel& best_hits_;
    Buffer group_; ///< uint8 m: frame of each list
    int frames_;
};

} // namespace faiss_vlc
