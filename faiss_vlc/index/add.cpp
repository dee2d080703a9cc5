#include <faiss_vlc/IndexVLC.h>

#include <algorithm>
#include <unordered_map>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/finite.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/search/place.h>

namespace faiss_vlc {

using idx_t = int64_t;

namespace {

constexpr int64_t kAddBlock = 32768; ///< vectors encoded at a time: bounds add()'s extra memory

/// What adding brings to a direct map, held back until nothing can fail any more.
class DirectMapAddition {
public:
    DirectMapAddition(faiss::DirectMap& map, idx_t n) : map_(map) {
        if (map.type == faiss::DirectMap::Array) {
            const size_t size = checked_add(map.array.size(), n, "size of a direct map");
            if (size > map.array.capacity()) {
                map.array.reserve(std::max(size, 2 * map.array.capacity()));
            }
            places_.reserve(n);
        }
    }
    /// place: Place::label(), or -1.
    void add(idx_t id, idx_t place) {
        if (map_.type == faiss::DirectMap::Array) {
            places_.push_back(place);
        } else if (map_.type == faiss::DirectMap::Hashtable && place >= 0) {
            fresh_[id] = place;
        }
    }
    void commit() {
        map_.array.insert(map_.array.end(), places_.begin(), places_.end());
        auto& table = map_.hashtable;
        const size_t size = table.size() + fresh_.size();
        if (float(size) > table.max_load_factor() * float(table.bucket_count())) {
            table.reserve(std::max(size, 2 * table.size())); // the last that can throw
        }
        table.merge(fresh_);
        for (const auto& [id, place] : fresh_) { // ids that were there already
            table.find(id)->second = place;
        }
    }

private:
    faiss::DirectMap& map_;
    std::vector<idx_t> places_;
    std::unordered_map<idx_t, idx_t> fresh_;
};

} // namespace

void IndexVLC::add_with_ids(idx_t n, const float* x, const idx_t* ids) {
    require_trained("add");
    checked_count(n, d, sizeof(float), "vectors to add");
    if (n == 0) {
        return;
    }
    require_finite(x, n, d, "vectors to add");
    direct_map.check_can_add(ids);
    std::vector<idx_t> list_nos(n);
    assign_lists(n, x, list_nos.data());
    add_core(n, x, ids, list_nos.data());
}

void IndexVLC::add_core(idx_t n, const float* x, const idx_t* ids,
                        const idx_t* list_nos FAISS_VLC_LIST_CONTEXT()) {
    require_trained("add");
    checked_count(n, d, sizeof(float), "vectors to add");
    direct_map.check_can_add(ids);
    VLCInvertedLists& own = lists();
    for (idx_t i = 0; i < n; i++) {
        if (list_nos[i] >= idx_t(nlist)) {
            fail("add_core: expected lists below %zu, got %lld for vector %lld", nlist,
                 (long long)list_nos[i], (long long)i);
        }
    }
    // Whatever throws from here on, the index is as it was.
    VLCInvertedLists::Addition addition(own);
    DirectMapAddition map(direct_map, n);
    std::vector<idx_t> block_ids;
    std::vector<uint8_t> codes;
    std::vector<uint32_t> begin, next, order;
    for (idx_t first = 0; first < n; first += kAddBlock) {
        check_interrupt();
        const idx_t count = std::min(kAddBlock, n - first);
        block_ids.resize(count);
        for (idx_t i = 0; i < count; i++) {
            block_ids[i] = ids ? ids[first + i] : ntotal + first + i;
        }
        codes.resize(size_t(count) * code_size);
        encode_vectors(count, x + first * d, list_nos + first, codes.data());

        // by list, in order of arrival within each
        begin.assign(nlist + 1, 0);
        order.resize(count);
        for (idx_t i = 0; i < count; i++) {
            if (list_nos[first + i] >= 0) {
                begin[list_nos[first + i] + 1]++;
            }
        }
        for (size_t j = 0; j < nlist; j++) {
            begin[j + 1] += begin[j];
        }
        next = begin;
        for (idx_t i = 0; i < count; i++) {
            if (list_nos[first + i] >= 0) {
                order[next[list_nos[first + i]]++] = uint32_t(i);
            }
        }
        own.prepare_ids(count, block_ids.data());
        std::vector<idx_t> offset(direct_map.no() ? 0 : count, -1);
        Rescue rescue;
#pragma omp parallel for schedule(dynamic, 16)
        for (size_t j = 0; j < nlist; j++) {
            rescue.run([&] {
                const size_t in_list = begin[j + 1] - begin[j];
                if (in_list == 0) {
                    return;
                }
                const uint32_t* rows = &order[begin[j]];
                const size_t at = own.add_rows(j, in_list, rows, block_ids.data(), codes.data());
                for (size_t i = 0; i < in_list && !offset.empty(); i++) {
                    offset[rows[i]] = idx_t(at + i);
                }
            });
        }
        rescue.rethrow();
        for (idx_t i = 0; i < idx_t(offset.size()); i++) {
            map.add(block_ids[i],
                    offset[i] < 0
                            ? -1
                            : Place{uint32_t(list_nos[first + i]), uint32_t(offset[i])}.label());
        }
    }
    map.commit();
    addition.keep();
    ntotal += n;
}

void IndexVLC::update_vectors(int n, const idx_t* ids, const float* x) {
    require_trained("update_vectors");
    if (direct_map.type != faiss::DirectMap::Array) {
        IndexIVF::update_vectors(n, ids, x); // removes and adds, or says that it needs a map
        return;
    }
    checked_count(n, d, sizeof(float), "vectors to update");
    require_finite(x, n, d, "vectors to update");
    std::vector<idx_t> list_nos(n);
    assign_lists(n, x, list_nos.data());
    std::vector<uint8_t> codes(size_t(n) * code_size);
    encode_vectors(n, x, list_nos.data(), codes.data());
    direct_map.update_codes(invlists, n, ids, list_nos.data(), codes.data());
}

size_t IndexVLC::remove_ids(const faiss::IDSelector& sel) {
    if (!direct_map.no() || !is_trained) {
        return IndexIVF::remove_ids(sel);
    }
    // FAISS's own loop expects get_ids() to follow its changes; ours are copies.
    VLCInvertedLists& own = lists();
    size_t removed = 0;
    Rescue rescue;
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : removed)
    for (size_t j = 0; j < nlist; j++) {
        rescue.run([&] { removed += own.remove_ids(j, sel); });
    }
    ntotal -= idx_t(removed);
    rescue.rethrow();
    return removed;
}

void IndexVLC::check_compatible_for_merge(const faiss::Index& other) const {
    const auto* same_kind = dynamic_cast<const IndexVLC*>(&other);
    if (!same_kind) {
        fail("merging into an IndexVLC: expected another IndexVLC");
    }
    if (!model || !same_kind->model || !model->same_as(*same_kind->model)) {
        fail("merging IndexVLCs: expected the same training, got anchors or codes of another one");
    }
}

void IndexVLC::merge_from(faiss::Index& other, idx_t add_id) {
    check_compatible_for_merge(other);
    auto& from = dynamic_cast<IndexVLC&>(other);
    if (&from == this) {
        fail("merging IndexVLCs: expected another index, got this one");
    }
    if (!direct_map.no() || !from.direct_map.no()) {
        fail("merging IndexVLCs: expected no direct map on either side");
    }
    VLCInvertedLists& own = lists();
    VLCInvertedLists& theirs = from.lists();
    VLCInvertedLists::Addition addition(own);
    std::vector<std::vector<idx_t>> ids(nlist);
    for (size_t j = 0; j < nlist; j++) {
        for (size_t i = 0; i < theirs.list_size(j); i++) {
            ids[j].push_back(theirs.id(j, i) + add_id);
        }
        own.prepare_ids(ids[j].size(), ids[j].data());
    }
    for (size_t j = 0; j < nlist; j++) {
        const faiss::InvertedLists::ScopedCodes codes(&theirs, j);
        own.add_entries(j, ids[j].size(), ids[j].data(), codes.codes);
    }
    addition.keep();
    ntotal += from.ntotal;
    from.reset();
}

} // namespace faiss_vlc
