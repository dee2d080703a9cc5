#include <faiss_vlc/search/refine.h>

#include <algorithm>

#include <faiss_vlc/codec/packed_levels.h>

namespace faiss_vlc {

Refine::Refine(const SearchScope& scope)
    : lists_(scope.lists), refinement_(scope.model), first_(scope.lists.first_size() + kChunk) {}

float Refine::estimate(Query& query, Place place) {
    lists_.copy_first(place.list, place.offset, first_.data());
    return query.refined(refinement_, int(place.list), first_.data(),
                         lists_.second(place.list, place.offset));
}

void Refine::operator()(Query& query, TopK& found, TopK& best) {
    places_.clear();
    found.each([&](float, Place place) { places_.push_back(place); });
    (*this)(query, places_, best);
}

void Refine::operator()(Query& query, std::vector<Place>& places, TopK& best) {
    start();
    for (const Place place : places) { // they lie anywhere
        const auto* code = reinterpret_cast<const char*>(lists_.second(place.list, place.offset));
        for (size_t at = 0; at < lists_.second_size(); at += 64) {
            __builtin_prefetch(code + at);
        }
    }
    std::sort(places.begin(), places.end()); // a list's entries one after the other
    for (const Place place : places) {
        best.push(estimate(query, place), place);
    }
}

} // namespace faiss_vlc
