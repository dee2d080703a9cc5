#include <faiss_vlc/search/refine.h>

#include <algorithm>

#include <faiss_vlc/codec/packed_levels.h>

namespace faiss_vlc {

Refine::Refine(const SearchScope& scope)
    : lists_(scope.lists), refinement_(scope.model),
      stride_(scope.lists.first_size() + kBehindCode), first_(kAtOnce * stride_) {}

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

/// Copies first codes and reads a byte of each line of second codes. They lie anywhere, so each is
/// waited for; here those of many vectors come together. Asking for lines ahead did less: where
/// their page has to be looked up, processors may not do it.
void Refine::meet(const Place* places, size_t n) {
    constexpr size_t kLine = 64;
    for (size_t i = 0; i < n; i++) {
        lists_.copy_first(places[i].list, places[i].offset, &first_[i * stride_]);
    }
    const size_t last = lists_.second_size() - 1;
    uint32_t met = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t* second = lists_.second(places[i].list, places[i].offset);
        for (size_t at = 0; at < last; at += kLine) {
            met += second[at];
        }
        met += second[last];
    }
    __asm__ volatile("" : : "r"(met)); // they have to be read
}

void Refine::order(Query& query, const std::vector<Place>& places, TopK& best) {
    start();
    for (size_t from = 0; from < places.size(); from += kAtOnce) {
        const size_t n = std::min(kAtOnce, places.size() - from);
        meet(&places[from], n);
        for (size_t i = 0; i < n; i++) {
            const Place place = places[from + i];
            const float estimate = query.refined(refinement_, int(place.list), &first_[i * stride_],
                                                 lists_.second(place.list, place.offset));
            best.push(estimate, place);
        }
    }
}

} // namespace faiss_vlc
