#pragma once

#include <memory>

#include <faiss_vlc/IndexVLC.h>

namespace faiss_vlc {

/// What stock FAISS gets to see of an IndexVLC that it has read: the lists with their codes decoded to
/// float vectors (code_size = 4 d), read-only. Searching them is a search by plain decoding.
struct DecodedLists : faiss::InvertedLists {
    using idx_t = int64_t;

    explicit DecodedLists(std::unique_ptr<IndexVLC> whole);

    /// The index as it was saved; null after it was taken out.
    std::unique_ptr<IndexVLC> index;

    size_t list_size(size_t list_no) const override;
    const uint8_t* get_codes(size_t list_no) const override;
    const idx_t* get_ids(size_t list_no) const override;
    void release_codes(size_t list_no, const uint8_t* codes) const override;
    void release_ids(size_t list_no, const idx_t* ids) const override;
    idx_t get_single_id(size_t list_no, size_t offset) const override;
    const uint8_t* get_single_code(size_t list_no, size_t offset) const override;

    // Writing throws: upgrade() first.
    size_t add_entries(size_t list_no, size_t n, const idx_t* ids, const uint8_t* codes) override;
    void update_entries(size_t list_no, size_t offset, size_t n, const idx_t* ids,
                        const uint8_t* codes) override;
    void resize(size_t list_no, size_t new_size) override;
    void reset() override;
};

} // namespace faiss_vlc
