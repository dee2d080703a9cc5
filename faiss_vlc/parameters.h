#pragma once

#include <cstdint>
#include <string>

namespace faiss_vlc {

enum class AnchorGrid : int32_t { int8 = 0, float16 = 1, automatic = 2 };
enum class FrameKind : int32_t { principal = 0, identity = 1 };
enum class Robust : int32_t { none = 0, huber = 1, trim = 2 };

/// How residuals are coded: by levels on axes, by words of trained codebooks, or by what finds
/// more.
enum class Codec : int32_t { automatic = 0, lattice = 1, block = 2 };

constexpr int kMaxGroups = 64; ///< of anchors that share a frame
constexpr int kMaxNeighbours = 4;

/// How an IndexVLC is made and trained. The defaults are meant to be left alone; what they were
/// measured against is in docs/decisions.
struct VLCParameters { // each with an entry in model/parameter_table.cpp
    // The index
    int m = 0;              ///< anchors (nlist); 0: about 4 sqrt(n) of the training set
    float bits_per_dim = 2; ///< code bits per dimension, 1/8 to 8; factors add 2 bytes a vector
    int bytes = 0;          ///< bytes per vector with factors, without ids; if set, rules over bits
    /// Code bits per dimension of a second tier, which orders the best by the first anew; its
    /// factors add 3 bytes a vector. 0: there is one tier.
    float second_bits = 0;
    int second_bytes = 0; ///< bytes of it with factors; if set, rules over second_bits
    AnchorGrid grid = AnchorGrid::automatic; ///< how anchors are stored; automatic: float16 where
                                             ///< int8 would add 5 % to the residuals' energy
    Codec codec = Codec::automatic; ///< how residuals are coded; automatic: by what finds more
    FrameKind frame = FrameKind::principal; ///< axes of the codes
    int frames = 0; ///< groups of anchors with axes of their own, 1 to 64; 0: chosen, see group.h

    int regions = -1; ///< of anchors, among which lists are looked for first; 0: none, all anchors
                      ///< are ranked; -1: chosen, see choose_regions in steps.h

    // The device
    /// auto | reference | opencl:<part of a name> | opencl-all[:<part of a name>]: all GPUs (else
    /// CPUs) of that name on one platform, each with a share of the sample, for the same result;
    /// empty: VLC_DEVICE, else auto
    std::string device;
    int work_group = 64; ///< 64, 128 or 256 work-items

    // The sample
    uint32_t seed = 1234; ///< of the sample's order and every random choice
    /// Training vectors beyond m times this are left out. If it is 256, as many as 16,384 (of more
    /// than 1024 dimensions 2^24 values) are used in any case; another number is meant as it is.
    int max_points_per_anchor = 256;
    float held_out = 0.1f; ///< share of the sample kept for stopping and tuning

    // The annealing loop
    int iterations = 15; ///< at most
    int candidates = -1; ///< anchors near its last one that a vector is compared with; 0: all, -1:
                         ///< 128, or 256 of vectors of more than 512 dimensions
    float first_share = 0.25f;      ///< of the sample in the first iteration, see rows_of_iteration
    int neighbours = 2;             ///< anchors among which a vector's weight is spread, 1 to 4
    float start_temperature = 0.1f; ///< in units of the first iteration's mean energy
    float end_temperature = 0.01f;  ///< in the same units
    float size_bias = 0.07f;  ///< mean energies added per factor e in list size: evens out lists
    float random_bias = 0.0f; ///< amplitude of the random bias at the start, in mean energies
    Robust robust = Robust::huber; ///< what is done about outliers
    float kappa = 3.0f;            ///< outliers are kappa median distances away, or farther
    float step = -1; ///< times the way to its mean that an anchor goes, 0.1 to 1.9; negative:
                     ///< chosen, 1.5 or, without size_bias and annealing, 1.25
    float max_step = 32.0f;       ///< of an anchor's component in one iteration, lattice units
    float merge_fraction = 0.25f; ///< see maintain.h
    float split_factor = 4.0f;    ///< see maintain.h
    float maintain_until = 0.7f;  ///< share of the iterations in which anchors merge and split
    float stop_changes = 0.001f;  ///< stops when fewer vectors than this share change their anchor

    // Choices made on held-out vectors; a value fixes them
    float tilt = -1;        ///< bits go by variance^(1 + tilt); negative: chosen
    float t1 = -1;          ///< of the estimate, see estimator.h; negative: chosen
    float t2 = -1;          ///< the same
    float c = -1;           ///< the same
    float rank_bias = -1;   ///< how a list's spread counts in its rank, see Model; negative: chosen
    float coverage = 0.95f; ///< share of true neighbours' lists that the default nprobe covers

    // Long runs
    std::string checkpoint;   ///< file written every checkpoint_every iterations
    int checkpoint_every = 0; ///< iterations; 0: never
    std::string resume;       ///< checkpoint to go on from: same data and parameters, same result
    std::string dump;         ///< folder for every intermediate of a small run, as .npy

    /// Throws naming the first parameter out of range for vectors of d dimensions.
    void check(int d) const;

    /// Bytes per vector with factors that these parameters ask for, for d dimensions, of the first
    /// tier of codes.
    int first_size(int d) const;
    /// The same of the second tier; 0: there is none.
    int second_size(int d) const;
    /// The same of both.
    int code_size(int d) const { return first_size(d) + second_size(d); }
};

} // namespace faiss_vlc
