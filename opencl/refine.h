#pragma once

#include <cstdint>
#include <memory>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>
#include <opencl/rank.h>
#include <opencl/scan.h>
#include <opencl/search_kernels.h>
#include <opencl/search_records.h>
#include <opencl/select.h>

namespace faiss_vlc {

/// Second codes on a device, beside the first ones' blocks: one for each place of these.
struct DeviceSeconds {
    DeviceSeconds(Device& device, const VLCInvertedLists& lists);

    /// Bytes that they will take.
    static uint64_t bytes_of(const VLCInvertedLists& lists);
    /// Bytes of a code there: whole words.
    static size_t stride_of(const VLCInvertedLists& lists) {
        return (lists.second_size() + 3) / 4 * 4;
    }

    Buffer codes; ///< uint8 blocks x 16 x stride
};

/// Launches of refine.cl: the best by the first tier, ordered anew by both.
class RefineStage {
public:
    /// Whether it can: codes of levels, whose estimates are sums. Words and what is compared by
    /// decoding are the CPU's.
    static bool suits(const Model& model);

    /// For models that it suits.
    RefineStage(const SearchKernels& kernels, const Model& model);

    /// A block of queries, for at most `most` of them.
    struct Queries {
        Queries(Device& device, const RefineStage& stage, int64_t most);
        int64_t most;
        Buffer count;          ///< uint32 1: of the queries
        Buffer number;         ///< uint32 most: 0, 1, 2, ...
        Buffer turned;         ///< float n x axes' stride: in the second tier's frame
        Buffer weights;        ///< int16 n x frames x fields x 4
        Buffer weighed;        ///< records::Weighed n x frames
        Buffer second_weights; ///< int16 n x fields x 4
        Buffer second_weighed; ///< records::Weighed n
    };
    /// Bytes of a query in the largest of these.
    uint64_t query_bytes() const;

    /// Prepares n queries that are turned into the frames of the lists which they probe.
    void weigh(RankStage& rank, const RankStage::Queries& queries, const ProbedLists& probed,
               int64_t n, Queries& own);

    /// What is refined: `many` hits of a query at most, named by pairs.
    struct Hits {
        const SelectStage::Best& best;
        int many;
        const ProbedLists& probed;
        const ScanStage::Tasks& tasks;
        const DeviceLists& lists;
        const DeviceSeconds& seconds;
    };
    /// The best k of each query by (estimate by both tiers, id, place).
    void refine(const Hits& hits, const ScanStage& scan, const Queries& own, int64_t n, int k,
                bool as_places, SelectStage::Best& best);

private:
    static constexpr int kTeams = 4; ///< queries that a work-group weighs, with kLanes items each

    /// A tier's side of weights.
    struct Levels {
        records::WeighShape shape{};
        Buffer places; ///< int32 fields x 4
        Buffer masks;  ///< uint32 fields
        Buffer most;   ///< float slots
        Buffer steps;  ///< float frames x slots
    };
    /// Queries in a tier's frames.
    struct Turned {
        const Buffer& rotated;
        int stride;
        const Buffer& counts; ///< of each frame's queries
        const Buffer& queries;
        int64_t most; ///< that a frame has room for
    };
    void launch_weigh(const Levels& levels, const Turned& turned, int64_t n, Buffer& weights,
                      Buffer& weighed);

    SearchKernels kernels_;
    size_t group_; ///< work-items for a query's hits
    Kernel& weigh_;
    Kernel& refine_;
    FrameAxes axes_;
    records::RefineShape shape_{};
    Levels first_, second_;
    Buffer second_fields_; ///< records::PackedField, word by word
    Buffer starts_;        ///< float m, see SecondList::start
    Buffer scales_;        ///< float 256
    Buffer alphas_;        ///< float 256
};

} // namespace faiss_vlc
