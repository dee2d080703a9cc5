#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <opencl/search_records.h>
#include <opencl/select.h>

namespace faiss_vlc {

/// Frames' axes as rotation takes them: a row for each slot, whatever axis lies there.
struct FrameAxes {
    FrameAxes(Device& device, const Frame* frames, int count, const std::vector<int>& slot_axis,
              int dp);

    int frames;
    int slots;
    int stride;          ///< of a turned query, padded to a tile
    Buffer rows;         ///< int8 frames x slots x dp
    Buffer inverse_norm; ///< float frames x slots
};

/// Launches of rank.cl: queries in lattice coordinates, scores of anchors, rotation.
class RankStage {
public:
    static constexpr int kTile = 64; ///< rows of scores and rotated queries are padded to this

    RankStage(const SearchKernels& kernels, const Model& model);

    int score_stride() const { return shape_.score_stride; }
    int region_stride() const { return region_stride_; } ///< 0: no regions
    int rotated_stride() const { return axes_.stride; }
    int frames() const { return axes_.frames; }

    /// A block of queries, for at most `most` of them.
    struct Queries {
        Queries(Device& device, const RankStage& stage, int64_t most);
        Buffer x;             ///< float n x d
        Buffer head;          ///< records::Head n
        Buffer lattice;       ///< float n x dp
        Buffer rank8;         ///< int8 n x dp
        Buffer planes;        ///< int8 n x 2 dp
        Buffer scores;        ///< int32 n x score_stride
        Buffer region_scores; ///< int32 n x region_stride, if the model has regions
        Buffer rotated;       ///< float n x frames x rotated_stride
    };
    /// Makes lattice, rank8, planes and scores from x and head.
    void rank(Queries& queries, int64_t n);
    /// Makes the scores of those that are off the lattice, after that.
    void rank_off_lattice(Queries& queries, int64_t n);
    /// Leaves out of the scores what is not in the nearest `visited` regions, after these.
    /// some_off: some queries are off the lattice.
    void keep_regions(Queries& queries, int64_t n, int visited, bool some_off);
    /// And rotated, for the frames of the lists that each query probes.
    void rotate(Queries& queries, const ProbedLists& probed, int64_t n);

    /// What is turned, whichever frames those are.
    struct Turned {
        const FrameAxes& axes;
        const Buffer& counts;  ///< uint32, of each frame's queries
        const Buffer& queries; ///< uint32 frames x most
        int64_t most;
        bool fine;       ///< see Frame
        Buffer& rotated; ///< float n x frames x axes.stride
    };
    void rotate(const Queries& queries, int64_t n, Turned to);

private:
    std::shared_ptr<Device> device_;
    size_t group_;
    records::RankShape shape_{};
    int regions_, region_stride_;
    Kernel& prepare_;
    Kernel& score_;
    Kernel& score_off_lattice_;
    Kernel& keep_regions_;
    Kernel& rotate_;
    Buffer mean_;           ///< float d; zeros for inner products
    Buffer anchors_;        ///< int8 m x dp
    Buffer offsets_;        ///< int32 m
    Buffer reach_;          ///< float m; zeros but for inner products
    Buffer centres_;        ///< of regions, if there are any: int8 regions x dp
    Buffer centre_offsets_; ///< int32 regions
    Buffer no_reach_;       ///< float regions: zeros
    Buffer region_;         ///< int32 m
    FrameAxes axes_;
};

} // namespace faiss_vlc
