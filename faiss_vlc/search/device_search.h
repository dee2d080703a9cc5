#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/batch.h>
#include <faiss_vlc/search/lists.h>

namespace faiss_vlc {

/// Searches one index's lists on a device, with the results of the CPU, bit by bit.
///
/// Thread-safety: any number of threads; they take turns. Errors are FaissExceptions that name the
/// device and the call; the next search starts afresh.
class DeviceSearch {
public:
    virtual ~DeviceSearch() = default;

    /// The largest k.
    static constexpr int64_t kMostResults = 1024;

    /// The device string that it was made for.
    virtual const std::string& spec() const = 0;

    /// Writes the results of the queries. Leaves out those that it can't answer as the CPU does:
    /// their numbers go to `left`. Returns the vectors scanned for the others. width: see
    /// AnchorRanking::nearest.
    virtual size_t search(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists,
                          const SearchBatch& batch, int nprobe, int width,
                          std::vector<int64_t>& left) = 0;

    /// How lists are looked through, and how many of the best by the first tier are refined.
    struct TwoTiers {
        int nprobe;
        int width;
        int refined; ///< at least k, at most kMostResults
    };
    /// The same for codes of two tiers, whose best by the first are ordered anew by both, as Refine
    /// does. False where the device can't, now or ever: then search() may still find what another
    /// refines, `left` is as it was, and results are anything. scanned: what search() returns.
    virtual bool search_two_tiers(const std::shared_ptr<const Model>& /*model*/,
                                  const VLCInvertedLists& /*lists*/, const SearchBatch& /*batch*/,
                                  const TwoTiers& /*how*/, std::vector<int64_t>& /*left*/,
                                  size_t& /*scanned*/) {
        return false;
    }
};

} // namespace faiss_vlc
