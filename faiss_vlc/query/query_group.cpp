#include <faiss_vlc/query/query_group.h>

#include <algorithm>

#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

int QueryGroup::size_for(int64_t n, int threads, int largest) {
    constexpr int kGroupsPerThread = 4;
    const int64_t share = n / (int64_t(threads) * kGroupsPerThread) / kTogether * kTogether;
    return int(std::min<int64_t>({largest, std::max<int64_t>(share, kTogether), n}));
}

QueryGroup::QueryGroup(const Model& model, int size)
    : model_(model), ranking_(model, std::min(size, AnchorRanking::kMost)),
      words_(model.layout.has_words() ? std::make_unique<WordTables>(model) : nullptr),
      is_set_(size), lists_(size) {
    for (int q = 0; q < size; q++) {
        queries_.push_back(std::make_unique<Query>(model, &ranking_, words_.get()));
    }
}

void QueryGroup::set(int n, const float* x) {
    n_ = n;
    for (int q = 0; q < n; q++) {
        is_set_[q] = queries_[q]->set(x + int64_t(q) * model_.d);
    }
}

void QueryGroup::rank(int probes, int width, bool sorted) {
    probes_ = probes;
    const int at_once = AnchorRanking::at_once(model_, std::max(probes, width));
    for (int first = 0; first < n_; first += at_once) {
        const int some = std::min(at_once, n_ - first);
        const RoundedQuery* together[AnchorRanking::kMost];
        for (int i = 0; i < some; i++) {
            together[i] = &queries_[first + i]->rounded();
        }
        ranking_.score(some, together, std::max(probes, width));
        for (int q = first; q < first + some; q++) {
            lists_[q] = queries_[q]->rank(probes, width, sorted).data();
        }
    }
}

void QueryGroup::give(int probes, const int64_t* lists, int64_t stride) {
    probes_ = probes;
    for (int q = 0; q < n_; q++) {
        lists_[q] = lists + q * stride;
    }
}

int64_t QueryGroup::following(int q) const {
    return q + 1 < n_ && is_set_[q + 1] && probes_ > 0 ? lists_[q + 1][0] : -1;
}

void QueryGroup::rotate() {
    if (n_ < kTogether) {
        return; // each will see to itself
    }
    for (int q = 0; q < n_; q++) {
        for (int l = 0; is_set_[q] && l < probes_; l++) {
            if (lists_[q][l] >= 0) {
                queries_[q]->want(int(lists_[q][l]));
            }
        }
    }
    for (int frame = 0; frame < int(model_.frames.size()); frame++) {
        each_together([&](const Query& query) { return query.wants(frame); },
                      [&](int count, Query* const* queries) {
                          Query::rotate_together(count, queries, frame);
                      });
    }
    if (model_.turns_to_refine()) {
        each_together([](const Query&) { return true; }, Query::turn_together);
    }
}

/// Calls rotate(count, queries) with those that are set and want it, up to kTogether at a time. A
/// last one is left to see to itself.
template <class Wants, class Rotate>
void QueryGroup::each_together(Wants wants, Rotate rotate) {
    Query* wanting[kTogether];
    int count = 0;
    for (int q = 0; q < n_; q++) {
        if (is_set_[q] && wants(*queries_[q])) {
            wanting[count++] = queries_[q].get();
            if (count == kTogether) {
                rotate(count, wanting);
                count = 0;
            }
        }
    }
    if (count > 1) { // still cheaper than one by one
        rotate(count, wanting);
    }
}

} // namespace faiss_vlc
