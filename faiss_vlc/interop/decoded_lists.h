#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/search/lists.h>

namespace faiss_vlc {

/// What stock FAISS gets to see of an IndexVLC that it has read: its lists with their codes decoded
/// to float vectors (code_size = 4 d). Searching them is a search by plain decoding. What is
/// written is encoded into the lists below; a vector that FAISS moves within them keeps its code,
/// but those that it merges from elsewhere are coded anew from their decoded form. What is handed
/// out is valid as long as VLCInvertedLists', and bounded alike.
///
/// Thread-safety: as VLCInvertedLists; FAISS writes to different lists from several threads.
struct DecodedLists : faiss::InvertedLists {
    using idx_t = int64_t;

    explicit DecodedLists(std::unique_ptr<IndexVLC> whole);

    /// The index as it was saved, and ntotal kept right; null after it was taken out.
    std::unique_ptr<IndexVLC> index;

    size_t list_size(size_t list_no) const override;
    const uint8_t* get_codes(size_t list_no) const override;
    /// FAISS removes vectors while it walks these: they follow update_entries() until released.
    const idx_t* get_ids(size_t list_no) const override;
    void release_codes(size_t list_no, const uint8_t* codes) const override;
    void release_ids(size_t list_no, const idx_t* ids) const override;
    idx_t get_single_id(size_t list_no, size_t offset) const override;
    /// Valid until the thread's 16th call from here; need not be released.
    const uint8_t* get_single_code(size_t list_no, size_t offset) const override;

    size_t add_entries(size_t list_no, size_t n, const idx_t* ids, const uint8_t* codes) override;
    void update_entries(size_t list_no, size_t offset, size_t n, const idx_t* ids,
                        const uint8_t* codes) override;
    void resize(size_t list_no, size_t new_size) override;
    void reset() override;

private:
    mutable std::mutex mutex_; ///< of writing: ids may get wider, in all lists
    mutable Copies vectors_out_, ids_out_;

    std::vector<uint8_t> encoded(size_t list_no, size_t n, const uint8_t* codes) const;
    void update(size_t list_no, size_t offset, size_t n, const idx_t* ids, const uint8_t* packed);
};

} // namespace faiss_vlc
