#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <faiss/impl/IDSelector.h>
#include <faiss/invlists/InvertedLists.h>

#include <faiss_vlc/lib/aligned.h>
#include <faiss_vlc/lib/paging.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/search/copies.h>

namespace faiss_vlc {

/// Inverted lists whose codes lie in the blocks that scanning wants (codec.h): 16 vectors a block,
/// row by row, the last block of a list as tight as its vectors. FAISS sees ordinary packed codes
/// of code_size bytes: get_codes() and add_entries() convert. Ids take 4 bytes while all of them
/// fit (0 to 2^32 - 1), 8 from then on.
///
/// Lists may be lent bytes of a mapped file, or their second codes alone. Whatever changes such a
/// list copies it first; the others stay in the file.
///
/// What get_codes(), get_ids() and get_single_code() return are copies. They are valid until they
/// are released, these lists change or are destroyed, whichever is first. Whoever asks for the same
/// between two changes gets the same copy, and the last release frees it. Those that nobody
/// releases, as ArrayInvertedLists' need not be, are used again and freed with these lists: all of
/// them keep less than five times what the codes and ids took when they were most, 8 bytes an id.
///
/// Thread-safety: any number of readers; writers to different lists may run side by side as long as
/// no id needs 8 bytes for the first time (prepare_ids).
struct VLCInvertedLists : faiss::InvertedLists {
    using idx_t = int64_t;

    /// The model may be null until training is done; nothing can be added before.
    VLCInvertedLists(size_t nlist, std::shared_ptr<const Model> model);
    ~VLCInvertedLists() override = default;

    std::shared_ptr<const Model> model;
    /// Of the training: they travel with the lists, since FAISS's container takes only these.
    VLCParameters parameters;
    AddedRows added; ///< as parameters; not lists_' affair but for reset()
    bool warned_of_outside = false;

    size_t list_size(size_t list_no) const override { return model ? lists_.at(list_no).size : 0; }
    const uint8_t* get_codes(size_t list_no) const override; ///< packed, list_size * code_size
    const idx_t* get_ids(size_t list_no) const override;     ///< list_size of them
    void release_codes(size_t list_no, const uint8_t* codes) const override;
    void release_ids(size_t list_no, const idx_t* ids) const override;
    idx_t get_single_id(size_t list_no, size_t offset) const override;
    /// code_size bytes, for release_codes().
    const uint8_t* get_single_code(size_t list_no, size_t offset) const override;
    /// Writes an entry's packed code, code_size bytes.
    void copy_code(size_t list_no, size_t offset, uint8_t* code) const;

    size_t add_entries(size_t list_no, size_t n, const idx_t* ids, const uint8_t* codes) override;
    void update_entries(size_t list_no, size_t offset, size_t n, const idx_t* ids,
                        const uint8_t* codes) override;
    /// add_entries() for the rows of a batch that a list gets: n numbers of ids and codes.
    size_t add_rows(size_t list_no, size_t n, const uint32_t* rows, const idx_t* ids,
                    const uint8_t* codes);
    void resize(size_t list_no, size_t new_size) override;
    void reset() override;

    /// Blocks of a list, and ids without a copy. Blocks may be read 64 bytes beyond their end;
    /// an empty list may have none.
    const uint8_t* blocks(size_t list_no) const {
        const List& list = lists_[list_no];
        return list.lent_blocks ? list.lent_blocks : list.blocks.data();
    }
    /// A vector's second code; 15 bytes behind it are readable.
    const uint8_t* second(size_t list_no, size_t offset) const {
        const List& list = lists_[list_no];
        return (list.lent_seconds ? list.lent_seconds : list.seconds.data()) +
               offset * second_size_;
    }
    /// Bytes of a packed first code, which lies in a block, and of a second one; these lie one
    /// vector after the other. 0: there is one tier.
    size_t first_size() const { return first_size_; }
    size_t second_size() const { return second_size_; }
    /// Writes an entry's packed first code.
    void copy_first(size_t list_no, size_t offset, uint8_t* code) const {
        read_first(lists_[list_no], offset, code);
    }
    idx_t id(size_t list_no, size_t offset) const {
        const uint8_t* ids = raw_ids(list_no);
        return wide_ids_ ? reinterpret_cast<const int64_t*>(ids)[offset]
                         : idx_t(reinterpret_cast<const uint32_t*>(ids)[offset]);
    }
    bool wide_ids() const { return wide_ids_; }
    /// Whether all ids are from 0 to n - 1.
    bool ids_below(size_t n) const;
    /// Fetches into the cache where a list's size and blocks are noted.
    void prefetch(size_t list_no) const {
        const char* list = reinterpret_cast<const char*>(&lists_[list_no]);
        __builtin_prefetch(list);
        __builtin_prefetch(list + sizeof(List) - 1);
    }

    /// Removes a list's selected entries; the others keep their order. Returns how many went.
    size_t remove_ids(size_t list_no, const faiss::IDSelector& sel);
    /// Gives each entry another id, number[id], and removes those whose number is negative; the
    /// others keep their order. Numbers fit wherever the ids did. All ids are below number.size().
    /// Returns how many went. Throws before it changes anything.
    size_t renumber(const std::vector<idx_t>& number);

    /// Widens all lists to 8-byte ids if one of these does not fit in 4 bytes.
    void prepare_ids(size_t n, const idx_t* ids);

    /// While it lives, entries may be added; what was added goes away with it again unless keep()
    /// was called: for additions to many lists of which one may fail.
    class Addition {
    public:
        explicit Addition(VLCInvertedLists& lists);
        ~Addition();
        Addition(const Addition&) = delete;
        Addition& operator=(const Addition&) = delete;
        void keep() { kept_ = true; }

    private:
        VLCInvertedLists& lists_;
        std::vector<size_t> sizes_;
        bool wide_ids_;
        bool kept_ = false;
    };

    /// Bytes of a list's blocks, and of an id.
    size_t list_bytes(size_t list_no) const {
        return VLCInvertedLists::list_size(list_no) * first_size_;
    }
    int id_bytes() const { return wide_ids_ ? 8 : 4; }

    /// All lists as stored, one after the other: blocks, second codes and ids (4 or 8 bytes each).
    struct Stored {
        const uint32_t* sizes; ///< of each list
        const uint8_t* blocks;
        const uint8_t* seconds; ///< null: there are none, or they are lent
        const uint8_t* ids;
        int id_bytes;
    };
    /// For loading: replaces all lists by copies in one piece of memory (OnePiece). A list that
    /// changes leaves it; what it had there is freed with the last list that is still in it.
    void set_lists(const Stored& stored);
    /// Replaces a list in place: `owner` keeps the bytes, which are aligned to an id's size, and 64
    /// readable ones behind the blocks.
    void lend_list(size_t list_no, size_t n, const uint8_t* blocks, const uint8_t* seconds,
                   const uint8_t* ids, int id_bytes);
    /// For lists without any: their second codes.
    void lend_seconds(size_t list_no, const uint8_t* seconds);
    void hold_lent(std::shared_ptr<const void> owner) { owner_ = std::move(owner); }
    /// Whether a list, or its second codes, still lie in the file that they were lent from.
    bool is_lent(size_t list_no) const { return is_in_file(lists_.at(list_no).lent_blocks); }
    bool is_second_lent(size_t list_no) const {
        return is_in_file(lists_.at(list_no).lent_seconds);
    }
    /// For requests of blocks and of second codes; null where none were lent.
    Residence* block_pages() const { return lends_blocks_ ? &block_pages_ : nullptr; }
    Residence* second_pages() const { return lends_seconds_ ? &second_pages_ : nullptr; }
    /// Before all second codes of a list are read.
    void will_need_seconds(size_t list_no) const { will_need_seconds(lists_.at(list_no)); }
    /// A list's ids as stored.
    const uint8_t* raw_ids(size_t list_no) const {
        const List& list = lists_[list_no];
        if (list.lent_ids) {
            return list.lent_ids;
        }
        return wide_ids_ ? reinterpret_cast<const uint8_t*>(list.ids8.data())
                         : reinterpret_cast<const uint8_t*>(list.ids4.data());
    }

    /// Another number after every change; lists with the same number have the same content.
    uint64_t stamp() const { return __atomic_load_n(&stamp_, __ATOMIC_RELAXED); }

    /// Memory held for codes and ids, in bytes, copies that are out included; those that lie in a
    /// file are not counted.
    size_t memory() const;

private:
    static constexpr size_t kSlack = 64; ///< kernels read whole registers

    struct List {
        size_t size = 0;
        AlignedBytes blocks;  ///< size * first_size_ + kSlack bytes; none at first
        AlignedBytes seconds; ///< the same of second codes, if there are any
        std::vector<uint32_t> ids4;
        std::vector<int64_t> ids8;
        const uint8_t* lent_blocks = nullptr;  ///< in place of `blocks`
        const uint8_t* lent_seconds = nullptr; ///< in place of `seconds`
        const uint8_t* lent_ids = nullptr;     ///< in place of `ids4` or `ids8`
    };
    std::vector<List> lists_;               ///< none before training, which may announce a million
    std::shared_ptr<const void> owner_;     ///< of what was lent by a file
    std::shared_ptr<const OnePiece> piece_; ///< lends the lists that were loaded; copies share it
    uintptr_t piece_begin_ = 0, piece_end_ = 0; ///< stay when it is freed
    size_t in_piece_ = 0;                       ///< pointers into it
    bool wide_ids_ = false;
    size_t first_size_ = 0, second_size_ = 0;
    uint64_t stamp_ = 0;
    bool lends_blocks_ = false, lends_seconds_ = false; ///< some lists, at some time
    mutable Residence block_pages_, second_pages_;
    mutable Copies codes_out_, ids_out_, single_codes_out_;

    bool is_in_piece(const uint8_t* lent) const {
        const auto at = reinterpret_cast<uintptr_t>(lent);
        return at >= piece_begin_ && at < piece_end_;
    }
    bool is_in_file(const uint8_t* lent) const { return lent && !is_in_piece(lent); }
    void touch();
    void let_go(const uint8_t*& lent);
    void own_ids(List& list);
    void read_code(const List& list, size_t offset, uint8_t* code) const;
    void read_first(const List& list, size_t offset, uint8_t* code) const;
    void will_need_seconds(const List& list) const;
    void detach(List& list);
    void write_code(List& list, size_t offset, const uint8_t* code);
    void move_block(uint8_t* block, int before, int after, int kept) const;
    void set_size(List& list, size_t size);
    void narrow_ids();
    void set_id(List& list, size_t offset, idx_t id);
};

} // namespace faiss_vlc
