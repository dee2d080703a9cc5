#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <faiss/impl/FaissException.h>

#include <faiss_vlc/IndexVLC.h>

#include <faiss_vlc/model/model.h>

#include <tests/support/results.h>
#include <tests/support/unit_test.h>

/// What the tests of IndexVLC by itself share: a small set, and indexes trained on it.
namespace faiss_vlc {

using idx_t = int64_t;

constexpr int kDim = 24;
constexpr idx_t kCount = 1500;
constexpr idx_t kQueries = 40;
constexpr float kWorst = std::numeric_limits<float>::max();

inline VLCParameters small(int m = 20, float bits = 4) {
    VLCParameters p;
    p.m = m;
    p.bits_per_dim = bits;
    p.device = "reference";
    p.iterations = 6;
    p.codec = test_codec();
    p.second_bytes = test_second_bytes();
    return p;
}

inline const std::vector<float>& base() {
    static const std::vector<float> x = clustered(kCount, kDim, 60, 11);
    return x;
}

inline const std::vector<float>& queries() {
    static const std::vector<float> x = [] {
        Random random(12);
        std::vector<float> q(kQueries * kDim);
        for (idx_t i = 0; i < kQueries; i++) {
            for (int k = 0; k < kDim; k++) {
                q[i * kDim + k] = base()[i * 31 * kDim + k] + float(0.1 * random.normal());
            }
        }
        return q;
    }();
    return x;
}

/// Trained once; tests take copies.
inline const IndexVLC& trained(faiss::MetricType metric = faiss::METRIC_L2) {
    static std::map<int, std::unique_ptr<IndexVLC>> made;
    std::unique_ptr<IndexVLC>& index = made[int(metric)];
    if (!index) {
        index = std::make_unique<IndexVLC>(kDim, small(), metric);
        index->train(kCount, base().data());
        if (index->model->second) {
            index->refine_k = kCount; // the best few are those of many
        }
    }
    return *index;
}

inline IndexVLC filled(faiss::MetricType metric = faiss::METRIC_L2) {
    IndexVLC index(trained(metric));
    index.add(kCount, base().data());
    return index;
}

inline Results search(const IndexVLC& index, idx_t k,
                      const faiss::SearchParameters* params = nullptr,
                      const std::vector<float>& x = queries()) {
    return ::search(index, x, k, params);
}

inline faiss::SearchParametersIVF probing(size_t nprobe) {
    faiss::SearchParametersIVF params;
    params.nprobe = nprobe;
    return params;
}

template <class Body>
std::string message_of(Body body) {
    try {
        body();
    } catch (const faiss::FaissException& error) {
        return error.what();
    }
    return "nothing thrown";
}

#define EXPECT_MESSAGE(body, part)                                            \
    do {                                                                      \
        const std::string text = message_of([&] { body; });                   \
        EXPECT_NE(text.find(part), std::string::npos) << "message: " << text; \
    } while (0)

inline double recall(const Results& r, idx_t k, const std::vector<float>& x, bool inner_product) {
    idx_t hits = 0;
    const idx_t n = kQueries;
    for (idx_t q = 0; q < n; q++) {
        std::vector<std::pair<double, idx_t>> order;
        for (idx_t i = 0; i < idx_t(x.size()) / kDim; i++) {
            order.emplace_back(
                    true_distance(kDim, &queries()[q * kDim], &x[i * kDim], inner_product), i);
        }
        std::partial_sort(order.begin(), order.begin() + k, order.end());
        for (idx_t i = 0; i < k; i++) {
            hits += std::count(&r.label[q * k], &r.label[q * k] + k, order[i].second);
        }
    }
    return double(hits) / double(n * k);
}

} // namespace faiss_vlc
