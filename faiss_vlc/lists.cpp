#include <faiss_vlc/lists.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include <faiss_vlc/error.h>

namespace faiss_vlc {

namespace {

bool fits_4_bytes(int64_t id) {
    return id >= 0 && id <= std::numeric_limits<uint32_t>::max();
}

/// Bytes [0, code_size) of vector v in a block of `count` vectors, moved by copy(block, code, lanes).
template <class Copy>
void each_row(const Layout& layout, int count, int v, Copy copy) {
    for (size_t r = 0; r < layout.row_lanes.size(); r++) {
        const int lanes = layout.row_lanes[r];
        copy(size_t(layout.row_offset[r]) * count + size_t(v) * lanes, layout.row_offset[r], lanes);
    }
    copy(size_t(layout.code_bytes) * count + size_t(v) * kFactorBytes, layout.code_bytes,
         kFactorBytes);
}

} // namespace

VLCInvertedLists::VLCInvertedLists(size_t nlist, std::shared_ptr<const Model> model_in)
        : InvertedLists(nlist, model_in ? size_t(model_in->layout.code_size()) : 0),
          model(std::move(model_in)),
          lists_(nlist) {
    for (List& list : lists_) {
        list.blocks.resize(kSlack);
    }
}

size_t VLCInvertedLists::list_size(size_t list_no) const {
    return lists_.at(list_no).size;
}

void VLCInvertedLists::read_code(const List& list, size_t offset, uint8_t* code) const {
    const size_t first = offset / kBlock * kBlock;
    const uint8_t* block = list.blocks.data() + first * code_size;
    const int count = int(std::min<size_t>(kBlock, list.size - first));
    each_row(model->layout, count, int(offset - first), [&](size_t at, int to, int bytes) {
        std::memcpy(code + to, block + at, bytes);
    });
}

void VLCInvertedLists::write_code(List& list, size_t offset, const uint8_t* code) {
    const size_t first = offset / kBlock * kBlock;
    uint8_t* block = list.blocks.data() + first * code_size;
    const int count = int(std::min<size_t>(kBlock, list.size - first));
    each_row(model->layout, count, int(offset - first), [&](size_t at, int from, int bytes) {
        std::memcpy(block + at, code + from, bytes);
    });
}

/// Changes the number of vectors, laying out the last block anew for its new width.
void VLCInvertedLists::set_size(List& list, size_t size) {
    const size_t kept = std::min(list.size, size);
    const size_t first = kept / kBlock * kBlock; // blocks before this one stay as they are
    std::vector<uint8_t> codes((kept - first) * code_size);
    for (size_t i = first; i < kept; i++) {
        read_code(list, i, &codes[(i - first) * code_size]);
    }
    const size_t bytes = size * code_size + kSlack;
    if (bytes > list.blocks.capacity()) {
        // grow by an eighth: lists hold most of the memory, and adding comes in batches
        list.blocks.reserve(std::max(bytes, list.blocks.capacity() + list.blocks.capacity() / 8));
    }
    if (wide_ids_) {
        list.ids8.resize(size);
    } else {
        list.ids4.resize(size);
    }
    list.blocks.resize(bytes);
    list.size = size;
    for (size_t i = first; i < kept; i++) {
        write_code(list, i, &codes[(i - first) * code_size]);
    }
}

void VLCInvertedLists::set_id(List& list, size_t offset, idx_t id) {
    if (wide_ids_) {
        list.ids8[offset] = id;
    } else {
        list.ids4[offset] = uint32_t(id);
    }
}

void VLCInvertedLists::prepare_ids(size_t n, const idx_t* ids) {
    if (wide_ids_ || std::all_of(ids, ids + n, fits_4_bytes)) {
        return;
    }
    std::vector<std::vector<int64_t>> wide(nlist);
    for (size_t i = 0; i < nlist; i++) {
        wide[i].assign(lists_[i].ids4.begin(), lists_[i].ids4.end());
    }
    for (size_t i = 0; i < nlist; i++) {
        lists_[i].ids8.swap(wide[i]);
        std::vector<uint32_t>().swap(lists_[i].ids4);
    }
    wide_ids_ = true;
}

const uint8_t* VLCInvertedLists::get_codes(size_t list_no) const {
    const List& list = lists_.at(list_no);
    auto codes = std::make_unique<uint8_t[]>(list.size * code_size);
    for (size_t i = 0; i < list.size; i++) {
        read_code(list, i, &codes[i * code_size]);
    }
    return codes.release();
}

const int64_t* VLCInvertedLists::get_ids(size_t list_no) const {
    const List& list = lists_.at(list_no);
    auto ids = std::make_unique<idx_t[]>(list.size);
    for (size_t i = 0; i < list.size; i++) {
        ids[i] = id(list_no, i);
    }
    return ids.release();
}

void VLCInvertedLists::release_codes(size_t, const uint8_t* codes) const {
    delete[] codes;
}

void VLCInvertedLists::release_ids(size_t, const idx_t* ids) const {
    delete[] ids;
}

int64_t VLCInvertedLists::get_single_id(size_t list_no, size_t offset) const {
    if (offset >= list_size(list_no)) {
        fail("list %zu has %zu vectors, entry %zu asked for", list_no, list_size(list_no), offset);
    }
    return id(list_no, offset);
}

const uint8_t* VLCInvertedLists::get_single_code(size_t list_no, size_t offset) const {
    const List& list = lists_.at(list_no);
    if (offset >= list.size) {
        fail("list %zu has %zu vectors, entry %zu asked for", list_no, list.size, offset);
    }
    auto code = std::make_unique<uint8_t[]>(code_size);
    read_code(list, offset, code.get());
    return code.release();
}

size_t VLCInvertedLists::add_entries(size_t list_no, size_t n, const idx_t* ids,
                                     const uint8_t* codes) {
    if (!model) {
        fail("adding to a list before training");
    }
    List& list = lists_.at(list_no);
    const size_t first = list.size;
    if (n == 0) {
        return first;
    }
    prepare_ids(n, ids);
    set_size(list, first + n);
    for (size_t i = 0; i < n; i++) {
        set_id(list, first + i, ids[i]);
        write_code(list, first + i, codes + i * code_size);
    }
    return first;
}

void VLCInvertedLists::update_entries(size_t list_no, size_t offset, size_t n, const idx_t* ids,
                                      const uint8_t* codes) {
    List& list = lists_.at(list_no);
    if (offset > list.size || n > list.size - offset) {
        fail("list %zu has %zu vectors, update of %zu at %zu", list_no, list.size, n, offset);
    }
    prepare_ids(n, ids);
    for (size_t i = 0; i < n; i++) {
        set_id(list, offset + i, ids[i]);
        write_code(list, offset + i, codes + i * code_size);
    }
}

void VLCInvertedLists::resize(size_t list_no, size_t new_size) {
    if (!model) {
        fail("resizing a list before training");
    }
    set_size(lists_.at(list_no), new_size);
}

size_t VLCInvertedLists::remove_ids(size_t list_no, const faiss::IDSelector& sel) {
    List& list = lists_.at(list_no);
    std::vector<uint8_t> code(code_size);
    size_t kept = 0;
    for (size_t i = 0; i < list.size; i++) {
        const idx_t own = id(list_no, i);
        if (sel.is_member(own)) {
            continue;
        }
        if (kept != i) {
            read_code(list, i, code.data());
            write_code(list, kept, code.data());
            set_id(list, kept, own);
        }
        kept++;
    }
    const size_t removed = list.size - kept;
    if (removed > 0) {
        set_size(list, kept);
    }
    return removed;
}

void VLCInvertedLists::reset() {
    for (List& list : lists_) {
        list = List();
        list.blocks.resize(kSlack);
    }
    wide_ids_ = false;
}

void VLCInvertedLists::set_list(size_t list_no, size_t n, const uint8_t* blocks, const uint8_t* ids,
                                int id_bytes) {
    List& list = lists_.at(list_no);
    wide_ids_ = id_bytes == 8;
    list.size = n;
    list.blocks.assign(blocks, blocks + n * code_size);
    list.blocks.resize(n * code_size + kSlack);
    list.ids4.resize(wide_ids_ ? 0 : n);
    list.ids8.resize(wide_ids_ ? n : 0);
    if (n > 0) {
        std::memcpy(wide_ids_ ? (void*)list.ids8.data() : (void*)list.ids4.data(), ids, n * id_bytes);
    }
}

const uint8_t* VLCInvertedLists::raw_ids(size_t list_no) const {
    const List& list = lists_.at(list_no);
    return wide_ids_ ? reinterpret_cast<const uint8_t*>(list.ids8.data())
                     : reinterpret_cast<const uint8_t*>(list.ids4.data());
}

size_t VLCInvertedLists::memory() const {
    size_t bytes = lists_.capacity() * sizeof(List);
    for (const List& list : lists_) {
        bytes += list.blocks.capacity() + list.ids4.capacity() * 4 + list.ids8.capacity() * 8;
    }
    return bytes;
}

} // namespace faiss_vlc
