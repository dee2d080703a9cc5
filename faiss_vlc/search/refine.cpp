#include <faiss_vlc/search/refine.h>

#include <algorithm>

#include <faiss_vlc/codec/packed_levels.h>

namespace faiss_vlc {

Refine::Refine(const SearchScope& scope)
    : lists_(scope.lists), refinement_(scope.model),
      first_(scope.lists.first_size() + kBehindCode) {}

void Refine::request(Place place, PageRequests& requests) const {
    if (lists_.is_second_lent(place.list)) {
        requests.add(lists_.second(place.list, place.offset), lists_.second_size());
    }
}

void Refine::request(TopK& found, PageRequests& requests) const {
    found.each([&](float, Place place) { request(place, requests); });
}

void Refine::request(const std::vector<Place>& places, PageRequests& requests) const {
    for (const Place place : places) {
        request(place, requests);
    }
}

float Refine::estimate(Query& query, Place place) {
    lists_.copy_first(place.list, place.offset, first_.data());
    return query.refined(refinement_, int(place.list), first_.data(),
                         lists_.second(place.list, place.offset));
}

void Refine::operator()(Query& query, TopK& found, TopK& best) {
    places_.clear();
    found.each([&](float, Place place) { places_.push_back(place); }); // a list's stay together
    order(query, places_, best);
}

void Refine::operator()(Query& query, std::vector<Place>& places, TopK& best) {
    std::sort(places.begin(), places.end()); // a list's entries one after the other
    order(query, places, best);
}

/// Reads a little of each vector's codes. They lie on pages of their own, whose addresses the
/// processor has to look up; asking for lines ahead doesn't always do that, and reading one after
/// the other waits for each. Here many wait together.
void Refine::meet(const std::vector<Place>& places) const {
    uint32_t met = 0;
    for (const Place place : places) {
        const uint8_t* second = lists_.second(place.list, place.offset);
        met += second[0] + second[lists_.second_size() - 1];
        met += lists_.blocks(place.list)[place.offset / kBlock * kBlock * lists_.first_size()];
    }
    __asm__ volatile("" : : "r"(met)); // it has to be read
}

void Refine::order(Query& query, const std::vector<Place>& places, TopK& best) {
    constexpr size_t kAhead = 12; // vectors; they lie anywhere
    start();
    meet(places);
    for (size_t i = 0; i < std::min(kAhead, places.size()); i++) {
        lists_.prefetch(places[i].list, places[i].offset);
    }
    for (size_t i = 0; i < places.size(); i++) {
        if (i + kAhead < places.size()) {
            lists_.prefetch(places[i + kAhead].list, places[i + kAhead].offset);
        }
        best.push(estimate(query, places[i]), places[i]);
    }
}

} // namespace faiss_vlc
