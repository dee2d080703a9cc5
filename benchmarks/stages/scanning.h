#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/search/scan_lists.h>

#include "stage_bench.h"

namespace stage {

/// Prepares and scans the first `count` lists of an index for queries of the sample; one thread. An
/// item is a vector.
struct Scanning {
    faiss_vlc::Matrix<float> rows = sample_rows("query.npy", 50);
    const faiss_vlc::IndexVLC& index;
    faiss_vlc::Query query{*index.model};
    faiss_vlc::TopK top{10, &index.lists()};
    std::vector<int64_t> lists;

    Scanning(const faiss_vlc::IndexVLC& index, int count) : index(index) {
        for (int j = 0; j < count; j++) {
            lists.push_back(j);
        }
    }
    size_t run(int64_t first, int64_t count) {
        size_t scanned = 0;
        for (int64_t i = first; i < first + count; i++) {
            query.set(&rows.data[i * rows.d]);
            top.clear();
            scanned += scan_lists({*index.model, index.lists()}, query, lists.size(), lists.data(),
                                  top)
                               .vectors;
        }
        return scanned;
    }
};

} // namespace stage
