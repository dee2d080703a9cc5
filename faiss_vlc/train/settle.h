#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/sample.h>

namespace faiss_vlc {

/// What training leaves, all integers.
struct Anchors {
    AnchorGrid grid = AnchorGrid::int8; ///< as chosen
    std::vector<int32_t> anchor;        ///< m x dp fixed point, snapped to the grid
    std::vector<int32_t> label;         ///< n, nearest anchor of each sample row
    std::vector<int32_t> dist;          ///< n, squared lattice distance
    std::vector<int32_t> count;         ///< m, training rows
    std::vector<int64_t> energy;        ///< m
    std::vector<uint8_t> group;         ///< m, see group.h
    int groups = 1;
    std::vector<int64_t>
            covariance; ///< groups x d x d, see covariance.h; none beyond kMaxCovarianceDim
    /// Only if the sample is routed: m x dp of its lattice, and m, the lengths that lists stand
    /// for. Then energies are those on that lattice, and distances are there for rows that are
    /// kept.
    std::vector<int8_t> route;
    std::vector<float> length;
    std::vector<float> course; ///< energy of each iteration, see Checkpoint; none of given anchors
    int iterations = 0;
    int merges = 0, splits = 0;
};

/// Puts the engine's anchors on the grid that they are stored on, without biases, has all rows
/// assigned to them by assign(), and finds out what Anchors holds but for iterations and moves.
/// Where int8 would add much to the residuals, `automatic` means float16.
void settle(Engine& engine, const Sample& sample, const VLCParameters& params, Anchors& result,
            const std::function<AssignSummary()>& assign);

/// Turns anchors of a routed sample's lattice into those of vectors, which are float16.
void leave_routing(const Sample& sample, Anchors& anchors);

/// Anchors that are given (float m x d, the data's units), put on the grid and otherwise left
/// alone, with what anneal() finds out about them.
Anchors take_anchors(Engine& engine, const Sample& sample, const VLCParameters& params,
                     const float* given);

} // namespace faiss_vlc
