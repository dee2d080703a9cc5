#include <faiss_vlc/search/lists.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

bool fits_4_bytes(int64_t id) {
    return id >= 0 && id <= std::numeric_limits<uint32_t>::max();
}

/// Bytes [0, code_size) of vector v in a block of `count` vectors, moved by copy(block, code,
/// lanes).
template <class Copy>
void each_row(const Layout& layout, int count, int v, Copy copy) {
    const int bytes = layout.code_bytes;
    if (layout.has_words()) {
        for (int at = 0; at < bytes; at++) {
            copy(size_t(at) * count + size_t(v), at, std::integral_constant<int, 1>());
        }
        for (int i = 0; i < layout.factor_bytes; i++) {
            copy(size_t(bytes) * count + size_t(v) * layout.factor_bytes + i, bytes + i,
                 std::integral_constant<int, 1>());
        }
        return;
    }
    // rows of 4 lanes, then of 2 and 1, each at most once; constant sizes make a copy one move
    int at = 0;
    for (; at + 4 <= bytes; at += 4) {
        copy(size_t(at) * count + size_t(v) * 4, at, std::integral_constant<int, 4>());
    }
    if (at + 2 <= bytes) {
        copy(size_t(at) * count + size_t(v) * 2, at, std::integral_constant<int, 2>());
        at += 2;
    }
    if (at < bytes) {
        copy(size_t(at) * count + size_t(v), at, std::integral_constant<int, 1>());
    }
    copy(size_t(bytes) * count + size_t(v) * kFactorBytes, bytes,
         std::integral_constant<int, kFactorBytes>());
}

/// Not by doubling: lists hold most of the memory, and adding comes in batches.
template <class Vector>
void reserve_tightly(Vector& vector, size_t size) {
    if (size > vector.capacity()) {
        vector.reserve(std::max(size, vector.capacity() + vector.capacity() / 16));
    }
}

} // namespace

VLCInvertedLists::VLCInvertedLists(size_t nlist, std::shared_ptr<const Model> model_in)
    : InvertedLists(nlist, model_in ? size_t(model_in->code_size()) : 0),
      model(std::move(model_in)), lists_(model ? nlist : 0),
      first_size_(model ? size_t(model->layout.code_size()) : 0),
      second_size_(code_size - first_size_) {}

void VLCInvertedLists::read_first(const List& list, size_t offset, uint8_t* code) const {
    const size_t first = offset / kBlock * kBlock;
    const uint8_t* block =
            (list.lent_blocks ? list.lent_blocks : list.blocks.data()) + first * first_size_;
    const int count = int(std::min<size_t>(kBlock, list.size - first));
    each_row(model->layout, count, int(offset - first),
             [&](size_t at, int to, auto bytes) { std::memcpy(code + to, block + at, bytes); });
}

void VLCInvertedLists::read_code(const List& list, size_t offset, uint8_t* code) const {
    read_first(list, offset, code);
    if (second_size_ > 0) {
        const uint8_t* seconds = list.lent_seconds ? list.lent_seconds : list.seconds.data();
        std::memcpy(code + first_size_, seconds + offset * second_size_, second_size_);
    }
}

void VLCInvertedLists::write_code(List& list, size_t offset, const uint8_t* code) {
    const size_t first = offset / kBlock * kBlock;
    uint8_t* block = list.blocks.data() + first * first_size_;
    const int count = int(std::min<size_t>(kBlock, list.size - first));
    each_row(model->layout, count, int(offset - first),
             [&](size_t at, int from, auto bytes) { std::memcpy(block + at, code + from, bytes); });
    if (second_size_ > 0) {
        std::memcpy(list.seconds.data() + offset * second_size_, code + first_size_, second_size_);
    }
}

/// For a change. Writers to different lists may come here side by side.
void VLCInvertedLists::touch() {
    static std::atomic<uint64_t> last{0};
    __atomic_store_n(&stamp_, ++last, __ATOMIC_RELAXED);
}

/// Of what was lent and has been copied.
void VLCInvertedLists::let_go(const uint8_t*& lent) {
    if (is_in_piece(lent) && __atomic_sub_fetch(&in_piece_, 1, __ATOMIC_ACQ_REL) == 0) {
        piece_.reset(); // whoever let go before has no more use for it
    }
    lent = nullptr;
}

/// Before a change of ids alone: copies those that were lent.
void VLCInvertedLists::own_ids(List& list) {
    touch();
    if (!list.lent_ids) {
        return;
    }
    if (wide_ids_) {
        const auto* ids = reinterpret_cast<const int64_t*>(list.lent_ids);
        list.ids8.assign(ids, ids + list.size);
    } else {
        const auto* ids = reinterpret_cast<const uint32_t*>(list.lent_ids);
        list.ids4.assign(ids, ids + list.size);
    }
    let_go(list.lent_ids);
}

/// Before a change: copies what was lent.
void VLCInvertedLists::detach(List& list) {
    own_ids(list);
    const auto own = [&](const uint8_t*& lent, size_t size, AlignedBytes& bytes) {
        if (lent) {
            AlignedBytes copy(list.size * size + kSlack);
            std::memcpy(copy.data(), lent, list.size * size);
            bytes.swap(copy);
            let_go(lent);
        }
    };
    will_need_seconds(list);
    own(list.lent_blocks, first_size_, list.blocks);
    own(list.lent_seconds, second_size_, list.seconds);
}

void VLCInvertedLists::will_need_seconds(const List& list) const {
    if (is_in_file(list.lent_seconds)) {
        will_need(list.lent_seconds, list.size * second_size_);
    }
}

/// Lays the vectors [0, kept) of a block of `before` vectors out for one of `after`, in place: what
/// moves down moves front to back, what moves up back to front, so nothing is overwritten before it
/// moved.
void VLCInvertedLists::move_block(uint8_t* block, int before, int after, int kept) const {
    const Layout& layout = model->layout;
    const int rows = int(layout.row_lanes.size());
    const auto move_row = [&](int row) {
        const size_t at = row < rows ? layout.row_offset[row] : layout.code_bytes;
        const size_t bytes =
                size_t(row < rows ? layout.row_lanes[row] : layout.factor_bytes) * kept;
        std::memmove(block + at * after, block + at * before, bytes);
    };
    if (after < before) {
        for (int row = 0; row <= rows; row++) {
            move_row(row);
        }
    } else if (after > before) {
        for (int row = rows; row >= 0; row--) {
            move_row(row);
        }
    }
}

/// Changes the number of vectors, laying out the last block anew for its new width. Throws before
/// it changes anything; a list of our own shrinks without throwing.
void VLCInvertedLists::set_size(List& list, size_t size) {
    if (size > UINT32_MAX) { // offsets take 32 bits
        fail("a list takes at most %u vectors, %zu were to be in one", UINT32_MAX, size);
    }
    detach(list);
    const size_t kept = std::min(list.size, size);
    const size_t first = kept / kBlock * kBlock; // blocks before this one stay as they are
    const int before = int(std::min<size_t>(kBlock, list.size - first));
    const int after = int(std::min<size_t>(kBlock, size - first));
    const size_t bytes = size * first_size_ + kSlack;
    const size_t second_bytes = second_size_ > 0 ? size * second_size_ + kSlack : 0;
    if (size < list.size) {
        move_block(list.blocks.data() + first * first_size_, before, after, int(kept - first));
    } else {
        reserve_tightly(list.blocks, bytes);
        reserve_tightly(list.seconds, second_bytes);
    }
    if (wide_ids_) {
        reserve_tightly(list.ids8, size);
        list.ids8.resize(size);
    } else {
        reserve_tightly(list.ids4, size);
        list.ids4.resize(size);
    }
    if (size > list.size) {
        list.blocks.resize(bytes);
        move_block(list.blocks.data() + first * first_size_, before, after, int(kept - first));
    }
    list.blocks.resize(bytes);
    list.seconds.resize(second_bytes);
    list.size = size;
}

VLCInvertedLists::Addition::Addition(VLCInvertedLists& lists)
    : lists_(lists), sizes_(lists.nlist), wide_ids_(lists.wide_ids_) {
    for (size_t j = 0; j < lists.nlist; j++) {
        sizes_[j] = lists.lists_[j].size;
    }
}

VLCInvertedLists::Addition::~Addition() {
    if (kept_) {
        return;
    }
    for (size_t j = 0; j < lists_.nlist; j++) {
        List& list = lists_.lists_[j];
        if (list.size > sizes_[j]) { // so it is in memory of its own
            lists_.set_size(list, sizes_[j]);
        }
    }
    if (!wide_ids_ && lists_.wide_ids_) {
        try {
            lists_.narrow_ids();
        } catch (const std::bad_alloc&) {
            // they stay wide, which changes nothing but their size
        }
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
        const auto* narrow = reinterpret_cast<const uint32_t*>(raw_ids(i));
        wide[i].assign(narrow, narrow + lists_[i].size);
    }
    for (size_t i = 0; i < nlist; i++) {
        lists_[i].ids8.swap(wide[i]);
        std::vector<uint32_t>().swap(lists_[i].ids4);
        let_go(lists_[i].lent_ids);
    }
    wide_ids_ = true;
    touch();
}

/// The way back: all ids fit in 4 bytes.
void VLCInvertedLists::narrow_ids() {
    std::vector<std::vector<uint32_t>> narrow(nlist);
    for (size_t i = 0; i < nlist; i++) {
        const auto* wide = reinterpret_cast<const int64_t*>(raw_ids(i));
        narrow[i].assign(wide, wide + lists_[i].size);
    }
    for (size_t i = 0; i < nlist; i++) {
        lists_[i].ids4.swap(narrow[i]);
        std::vector<int64_t>().swap(lists_[i].ids8);
        let_go(lists_[i].lent_ids);
    }
    wide_ids_ = false;
    touch();
}

bool VLCInvertedLists::ids_below(size_t n) const {
    for (size_t j = 0; j < lists_.size(); j++) {
        for (size_t i = 0; i < lists_[j].size; i++) {
            if (id(j, i) < 0 || size_t(id(j, i)) >= n) {
                return false;
            }
        }
    }
    return true;
}

const uint8_t* VLCInvertedLists::get_codes(size_t list_no) const {
    const size_t size = list_size(list_no);
    const auto fill = [&](uint8_t* codes) {
        will_need_seconds(lists_[list_no]);
        for (size_t i = 0; i < size; i++) {
            read_code(lists_[list_no], i, codes + i * code_size);
        }
    };
    return static_cast<const uint8_t*>(codes_out_.lend(list_no, stamp(), size * code_size, fill));
}

const int64_t* VLCInvertedLists::get_ids(size_t list_no) const {
    const size_t size = list_size(list_no);
    const auto fill = [&](uint8_t* bytes) {
        auto* ids = reinterpret_cast<idx_t*>(bytes);
        for (size_t i = 0; i < size; i++) {
            ids[i] = id(list_no, i);
        }
    };
    return static_cast<const idx_t*>(ids_out_.lend(list_no, stamp(), size * sizeof(idx_t), fill));
}

void VLCInvertedLists::release_codes(size_t, const uint8_t* codes) const {
    if (!codes_out_.release(codes)) {
        single_codes_out_.release(codes);
    }
}

void VLCInvertedLists::release_ids(size_t, const idx_t* ids) const {
    ids_out_.release(ids);
}

int64_t VLCInvertedLists::get_single_id(size_t list_no, size_t offset) const {
    if (offset >= list_size(list_no)) {
        fail("list %zu has %zu vectors, entry %zu asked for", list_no, list_size(list_no), offset);
    }
    return id(list_no, offset);
}

void VLCInvertedLists::copy_code(size_t list_no, size_t offset, uint8_t* code) const {
    const List& list = lists_.at(list_no);
    if (offset >= list.size) {
        fail("list %zu has %zu vectors, entry %zu asked for", list_no, list.size, offset);
    }
    read_code(list, offset, code);
}

const uint8_t* VLCInvertedLists::get_single_code(size_t list_no, size_t offset) const {
    if (offset >= lists_.at(list_no).size) {
        fail("list %zu has %zu vectors, entry %zu asked for", list_no, lists_[list_no].size,
             offset);
    }
    const auto fill = [&](uint8_t* code) { read_code(lists_[list_no], offset, code); };
    return static_cast<const uint8_t*>(
            single_codes_out_.lend(list_no << 32 | offset, stamp(), code_size, fill));
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
    set_size(list, checked_add(first, n, "size of a list"));
    for (size_t i = 0; i < n; i++) {
        set_id(list, first + i, ids[i]);
        write_code(list, first + i, codes + i * code_size);
    }
    return first;
}

size_t VLCInvertedLists::add_rows(size_t list_no, size_t n, const uint32_t* rows, const idx_t* ids,
                                  const uint8_t* codes) {
    List& list = lists_.at(list_no);
    const size_t first = list.size;
    set_size(list, checked_add(first, n, "size of a list"));
    for (size_t i = 0; i < n; i++) {
        set_id(list, first + i, ids[rows[i]]);
        write_code(list, first + i, codes + rows[i] * code_size);
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
    detach(list);
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
            detach(list);
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

size_t VLCInvertedLists::renumber(const std::vector<idx_t>& number) {
    std::vector<uint8_t> code(code_size);
    for (size_t j = 0; j < lists_.size(); j++) {
        bool shrinks = false;
        for (size_t i = 0; i < lists_[j].size; i++) {
            shrinks = shrinks || number[size_t(id(j, i))] < 0;
        }
        if (shrinks) {
            detach(lists_[j]);
        } else {
            own_ids(lists_[j]);
        }
    }
    size_t removed = 0; // nothing throws from here on
    for (size_t j = 0; j < lists_.size(); j++) {
        List& list = lists_[j];
        size_t kept = 0;
        for (size_t i = 0; i < list.size; i++) {
            const idx_t fresh = number[size_t(id(j, i))];
            if (fresh < 0) {
                continue;
            }
            if (kept != i) {
                read_code(list, i, code.data());
                write_code(list, kept, code.data());
            }
            set_id(list, kept++, fresh);
        }
        if (kept < list.size) {
            removed += list.size - kept;
            set_size(list, kept);
        }
    }
    return removed;
}

void VLCInvertedLists::reset() {
    touch();
    for (List& list : lists_) {
        list = List();
    }
    wide_ids_ = false;
    added = AddedRows();
    warned_of_outside = false;
    owner_.reset();
    piece_.reset();
    piece_begin_ = piece_end_ = in_piece_ = 0;
    lends_blocks_ = lends_seconds_ = false;
}

void VLCInvertedLists::set_lists(const Stored& stored) {
    constexpr size_t kCacheLine = 64;
    const auto lines = [](size_t bytes) {
        return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
    };
    size_t bytes = 0;
    for (size_t j = 0; j < nlist; j++) {
        const size_t n = stored.sizes[j];
        if (n == 0) {
            continue; // lies nowhere
        }
        bytes += lines(n * first_size_ + kSlack) + n * size_t(stored.id_bytes);
        bytes += stored.seconds ? n * second_size_ + kSlack : 0;
    }
    auto piece = std::make_shared<OnePiece>(bytes);
    reset();
    wide_ids_ = stored.id_bytes == 8;
    uint8_t* to = piece->data();
    const auto put = [&](const uint8_t*& from, size_t some, size_t taken) {
        std::memcpy(to, from, some);
        in_piece_++;
        from += some;
        to += taken;
        return static_cast<const uint8_t*>(to - taken);
    };
    const auto put_all = [&](const uint8_t* List::*lent, const uint8_t* from, size_t size,
                             auto taken) {
        for (List& list : lists_) {
            if (list.size > 0) {
                list.*lent = put(from, list.size * size, taken(list.size * size));
            }
        }
    };
    for (size_t j = 0; j < nlist; j++) {
        lists_[j].size = stored.sizes[j];
    }
    put_all(&List::lent_blocks, stored.blocks, first_size_,
            [&](size_t some) { return lines(some + kSlack); });
    put_all(&List::lent_ids, stored.ids, size_t(stored.id_bytes), [](size_t some) { return some; });
    if (stored.seconds) {
        put_all(&List::lent_seconds, stored.seconds, second_size_,
                [](size_t some) { return some + kSlack; });
    }
    piece_begin_ = reinterpret_cast<uintptr_t>(piece->data());
    piece_end_ = piece_begin_ + bytes;
    piece_ = std::move(piece);
}

void VLCInvertedLists::lend_list(size_t list_no, size_t n, const uint8_t* blocks,
                                 const uint8_t* seconds, const uint8_t* ids, int id_bytes) {
    List& list = lists_.at(list_no);
    touch();
    wide_ids_ = id_bytes == 8;
    list = List();
    list.size = n;
    list.lent_blocks = blocks;
    list.lent_seconds = seconds;
    list.lent_ids = ids;
    lends_blocks_ = true;
    lends_seconds_ = lends_seconds_ || seconds;
}

void VLCInvertedLists::lend_seconds(size_t list_no, const uint8_t* seconds) {
    lists_.at(list_no).lent_seconds = seconds;
    lends_seconds_ = true;
}

size_t VLCInvertedLists::memory() const {
    size_t bytes = lists_.capacity() * sizeof(List) + codes_out_.bytes() + ids_out_.bytes() +
                   single_codes_out_.bytes() + (piece_ ? piece_->size() : 0);
    for (const List& list : lists_) {
        bytes += list.blocks.capacity() + list.seconds.capacity() + list.ids4.capacity() * 4 +
                 list.ids8.capacity() * 8;
    }
    return bytes;
}

} // namespace faiss_vlc
