#include <faiss_vlc/search/late_range.h>

#include <algorithm>

namespace faiss_vlc {

namespace {

constexpr size_t kPortion = 4096; // vectors whose pages are requested together

} // namespace

LateRange::LateRange(const SearchScope& scope, float radius)
    : scope_(scope), lists_(scope.lists), radius_(radius), refine_(scope) {}

Scanned LateRange::scan(QueryGroup& group, int q, size_t probes) {
    Scanned scanned;
    if (group.is_set(q)) {
        scanned = scan_lists_places(scope_, group[q], probes, group.lists(q), radius_, hits_,
                                    group.following(q));
    }
    ends_.push_back(hits_.size());
    return scanned;
}

/// Requests some 16 MB of pages more.
void LateRange::request(PageRequests& requests) {
    const size_t end = std::min(hits_.size(), requested_ + kPortion);
    if (requests.are_wanted() && end > requested_) {
        refine_.request({hits_.begin() + ptrdiff_t(requested_), hits_.begin() + ptrdiff_t(end)},
                        requests);
        requests.send();
    }
    requested_ = end;
}

void LateRange::compare(Query& query, size_t begin, size_t end, PageRequests& requests,
                        faiss::RangeQueryResult& result) {
    refine_.start();
    for (size_t i = begin; i < end; i++) {
        if (i + kPortion >= requested_) { // those come while others are compared
            request(requests);
        }
        const Place place = hits_[i];
        const float distance = query.distance(refine_.estimate(query, place));
        if (is_within(scope_, distance, radius_)) {
            result.add(distance, lists_.id(place.list, place.offset));
        }
    }
}

} // namespace faiss_vlc
