#include <faiss_vlc/IndexVLC.h>

#include <algorithm>
#include <cstring>
#include <typeinfo>
#include <unordered_map>

#include <faiss/IndexIDMap.h>

#include <faiss_vlc/index/say.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/finite.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>
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

/// The table of labels if an IDMap's remove_ids() made this selector, else null.
const std::vector<int64_t>* labels_of(const faiss::IDSelector& sel) {
#if FAISS_VLC_FAISS_VERSION >= 10800
    const auto* translated = dynamic_cast<const faiss::IDSelectorTranslated*>(&sel);
    return translated ? &translated->id_map : nullptr;
#else
    // Its type has no name outside of FAISS's own file; this is what it is called in the program,
    // and its first member is a reference to the table.
    if (std::strcmp(typeid(sel).name(), "N5faiss12_GLOBAL__N_120IDTranslatedSelectorE") != 0) {
        return nullptr;
    }
    const std::vector<int64_t>* labels;
    const char* const bytes = reinterpret_cast<const char*>(&sel);
    std::memcpy(&labels, bytes + sizeof(faiss::IDSelector), sizeof(labels));
    return labels;
#endif
}

/// Fails unless the lists' ids are below `limit`, each of them there once at most.
void require_positions(const char* what, const VLCInvertedLists& lists, idx_t limit) {
    std::vector<bool> met(limit);
    for (size_t j = 0; j < lists.nlist; j++) {
        for (size_t i = 0; i < lists.list_size(j); i++) {
            const idx_t id = lists.id(j, i);
            if (id < 0 || id >= limit || met[id]) {
                fail("%s below an IDMap: expected ids 0 to %lld in the IndexVLC, each once, got "
                     "%lld%s; nothing was changed",
                     what, (long long)limit - 1, (long long)id,
                     id >= 0 && id < limit ? " again" : "");
            }
            met[id] = true;
        }
    }
}

void require_distinct(int n, const idx_t* ids) {
    std::vector<idx_t> sorted(ids, ids + n);
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) {
        fail("update_vectors: expected different ids, got %lld twice", (long long)*twice);
    }
}

/// A direct map of this type for what VLCInvertedLists::renumber() will leave, `total` ids.
faiss::DirectMap renumbered_map(const VLCInvertedLists& lists, const std::vector<idx_t>& number,
                                faiss::DirectMap::Type type, idx_t total) {
    faiss::DirectMap map;
    map.type = type;
    if (type == faiss::DirectMap::Array) {
        map.array.resize(total, -1);
    }
    for (size_t j = 0; j < lists.nlist && type != faiss::DirectMap::NoMap; j++) {
        idx_t place = idx_t(j) << 32;
        for (size_t i = 0; i < lists.list_size(j); i++) {
            const idx_t id = number[lists.id(j, i)];
            if (id >= 0 && type == faiss::DirectMap::Array) {
                map.array[id] = place++;
            } else if (id >= 0) {
                map.hashtable[id] = place++;
            }
        }
    }
    return map;
}

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
    AddedRows added;
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
        added.add(count_outside(*model, count, x + first * d, codes.data(), list_nos + first));

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
    below_id_map = below_id_map && !ids;
    note_added(own, added);
}

void IndexVLC::update_vectors(int n, const idx_t* ids, const float* x) {
    require_trained("update_vectors");
    checked_count(n, d, sizeof(float), "vectors to update");
    require_finite(x, n, d, "vectors to update");
    for (int i = 0; i < n && !direct_map.no(); i++) {
        direct_map.get(ids[i]); // throws if it is not there, before anything is changed
    }
    if (direct_map.type != faiss::DirectMap::Array) {
        require_distinct(n, ids);
        const bool below = below_id_map;     // ids stay what they are
        IndexIVF::update_vectors(n, ids, x); // removes and adds, or says that it needs a map
        below_id_map = below;
        return;
    }
    std::vector<idx_t> list_nos(n);
    assign_lists(n, x, list_nos.data());
    std::vector<uint8_t> codes(size_t(n) * code_size);
    encode_vectors(n, x, list_nos.data(), codes.data());
    direct_map.update_codes(invlists, n, ids, list_nos.data(), codes.data());
    note_added(lists(), count_outside(*model, n, x, codes.data(), list_nos.data()));
}

/// An IDMap takes it that the rows which stay move up, as a flat index's do.
size_t IndexVLC::remove_rows(const faiss::IDSelector& sel, size_t labels) {
    if (labels != size_t(ntotal)) {
        fail("remove_ids below an IDMap: it has %zu labels, the IndexVLC %lld vectors; nothing was "
             "changed",
             labels, (long long)ntotal);
    }
    VLCInvertedLists& own = lists();
    require_positions("remove_ids", own, ntotal);
    std::vector<idx_t> number(ntotal);
    idx_t kept = 0;
    for (idx_t i = 0; i < ntotal; i++) {
        number[i] = sel.is_member(i) ? -1 : kept++;
    }
    faiss::DirectMap map = renumbered_map(own, number, direct_map.type, kept);
    own.renumber(number);
    direct_map = std::move(map);
    const idx_t removed = ntotal - kept;
    ntotal = kept;
    return size_t(removed);
}

size_t IndexVLC::remove_ids(const faiss::IDSelector& sel) {
    if (const auto* labels = labels_of(sel)) {
        below_id_map = true;
        return remove_rows(sel, labels->size());
    }
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
    if (below_id_map && add_id == 0) { // FAISS's IDMap leaves it out
        require_positions("merge_from", own, ntotal);
        require_positions("merge_from", theirs, from.ntotal);
        add_id = ntotal;
    }
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
    note_added(own, theirs.added);
    from.reset();
}

} // namespace faiss_vlc
