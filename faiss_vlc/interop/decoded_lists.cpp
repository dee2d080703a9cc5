#include <faiss_vlc/interop/decoded_lists.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

namespace {

// Vectors handed out start behind a head of one cache line, whose first float says who frees them.
constexpr size_t kHead = 16;
constexpr float kReleased = 1; ///< release_codes()
constexpr float kKept = 2;     ///< the ring below

std::unique_ptr<float[]> vectors_of(size_t floats, float owner) {
    auto buffer = std::make_unique<float[]>(kHead + floats);
    buffer[0] = owner;
    return buffer;
}

/// A vector handed out alone, and where it came from.
struct Single {
    const DecodedLists* lists = nullptr;
    size_t list_no = 0, offset = 0;
    std::unique_ptr<float[]> buffer;

    const uint8_t* vector() const { return reinterpret_cast<const uint8_t*>(&buffer[kHead]); }
};

/// A thread's latest ones: IndexIVFFlat never releases those that it reconstructs from.
struct Ring {
    std::array<Single, 16> singles;
    size_t next = 0;
};
thread_local Ring ring;

} // namespace

DecodedLists::DecodedLists(std::unique_ptr<IndexVLC> whole)
    : InvertedLists(whole->nlist, size_t(whole->d) * sizeof(float)), index(std::move(whole)) {
    index->set_direct_map_type(faiss::DirectMap::NoMap); // the outer index keeps one
}

size_t DecodedLists::list_size(size_t list_no) const {
    return index->lists().list_size(list_no);
}

const uint8_t* DecodedLists::get_codes(size_t list_no) const {
    const VLCInvertedLists& lists = index->lists();
    const size_t n = lists.list_size(list_no);
    const ScopedCodes packed(&lists, list_no);
    auto vectors = vectors_of(n * index->d, kReleased);
    for (size_t i = 0; i < n; i++) {
        const uint8_t* code = packed.codes + i * lists.code_size;
        index->model->decode(int(list_no), code, &vectors[kHead + i * index->d]);
    }
    return reinterpret_cast<const uint8_t*>(vectors.release() + kHead);
}

void DecodedLists::release_codes(size_t, const uint8_t* codes) const {
    const float* buffer = codes ? reinterpret_cast<const float*>(codes) - kHead : nullptr;
    if (buffer && buffer[0] == kReleased) {
        delete[] buffer;
    }
}

const int64_t* DecodedLists::get_ids(size_t list_no) const {
    const VLCInvertedLists& lists = index->lists();
    const size_t n = lists.list_size(list_no);
    auto ids = std::make_unique<idx_t[]>(n);
    for (size_t i = 0; i < n; i++) {
        ids[i] = lists.id(list_no, i);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    lent_.push_back({list_no, n, ids.get()});
    return ids.release();
}

void DecodedLists::release_ids(size_t, const idx_t* ids) const {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto at = std::find_if(lent_.begin(), lent_.end(),
                                     [&](const Lent& lent) { return lent.ids == ids; });
        if (at != lent_.end()) {
            *at = lent_.back();
            lent_.pop_back();
        }
    }
    delete[] ids;
}

int64_t DecodedLists::get_single_id(size_t list_no, size_t offset) const {
    return index->lists().get_single_id(list_no, offset);
}

const uint8_t* DecodedLists::get_single_code(size_t list_no, size_t offset) const {
    auto vector = vectors_of(size_t(index->d), kKept);
    index->reconstruct_from_offset(int64_t(list_no), int64_t(offset), &vector[kHead]);
    Single& single = ring.singles[ring.next++ % ring.singles.size()];
    single = {this, list_no, offset, std::move(vector)};
    return single.vector();
}

std::vector<uint8_t> DecodedLists::encoded(size_t list_no, size_t n, const uint8_t* codes) const {
    if (!index->model) {
        fail("writing to an IndexVLC that stock FAISS has read untrained: upgrade() it first");
    }
    std::vector<uint8_t> packed(checked_mul(n, index->code_size, "size of codes"));
    std::vector<float> vector(index->d);
    Model::Coder coder(*index->model);
    for (size_t i = 0; i < n; i++) {
        std::memcpy(vector.data(), codes + i * code_size, code_size);
        coder.encode(vector.data(), int(list_no), &packed[i * index->code_size]);
    }
    return packed;
}

size_t DecodedLists::add_entries(size_t list_no, size_t n, const idx_t* ids, const uint8_t* codes) {
    const std::vector<uint8_t> packed = encoded(list_no, n, codes);
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t at = index->lists().add_entries(list_no, n, ids, packed.data());
    index->ntotal += idx_t(n);
    return at;
}

void DecodedLists::update(size_t list_no, size_t offset, size_t n, const idx_t* ids,
                          const uint8_t* packed) {
    const std::lock_guard<std::mutex> lock(mutex_);
    index->lists().update_entries(list_no, offset, n, ids, packed);
    for (const Lent& lent : lent_) {
        for (size_t i = 0; lent.list_no == list_no && i < n && offset + i < lent.size; i++) {
            lent.ids[offset + i] = ids[i];
        }
    }
}

void DecodedLists::update_entries(size_t list_no, size_t offset, size_t n, const idx_t* ids,
                                  const uint8_t* codes) {
    // Removing moves vectors within a list: their codes are still there, and better than new ones.
    const VLCInvertedLists& lists = index->lists();
    std::vector<float> now(index->d);
    for (const Single& s : ring.singles) {
        if (n == 1 && s.lists == this && s.list_no == list_no && s.vector() == codes &&
            s.offset < lists.list_size(list_no)) {
            const ScopedCodes code(&lists, list_no, s.offset);
            index->model->decode(int(list_no), code.codes, now.data());
            if (std::memcmp(now.data(), codes, code_size) == 0) {
                update(list_no, offset, 1, ids, code.codes);
                return;
            }
        }
    }
    update(list_no, offset, n, ids, encoded(list_no, n, codes).data());
}

void DecodedLists::resize(size_t list_no, size_t new_size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t old_size = list_size(list_no);
    index->lists().resize(list_no, new_size);
    index->ntotal += idx_t(new_size) - idx_t(old_size);
}

void DecodedLists::reset() {
    index->lists().reset();
    index->ntotal = 0;
}

} // namespace faiss_vlc
