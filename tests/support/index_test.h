#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#include <gtest/gtest.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/factory.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/interop/tree.h>

#include <tests/support/results.h>
#include <tests/support/unit_test.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
// FAISS leaks what it has read so far when a file is damaged.
#define LEAKS_OF_FAISS __lsan::ScopedDisabler leaks_of_faiss
#else
#define LEAKS_OF_FAISS (void)0
#endif

/// What the tests of whole indexes share.

using Bytes = std::vector<uint8_t>;
using IndexPtr = std::unique_ptr<faiss::Index>;

inline Bytes written(const faiss::Index& index) {
    faiss::VectorIOWriter writer;
    faiss_vlc::write_index(&index, &writer);
    return writer.data;
}

/// By FAISS's own writer.
inline Bytes stock_written(const faiss::Index& index) {
    faiss::VectorIOWriter writer;
    faiss::write_index(&index, &writer);
    return writer.data;
}

inline faiss::VectorIOReader reader_of(const Bytes& bytes) {
    faiss::VectorIOReader reader;
    reader.data = bytes;
    return reader;
}

inline IndexPtr read(const Bytes& bytes) {
    faiss::VectorIOReader reader = reader_of(bytes);
    return IndexPtr(faiss_vlc::read_index(&reader));
}

/// The first IndexVLC in a tree, or null.
inline faiss_vlc::IndexVLC* vlc_of(faiss::Index& index) {
    auto* found = dynamic_cast<faiss_vlc::IndexVLC*>(&index);
    faiss_vlc::each_child(
            index, [&](faiss::Index*& child, bool) { found = found ? found : vlc_of(*child); });
    return found;
}

/// Parameters that train a small index quickly, the same everywhere.
inline faiss_vlc::VLCParameters quick(int m = 0, int bytes = 0) {
    faiss_vlc::VLCParameters params;
    params.m = m;
    params.bytes = bytes;
    params.iterations = 4;
    params.device = "reference";
    params.codec = test_codec();
    params.second_bytes = test_second_bytes();
    return params;
}

/// The second tier that these tests run with, unless the index has asked for one of its own.
inline void give_test_tiers(faiss_vlc::IndexVLC& vlc) {
    if (vlc.parameters.second_size(vlc.d) == 0) {
        vlc.parameters.second_bytes = test_second_bytes();
        vlc.code_size = vlc.parameters.code_size(vlc.d);
    }
}

inline void make_quick(faiss_vlc::IndexVLC& vlc) {
    vlc.parameters.iterations = 4;
    vlc.parameters.device = "reference";
    give_test_tiers(vlc);
}

/// A tree from the factory, its IndexVLC made quick, untrained.
inline IndexPtr tree_of(int d, const std::string& description,
                        faiss::MetricType metric = faiss::METRIC_L2) {
    IndexPtr index(faiss_vlc::index_factory(d, description.c_str(), metric));
    if (auto* vlc = vlc_of(*index)) {
        make_quick(*vlc);
    }
    return index;
}

/// Trained on x and holding it; an IDMap's ids are 1000, 1003, ...
inline IndexPtr filled_tree(int d, const std::string& description, const std::vector<float>& x,
                            faiss::MetricType metric = faiss::METRIC_L2) {
    IndexPtr index = tree_of(d, description, metric);
    const int64_t n = int64_t(x.size()) / d;
    index->train(n, x.data());
    if (description.find("IDMap") != std::string::npos) {
        std::vector<int64_t> ids(n);
        for (int64_t i = 0; i < n; i++) {
            ids[i] = 1000 + 3 * i;
        }
        index->add_with_ids(n, x.data(), ids.data());
    } else {
        index->add(n, x.data());
    }
    return index;
}

/// Does the action throw a FaissException that contains `part`?
template <class Action>
testing::AssertionResult throws(Action action, const std::string& part) {
    try {
        action();
    } catch (const faiss::FaissException& error) {
        if (std::string(error.what()).find(part) != std::string::npos) {
            return testing::AssertionSuccess();
        }
        return testing::AssertionFailure() << "'" << part << "' expected in: " << error.what();
    }
    return testing::AssertionFailure() << "no exception; expected: " << part;
}

/// Trees of every kind, for vectors of 16 dimensions.
constexpr int kTreeD = 16;
inline const char* const kTrees[] = {"VLC8x4",
                                     "VLC",
                                     "PCA8,VLC8x2",
                                     "PCA8,VLC",
                                     "IDMap,VLC8x2",
                                     "IDMap2,VLC8",
                                     "IDMap,PCA8,VLC8b6",
                                     "VLCx1.5,Refine(SQ8)",
                                     "VLC8x2,RFlat",
                                     "RR8,VLC8x4",
                                     "PCAR8,VLC8b6,RFlat",
                                     "L2norm,VLC8x4",
                                     "VLC8b4block",
                                     "IDMap,VLC8b1",
                                     "PCA8,VLC8b9block,RFlat",
                                     "VLC8b6+11",
                                     "IDMap,VLC8x1+4block"};
