#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <faiss_vlc/search/scan_lists.h>

namespace faiss_vlc {

/// Orders what scanning found best anew, by both tiers of codes. Holds scratch; one per thread.
class Refine {
public:
    /// For searches of a scope whose model has a second tier.
    explicit Refine(const SearchScope& scope);

    /// Pushes each entry that `found` holds to `best`, with its estimate by both tiers.
    void operator()(Query& query, TopK& found, TopK& best);
    /// The same of places.
    void operator()(Query& query, std::vector<Place>& places, TopK& best);

    /// Adds what the second codes of these lie in, where that is a file.
    void request(TopK& found, PageRequests& requests) const;
    void request(const std::vector<Place>& places, PageRequests& requests) const;

    /// The estimate of one vector, for the query that start() was called for.
    void start() { refinement_.forget(); }
    float estimate(Query& query, Place place);

private:
    static constexpr size_t kAtOnce = 64; ///< vectors whose codes are met together
    const VLCInvertedLists& lists_;
    Refinement refinement_;
    size_t stride_;              ///< of first_: a packed code, and what may be read behind it
    std::vector<uint8_t> first_; ///< of kAtOnce vectors
    std::vector<Place> places_;

    void request(Place place, PageRequests& requests) const;
    void meet(const Place* places, size_t n);
    void order(Query& query, const std::vector<Place>& places, TopK& best);
};

} // namespace faiss_vlc
