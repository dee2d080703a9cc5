#include <faiss_vlc/decoded_lists.h>

#include <faiss_vlc/error.h>

namespace faiss_vlc {

namespace {

[[noreturn]] void read_only() {
    fail("the lists of an IndexVLC that stock FAISS has read are read-only: read it with "
         "faiss_vlc::read_index, or upgrade() it");
}

} // namespace

DecodedLists::DecodedLists(std::unique_ptr<IndexVLC> whole)
        : InvertedLists(whole->nlist, size_t(whole->d) * sizeof(float)), index(std::move(whole)) {}

size_t DecodedLists::list_size(size_t list_no) const {
    return index->lists().list_size(list_no);
}

const uint8_t* DecodedLists::get_codes(size_t list_no) const {
    const VLCInvertedLists& lists = index->lists();
    const size_t n = lists.list_size(list_no);
    ScopedCodes packed(&lists, list_no);
    auto vectors = std::make_unique<float[]>(n * index->d);
    for (size_t i = 0; i < n; i++) {
        const uint8_t* code = packed.get() + i * lists.code_size;
        index->model->decode(int(list_no), code, &vectors[i * index->d]);
    }
    return reinterpret_cast<const uint8_t*>(vectors.release());
}

void DecodedLists::release_codes(size_t, const uint8_t* codes) const {
    delete[] reinterpret_cast<const float*>(codes);
}

const int64_t* DecodedLists::get_ids(size_t list_no) const {
    return index->lists().get_ids(list_no);
}

void DecodedLists::release_ids(size_t list_no, const idx_t* ids) const {
    index->lists().release_ids(list_no, ids);
}

int64_t DecodedLists::get_single_id(size_t list_no, size_t offset) const {
    return index->lists().get_single_id(list_no, offset);
}

const uint8_t* DecodedLists::get_single_code(size_t list_no, size_t offset) const {
    auto vector = std::make_unique<float[]>(index->d);
    index->reconstruct_from_offset(int64_t(list_no), int64_t(offset), vector.get());
    return reinterpret_cast<const uint8_t*>(vector.release());
}

size_t DecodedLists::add_entries(size_t, size_t, const idx_t*, const uint8_t*) {
    read_only();
}

void DecodedLists::update_entries(size_t, size_t, size_t, const idx_t*, const uint8_t*) {
    read_only();
}

void DecodedLists::resize(size_t, size_t) {
    read_only();
}

void DecodedLists::reset() {
    read_only();
}

} // namespace faiss_vlc
