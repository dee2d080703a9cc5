#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/train/settle.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

/// What ordering the best of a trial's base anew shows: the ranks by the first tier of those that
/// are best by both.
struct Ranks10 {
    std::vector<int> few, many; ///< of the best 10 and 40 of all queries
    std::vector<double> slack;  ///< of the best 10, see Query::widened

    void add(const Ranks10& other) {
        few.insert(few.end(), other.few.begin(), other.few.end());
        many.insert(many.end(), other.many.begin(), other.many.end());
        slack.insert(slack.end(), other.slack.begin(), other.slack.end());
    }
};

/// What searches for the trial's queries meet in the nearest lists. codes: by both tiers, of the
/// trial's base. least: how many queries are searched for at least.
Ranks10 search_trial(const Anchors& anchors, const Trial& trial, const Model& model,
                     const std::vector<uint8_t>& codes, size_t least, int probes);

/// How many a search refines, and how much wider a range search scans: met in all lists, usual with
/// the default nprobe. base: how many rows the trial's has.
void set_counts(Ranks10 met, const Ranks10& usual, size_t base, SecondTier& tier);

} // namespace faiss_vlc
