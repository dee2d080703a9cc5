#include <faiss_vlc/IndexVLC.h>

#include <algorithm>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/finite.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>

namespace faiss_vlc {

using idx_t = int64_t;

void IndexVLC::reconstruct(idx_t key, float* recons) const {
    require_trained("reconstruct");
    if (!direct_map.no()) {
        IndexIVF::reconstruct(key, recons);
        return;
    }
    const VLCInvertedLists& own = lists();
    for (size_t j = 0; j < nlist; j++) {
        for (size_t i = 0; i < own.list_size(j); i++) {
            if (own.id(j, i) == key) {
                reconstruct_from_offset(int64_t(j), int64_t(i), recons);
                return;
            }
        }
    }
    fail("reconstruct: no vector has id %lld", (long long)key);
}

void IndexVLC::reconstruct_from_offset(int64_t list_no, int64_t offset, float* recons) const {
    require_trained("reconstruct");
    std::vector<uint8_t> code(code_size);
    lists().copy_code(size_t(list_no), size_t(offset), code.data());
    model->decode(int(list_no), code.data(), recons);
}

void IndexVLC::encode_vectors(idx_t n, const float* x, const idx_t* list_nos, uint8_t* codes,
                              bool include_listnos) const {
    require_trained("encoding");
    checked_count(n, d, sizeof(float), "vectors to encode");
    const size_t head = include_listnos ? coarse_code_size() : 0;
    const size_t size = head + code_size;
    Rescue rescue;
#pragma omp parallel if (n > 100)
    {
        std::unique_ptr<Model::Coder> coder;
        rescue.run([&] { coder = std::make_unique<Model::Coder>(*model); });
#pragma omp for schedule(static)
        for (idx_t first = 0; first < n; first += Model::Coder::kBatch) {
            const int some = int(std::min<idx_t>(Model::Coder::kBatch, n - first));
            for (idx_t i = first; i < first + some; i++) {
                if (list_nos[i] < 0 || !coder) {
                    std::fill_n(codes + i * size, size, uint8_t(0));
                } else if (include_listnos) {
                    encode_listno(list_nos[i], codes + i * size);
                }
            }
            if (coder) {
                rescue.run([&] { // a second tier takes memory
                    coder->encode(some, x + first * d, list_nos + first,
                                  codes + first * size + head, size);
                });
            }
        }
    }
    rescue.rethrow();
}

#if FAISS_VLC_FAISS_VERSION >= 11200
void IndexVLC::decode_vectors(idx_t n, const uint8_t* codes, const idx_t* list_nos,
                              float* x) const {
    require_trained("decoding");
    checked_count(n, d, sizeof(float), "codes to decode");
    for (idx_t i = 0; i < n; i++) {
        if (list_nos[i] < 0 || list_nos[i] >= idx_t(nlist)) {
            fail("decode_vectors: code %lld is of list %lld of %zu", (long long)i,
                 (long long)list_nos[i], nlist);
        }
        model->decode(int(list_nos[i]), codes + i * code_size, x + i * d);
    }
}
#endif

void IndexVLC::sa_encode(idx_t n, const float* x, uint8_t* bytes) const {
    checked_count(n, d, sizeof(float), "vectors to encode");
    require_finite(x, n, d, "vectors to encode");
    std::vector<idx_t> list_nos(n);
    assign_lists(n, x, list_nos.data());
    encode_vectors(n, x, list_nos.data(), bytes, true);
}

void IndexVLC::sa_decode(idx_t n, const uint8_t* bytes, float* x) const {
    require_trained("decoding");
    checked_count(n, d, sizeof(float), "codes to decode");
    const size_t head = coarse_code_size();
    for (idx_t i = 0; i < n; i++) {
        const uint8_t* code = bytes + i * (head + code_size);
        const idx_t list_no = decode_listno(code);
        if (list_no < 0 || list_no >= idx_t(nlist)) {
            fail("sa_decode: code %lld names list %lld of %zu", (long long)i, (long long)list_no,
                 nlist);
        }
        model->decode(int(list_no), code + head, x + i * d);
    }
}

} // namespace faiss_vlc
