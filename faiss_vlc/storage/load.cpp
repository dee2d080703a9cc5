#include <faiss_vlc/storage/load.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/paging.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/storage/head.h>
#include <faiss_vlc/storage/load_sections.h>
#include <faiss_vlc/storage/sections.h>

namespace faiss_vlc {

namespace {

AddedRows read_added(ByteReader r) {
    AddedRows added;
    added.rows = r.i64();
    added.outside = r.i64();
    added.twice = r.i64();
    added.farthest = finite(r, "farthest row");
    expect(added.twice >= 0 && added.outside >= added.twice && added.rows >= added.outside, r,
           "rows outside", double(added.outside), "at most all rows, at least those twice as far");
    expect(added.farthest >= 0, r, "farthest row", added.farthest, "0 or above");
    r.expect_end();
    return added;
}

/// What is left in the payload.
enum class Lent { none, seconds, all };

void read_lists(const SectionReader& sections, const IndexHead& head, Lent lent,
                VLCInvertedLists& lists) {
    ByteReader r = sections.read(section::kLists);
    const uint32_t id_bytes = r.u32();
    expect(id_bytes == 4 || id_bytes == 8, r, "bytes of an id", id_bytes, "4 or 8");
    const std::vector<uint32_t> sizes = r.array<uint32_t>(head.m);
    r.expect_end();
    uint64_t total = 0;
    for (uint32_t size : sizes) {
        total += size;
    }
    expect(total == head.ntotal, r, "sum of the list sizes", double(total), "ntotal");
    const uint8_t* ids =
            sections.view<uint8_t>(section::kIds, checked_mul(total, id_bytes, "size of the ids"));
    if (lent == Lent::all && reinterpret_cast<uintptr_t>(ids) % id_bytes != 0) {
        fail("%s: its ids are not aligned to their size", sections.payload().origin.c_str());
    }
    const uint8_t* codes = sections.view<uint8_t>(
            section::kCodes, checked_mul(total, lists.first_size(), "size of the codes"));
    const uint8_t* seconds = nullptr;
    if (lists.second_size() > 0) {
        seconds =
                sections.view<uint8_t>(section::kSeconds, checked_mul(total, lists.second_size(),
                                                                      "size of the second codes"));
        if (lent != Lent::none) {
            read_at_random(seconds, total * lists.second_size());
        }
    }
    if (lent != Lent::all) {
        lists.set_lists(
                {sizes.data(), codes, lent == Lent::none ? seconds : nullptr, ids, int(id_bytes)});
    }
    for (uint32_t j = 0; lent != Lent::none && j < head.m; j++) {
        if (lent == Lent::all) {
            lists.lend_list(j, sizes[j], codes, seconds, ids, int(id_bytes));
        } else if (seconds) {
            lists.lend_seconds(j, seconds);
        }
        codes += uint64_t(sizes[j]) * lists.first_size();
        seconds += seconds ? uint64_t(sizes[j]) * lists.second_size() : 0;
        ids += uint64_t(sizes[j]) * id_bytes;
    }
}

bool is_lent(Lent lent, const std::string& name) {
    const bool is_second = name == section::kSeconds;
    return lent == Lent::all ? is_second || name == section::kIds || name == section::kCodes
                             : lent == Lent::seconds && is_second;
}

std::unique_ptr<IndexVLC> make_index(Payload payload, Lent lent) {
    const std::shared_ptr<const void> owner = payload.owner;
    const SectionReader sections(std::move(payload), known_sections());
    for (const Section& one : sections.sections()) {
        if (!is_lent(lent, one.name)) {
            sections.verify(one.name);
        }
    }
    const IndexHead head = IndexHead::read(sections.read(section::kIndex));
    VLCParameters parameters;
    read_parameters(sections, int(head.d), parameters);
    std::unique_ptr<IndexVLC> index;
    if (head.trained) {
        index = std::make_unique<IndexVLC>(read_model(sections, head), parameters);
        read_lists(sections, head, lent, index->lists());
        if (sections.has(section::kAdded)) {
            index->lists().added = read_added(sections.read(section::kAdded));
        }
        if (lent != Lent::none) {
            index->lists().hold_lent(owner);
        }
    } else {
        index = std::make_unique<IndexVLC>(int(head.d), parameters, faiss::MetricType(head.metric));
        expect(index->code_size == head.code_size, sections.read(section::kParameters), "code size",
               head.code_size, "what the parameters give");
    }
    index->ntotal = int64_t(head.ntotal);
    index->nprobe = head.nprobe;
    index->max_codes = head.max_codes;
    if (sections.has(section::kRefine)) { // without it, training's choice
        ByteReader refine = sections.read(section::kRefine);
        index->refine_k = refine.u64();
        refine.expect_end();
    }
    const auto map = faiss::DirectMap::Type(head.direct_map);
    // older writers kept an array that FAISS had refused to fill
    if (map != faiss::DirectMap::Array || index->lists().ids_below(size_t(index->ntotal))) {
        index->set_direct_map_type(map);
    }
    return index;
}

} // namespace

std::unique_ptr<IndexVLC> load_index(Payload payload) {
    return make_index(std::move(payload), Lent::none);
}

std::unique_ptr<IndexVLC> borrow_index(Payload payload) {
    return make_index(std::move(payload), Lent::all);
}

std::unique_ptr<IndexVLC> borrow_seconds(Payload payload) {
    return make_index(std::move(payload), Lent::seconds);
}

} // namespace faiss_vlc
