#include <faiss_vlc/interop/decoded_lists.h>

#include <array>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

namespace {

/// A vector handed out alone, and where it came from.
struct Single {
    const DecodedLists* lists = nullptr;
    size_t list_no = 0, offset = 0;
    std::unique_ptr<float[]> buffer;

    const uint8_t* vector() const { return reinterpret_cast<const uint8_t*>(buffer.get()); }
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
    const auto fill = [&](uint8_t* bytes) {
        const ScopedCodes packed(&lists, list_no);
        for (size_t i = 0; i < n; i++) {
            const uint8_t* code = packed.codes + i * lists.code_size;
            index->model->decode(int(list_no), code,
                                 reinterpret_cast<float*>(bytes) + i * index->d);
        }
    };
    return static_cast<const uint8_t*>(
            vectors_out_.lend(list_no, lists.stamp(), n * code_size, fill));
}

void DecodedLists::release_codes(size_t, const uint8_t* codes) const {
    vectors_out_.release(codes); // not those of the ring
}

const int64_t* DecodedLists::get_ids(size_t list_no) const {
    const VLCInvertedLists& lists = index->lists();
    const size_t n = lists.list_size(list_no);
    const auto fill = [&](uint8_t* bytes) {
        for (size_t i = 0; i < n; i++) {
            reinterpret_cast<idx_t*>(bytes)[i] = lists.id(list_no, i);
        }
    };
    return static_cast<const idx_t*>(
            ids_out_.lend(list_no, lists.stamp(), n * sizeof(idx_t), fill));
}

void DecodedLists::release_ids(size_t, const idx_t* ids) const {
    ids_out_.release(ids);
}

int64_t DecodedLists::get_single_id(size_t list_no, size_t offset) const {
    return index->lists().get_single_id(list_no, offset);
}

const uint8_t* DecodedLists::get_single_code(size_t list_no, size_t offset) const {
    auto vector = std::make_unique<float[]>(size_t(index->d));
    index->reconstruct_from_offset(int64_t(list_no), int64_t(offset), vector.get());
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
    ids_out_.each(list_no, [&](uint8_t* bytes, size_t capacity) {
        for (size_t i = 0; i < n && (offset + i + 1) * sizeof(idx_t) <= capacity; i++) {
            reinterpret_cast<idx_t*>(bytes)[offset + i] = ids[i];
        }
    });
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
