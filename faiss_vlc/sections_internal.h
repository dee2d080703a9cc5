#pragma once

#include <string>
#include <vector>

namespace faiss_vlc {

/// The sections of version 1, in the order of the file; docs/FORMAT.md describes each.
/// The first two are always there, the others once the index is trained.
namespace section {
constexpr char kIndex[] = "index";
constexpr char kParameters[] = "parameters";
constexpr char kMoreParameters[] = "parameters.2";
constexpr char kTraining[] = "training";
constexpr char kLattice[] = "lattice";
constexpr char kAnchors[] = "anchors";
constexpr char kSpread[] = "spread";
constexpr char kFrame[] = "frame";
constexpr char kSigma[] = "sigma";
constexpr char kLayout[] = "layout";
constexpr char kEstimator[] = "estimator";
constexpr char kRank[] = "rank";
constexpr char kLists[] = "lists";
constexpr char kIds[] = "ids";
constexpr char kCodes[] = "codes";
} // namespace section

inline std::vector<std::string> known_sections() {
    return {section::kMoreParameters, section::kIndex,   section::kParameters, section::kTraining,
            section::kLattice,        section::kAnchors, section::kSpread,     section::kFrame,
            section::kSigma,          section::kLayout,  section::kEstimator,  section::kRank,
            section::kLists,          section::kIds,     section::kCodes};
}

} // namespace faiss_vlc
