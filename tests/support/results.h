#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include <faiss/Index.h>
#include <gtest/gtest.h>

/// What a search found: k distances and labels for each query.
struct Results {
    std::vector<float> distance;
    std::vector<int64_t> label;
    bool operator==(const Results& o) const { return label == o.label && distance == o.distance; }
};

inline void PrintTo(const Results& r, std::ostream* out) {
    *out << "labels " << testing::PrintToString(r.label) << ", distances "
         << testing::PrintToString(r.distance);
}

inline Results search(const faiss::Index& index, const std::vector<float>& queries, int64_t k = 5,
                      const faiss::SearchParameters* params = nullptr) {
    const int64_t n = int64_t(queries.size()) / index.d;
    Results r{std::vector<float>(n * k, -7), std::vector<int64_t>(n * k, -7)};
    index.search(n, queries.data(), k, r.distance.data(), r.label.data(), params);
    return r;
}
