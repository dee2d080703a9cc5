#pragma once

#include <string>
#include <vector>

#include <faiss_vlc/storage/parameters.h>

namespace faiss_vlc {

/// The sections of version 1, in the order of the file; docs/FORMAT.md describes each.
/// The first two are always there, the others once the index is trained. Behind `parameters` come
/// those that parameter_sections() names.
namespace section {
constexpr char kIndex[] = "index";
constexpr char kParameters[] = "parameters";
constexpr char kTraining[] = "training";
constexpr char kEnergy[] = "energy";
constexpr char kRecall[] = "recall";
constexpr char kAdded[] = "added";
constexpr char kLattice[] = "lattice";
constexpr char kAnchors[] = "anchors";
constexpr char kRouting[] = "routing";
constexpr char kSpread[] = "spread";
constexpr char kFrame[] = "frame";
constexpr char kSigma[] = "sigma";
constexpr char kLayout[] = "layout";
constexpr char kWords[] = "words";
constexpr char kEstimator[] = "estimator";
constexpr char kRankBias[] = "rank";
constexpr char kSecond[] = "second";
constexpr char kRegions[] = "regions";
constexpr char kQuery[] = "query";
constexpr char kRotation[] = "rotation";
constexpr char kRefine[] = "refine";
constexpr char kLists[] = "lists";
constexpr char kIds[] = "ids";
constexpr char kCodes[] = "codes";
constexpr char kSeconds[] = "seconds";
} // namespace section

/// In section words, in the place of the factor bytes: none, and words of vectors, not residuals.
constexpr uint32_t kWholeWords = 3;

inline std::vector<std::string> known_sections() {
    std::vector<std::string> known = parameter_sections();
    known.insert(known.end(),
                 {section::kIndex,     section::kTraining, section::kEnergy,  section::kRecall,
                  section::kAdded,     section::kLattice,  section::kAnchors, section::kSpread,
                  section::kFrame,     section::kSigma,    section::kLayout,  section::kWords,
                  section::kEstimator, section::kRankBias, section::kRegions, section::kQuery,
                  section::kRotation,  section::kRouting,  section::kSecond,  section::kRefine,
                  section::kLists,     section::kIds,      section::kCodes,   section::kSeconds});
    return known;
}

} // namespace faiss_vlc
