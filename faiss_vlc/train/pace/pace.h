#pragma once

#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/sample.h>

namespace faiss_vlc {

/// How anchors go to their means, where the parameters leave it open.
enum class Pace : int32_t {
    usual = 0, ///< beyond them, with annealing, and lists are evened out
    plain = 1, ///< less far, cold, and nothing evens out lists: much as in k-means
};

/// What choose_pace found.
struct PaceChoice {
    Pace pace = Pace::usual;
    double other = 0; ///< rows that the other pace scans in the trial, times those of this one; 0:
                      ///< there was no trial
};

/// Of a negative step: the one with which fewer rows are scanned for rows that were left out. Two
/// small trainings of the sample's local rows on the engine tell. The same on every engine and in
/// all processes. Of another step, of a sample that is too small to tell, or where there are more
/// than about 120 processes, each of which needs a block of local rows: the usual one.
PaceChoice choose_pace(Engine& engine, const Sample& sample, const VLCParameters& params);

/// The parameters with the pace's step in place of a negative one, and what goes with it: a size
/// bias and a start temperature that were set are left as they are.
VLCParameters with_pace(const VLCParameters& params, Pace pace);

} // namespace faiss_vlc
