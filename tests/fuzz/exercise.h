#pragma once

#include <algorithm>
#include <memory>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/index_io.h>

#include <tests/fuzz/fuzz.h>

/// Uses an index that was accepted: searches, reconstruction, adding, writing it again.
inline void exercise(faiss_vlc::IndexVLC& index) {
    std::vector<float> x(size_t(index.d) * 3);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = float(int(i * 37 % 19) - 9);
    }
    float distances[3 * 4];
    int64_t labels[3 * 4];
    index.parameters.device = "reference";
    index.nprobe = std::min<size_t>(index.nprobe, 64);
    attempt([&] { index.search(3, x.data(), 4, distances, labels); });
    attempt([&] {
        std::vector<float> recons(x.size() * 4);
        index.search_and_reconstruct(3, x.data(), 4, distances, labels, recons.data());
    });
    attempt([&] { index.add(3, x.data()); });
    attempt([&] {
        faiss::VectorIOWriter writer;
        faiss_vlc::write_index(&index, &writer);
        faiss::VectorIOReader reader = reader_of(writer.data);
        delete faiss_vlc::read_index(&reader); // what we write must be readable
    });
}
