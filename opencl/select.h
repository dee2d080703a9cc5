#pragma once

#include <cstdint>

#include <faiss_vlc/model/model.h>
#include <opencl/search_kernels.h>

namespace faiss_vlc {

/// Pairs of a query and a list that it probes, for at most `most` queries.
struct ProbedLists {
    ProbedLists(Device& device, int64_t most, int64_t m, int nprobe, int frames);
    int64_t most;
    int nprobe;
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

    /// What nearest_lists reads.
    struct Scores {
        const Buffer& scores; ///< int32 n x stride
        int stride;
        const Buffer& sizes; ///< uint32 m, of the lists
    };
    /// The lists of least (score, number), as many as `lists` is made for.
    void nearest_lists(const Scores& scores, int64_t n, ProbedLists& lists);

    /// What best_hits reads, see scan.h.
    struct Hits {
        const Buffer& keys; ///< int32 n x stride
        uint64_t stride;
        const Buffer& list_block;
        const Buffer& ids;
        bool wide_ids;
    };
    /// The best k hits of each query by (estimate, id, place).
    struct Best {
        Best(Device& device, int64_t most, int k);
        Buffer key;   ///< int32 n x k
        Buffer label; ///< int64 n x k
        Buffer found; ///< uint32 n; kTooMany stands for more ties than can be compared
    };
    /// What hits are named by: ids, list << 32 | offset, or the same with the list's place among
    /// those that the query probes.
    enum class Labels { ids, places, pairs };
    void best_hits(const Hits& hits, const ProbedLists& lists, int64_t n, int k, Labels labels,
                   Best& best);

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
    int m_, frames_;
};

} // namespace faiss_vlc
