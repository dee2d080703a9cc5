#include <faiss_vlc/search.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include <faiss/IndexIVF.h>
#include <faiss/impl/IDSelector.h>
#include <gtest/gtest.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/simd.h>

#include "model_test.h"

namespace faiss_vlc {
namespace {

using Entry = std::pair<float, int64_t>;

TEST(TopK, IsTheBeginningOfTheSortedSequence) {
    Random random(1);
    for (int trial = 0; trial < 600; trial++) {
        const size_t k = size_t(random.between(1, trial % 3 ? 20 : 200));
        const int64_t n = random.between(0, 1000);
        const int64_t values = trial % 2 ? 5 : 1000000; // few values: ties go by id
        TopK top(k);
        for (int round = 0; round < 2; round++) { // and again once cleared
            top.clear();
            EXPECT_EQ(top.bound(), std::numeric_limits<float>::max());
            std::vector<Entry> all;
            for (int64_t i = 0; i < n; i++) {
                const Entry entry(float(random.between(-values, values)) / 4, random.between(0, 1 << 20));
                all.push_back(entry);
                ASSERT_TRUE(entry.first <= top.bound() || all.size() > k);
                top.push(entry.first, entry.second);
            }
            std::sort(all.begin(), all.end());
            all.resize(std::min(all.size(), k));
            ASSERT_EQ(top.sorted(), all);
            ASSERT_EQ(top.sorted(), all);
        }
    }
}

TEST(TopK, MergesPartsInAnyOrder) {
    Random random(2);
    for (int trial = 0; trial < 200; trial++) {
        const size_t k = size_t(random.between(1, 50));
        TopK parts[3] = {TopK(k), TopK(k), TopK(k)};
        TopK forth(k), back(k);
        std::vector<Entry> all;
        for (int i = 0; i < 400; i++) {
            all.emplace_back(float(random.between(0, 30)), i);
            parts[random.between(0, 2)].push(all.back().first, i);
        }
        for (int p = 0; p < 3; p++) {
            forth.merge(parts[p]);
            back.merge(parts[2 - p]);
        }
        std::sort(all.begin(), all.end());
        all.resize(k);
        ASSERT_EQ(forth.sorted(), all);
        ASSERT_EQ(back.sorted(), all);
    }
}

TEST(TopK, IgnoresWhatIsNoNumber) {
    TopK top(2);
    top.push(std::numeric_limits<float>::quiet_NaN(), 1);
    top.push(std::numeric_limits<float>::infinity(), 2);
    top.push(-std::numeric_limits<float>::infinity(), 3);
    ASSERT_EQ(top.sorted().size(), 1u);
    EXPECT_EQ(top.sorted()[0].second, 3);
}

constexpr int kDim = 24;
constexpr int kLists = 20;
constexpr int64_t kVectors = 1500;
constexpr int64_t kQueries = 40;

/// A trained index of each metric and grid, with ids that are not the order of adding.
struct Fixture {
    Fixture(faiss::MetricType metric, AnchorGrid grid)
            : x(clustered(kVectors, kDim, 30, 1)), queries(clustered(kQueries, kDim, 30, 1)) {
        Random random(2);
        for (float& v : queries) {
            v += float(0.1 * random.normal());
        }
        VLCParameters params = small_parameters(kLists);
        params.grid = grid;
        index = std::make_unique<IndexVLC>(kDim, params, metric);
        index->train(kVectors, x.data());
        for (int64_t i = 0; i < kVectors; i++) {
            ids.push_back((i * 7919) % 100003);
        }
        index->add_with_ids(kVectors, x.data(), ids.data());
        index->nprobe = kLists;
    }
    bool inner_product() const { return index->metric_type == faiss::METRIC_INNER_PRODUCT; }

    std::vector<float> x, queries;
    std::vector<int64_t> ids;
    std::unique_ptr<IndexVLC> index;
};

const std::vector<Fixture*>& fixtures() {
    static std::vector<Fixture*> all;
    static std::vector<std::unique_ptr<Fixture>> owned;
    if (all.empty()) {
        for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            for (auto grid : {AnchorGrid::int8, AnchorGrid::float16}) {
                owned.push_back(std::make_unique<Fixture>(metric, grid));
                all.push_back(owned.back().get());
            }
        }
    }
    return all;
}

/// The estimate of each vector, computed one by one from the packed code in doubles, in the data's
/// units: the formulas of estimator.h.
std::vector<Entry> brute_force(const Fixture& s, const float* q) {
    const Model& model = *s.index->model;
    const Estimator& e = model.estimator;
    const bool ip = s.inner_product();
    std::vector<Entry> out;
    for (int64_t j = 0; j < kLists; j++) {
        std::vector<float> anchor(kDim), rotated(model.slots());
        model.anchor(int(j), anchor.data());
        std::vector<float> lattice(kDim);
        double D = 0, norm = 0, base = 0;
        for (int k = 0; k < kDim; k++) {
            const double a = (double(anchor[k]) - model.lattice.mean[k]) * model.lattice.scale;
            const double v = ip ? q[k] : (double(q[k]) - model.lattice.mean[k]) * model.lattice.scale;
            lattice[k] = float(ip ? v : v - a);
            D += ip ? -v * a : (v - a) * (v - a);
            norm += double(q[k]) * q[k];
            base += double(q[k]) * model.lattice.mean[k];
        }
        model.frame.rotate(lattice.data(), rotated.data());
        faiss::InvertedLists::ScopedCodes codes(s.index->invlists, j);
        faiss::InvertedLists::ScopedIds ids(s.index->invlists, j);
        for (size_t i = 0; i < s.index->invlists->list_size(j); i++) {
            const uint8_t* code = codes.get() + i * s.index->code_size;
            std::vector<uint8_t> level(model.slots());
            unpack_code(model.layout, code, level.data());
            double dot = 0;
            for (int slot = 0; slot < model.layout.slots(); slot++) {
                dot += rotated[slot] * (level[slot] - 0.5 * model.levels_less_one[slot]) *
                       model.step[slot] * model.spread[j];
            }
            const int factors = code[model.layout.code_bytes] | code[model.layout.code_bytes + 1] << 8;
            const double gamma = e.gamma(factors & 31), miss = 1 - gamma;
            const double square = decode_rho(uint16_t(factors)) * double(e.energy) * model.spread[j] *
                                  model.spread[j];
            const double weight = 1 + e.t2 * (1 / gamma - 1);
            const double estimate = ip
                    ? D + e.c * miss * std::sqrt(norm) * square / std::sqrt(e.energy) - weight * dot
                    : D * (1 + e.c * miss * square / e.energy) + square * (gamma + e.t1 * miss) -
                              2 * weight * dot;
            const double scale = model.lattice.scale;
            out.emplace_back(float(ip ? base - estimate / scale : std::max(0.0, estimate) / scale / scale),
                             ids[i]);
        }
    }
    std::sort(out.begin(), out.end(), [&](const Entry& a, const Entry& b) {
        return ip ? a.first > b.first : a.first < b.first;
    });
    return out;
}

TEST(Search, AllListsEqualBruteForceOverEstimates) {
    for (const Fixture* s : fixtures()) {
        constexpr int64_t k = 50;
        std::vector<float> distances(kQueries * k);
        std::vector<int64_t> labels(kQueries * k);
        s->index->search(kQueries, s->queries.data(), k, distances.data(), labels.data());
        double largest = 0, error = 0;
        for (int64_t q = 0; q < kQueries; q++) {
            const std::vector<Entry> all = brute_force(*s, &s->queries[q * kDim]);
            ASSERT_EQ(all.size(), size_t(kVectors));
            const double range = std::fabs(all.back().first - all[0].first);
            std::set<int64_t> found;
            for (int64_t i = 0; i < k; i++) {
                // what rounding the query to 8 bits leaves: about 1 % of the range at most
                ASSERT_NEAR(distances[q * k + i], all[i].first, 0.01 * range) << q << " " << i;
                ASSERT_TRUE(found.insert(labels[q * k + i]).second);
                const auto at = std::find_if(all.begin(), all.end(), [&](const Entry& e) {
                    return e.second == labels[q * k + i];
                });
                ASSERT_NE(at, all.end());
                ASSERT_NEAR(at->first, distances[q * k + i], 0.01 * range);
                error += std::fabs(at->first - distances[q * k + i]);
                largest += range;
            }
        }
        EXPECT_LT(error / largest, 0.002);
    }
}

TEST(Search, FindsVectorsThemselves) {
    for (const Fixture* s : fixtures()) {
        if (s->inner_product()) {
            continue;
        }
        int hits = 0;
        std::vector<float> distance(1);
        std::vector<int64_t> label(1);
        for (int64_t i = 0; i < kVectors; i += 10) {
            s->index->search(1, &s->x[i * kDim], 1, distance.data(), label.data());
            hits += label[0] == s->ids[i];
            EXPECT_GE(distance[0], 0);
        }
        EXPECT_GT(hits, 60) << "of 150";
    }
}

TEST(Rank, IsTheOrderOfTheInt8Distances) {
    Random random(3);
    for (int m : {1, 5, 100, 700}) {
        for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            // values of a small range, so that many anchors tie
            const int d = 3;
            auto model = std::make_shared<Model>();
            model->d = d;
            model->m = m;
            model->metric = metric;
            model->lattice.d = d;
            model->lattice.mean.assign(d, 0);
            model->anchors8.assign(size_t(m) * 16, 0);
            for (size_t i = 0; i < model->anchors8.size(); i++) {
                model->anchors8[i] = i % 16 < size_t(d) ? int8_t(random.between(-6, 6)) : int8_t(0);
            }
            model->spread.assign(m, 1);
            const std::vector<int64_t> covariance = {3, 0, 0, 0, 2, 0, 0, 0, 1};
            model->frame = Frame::identity(d, covariance.data());
            model->layout = Layout::allocate(2, {3, 2, 1}, 0);
            model->frame.keep(model->layout.axes);
            model->sigma.assign(d, 1);
            model->finish();
            Query query(*model);
            for (int trial = 0; trial < 30; trial++) {
                // largest component 127 or 1: rounding for inner products keeps such values exactly
                float x[3];
                for (float& v : x) {
                    v = float(metric == faiss::METRIC_L2 ? random.between(-6, 6) : random.between(-1, 1) * 127);
                }
                ASSERT_TRUE(query.set(x));
                std::vector<std::pair<int64_t, int64_t>> order;
                for (int j = 0; j < m; j++) {
                    int64_t score = 0;
                    for (int k = 0; k < d; k++) {
                        const int64_t a = model->anchors8[size_t(j) * 16 + k], v = int64_t(x[k]);
                        score += metric == faiss::METRIC_L2 ? (a - v) * (a - v) : -a * v;
                    }
                    order.emplace_back(score, j);
                }
                std::sort(order.begin(), order.end());
                for (int nprobe : {1, 2, 7, 16, 64, 300, m, m + 9}) {
                    const std::vector<int64_t>& ranked = query.rank(nprobe);
                    ASSERT_EQ(ranked.size(), size_t(std::min(nprobe, m)));
                    for (size_t i = 0; i < ranked.size(); i++) {
                        ASSERT_EQ(ranked[i], order[i].second) << m << " " << nprobe << " " << i;
                    }
                }
            }
        }
    }
}

TEST(Search, BatchSingleThreadsAndPreassignedAgree) {
    for (const Fixture* s : fixtures()) {
        constexpr int64_t k = 10;
        s->index->nprobe = 5;
        std::vector<float> distances(kQueries * k), other(kQueries * k);
        std::vector<int64_t> labels(kQueries * k), other_labels(kQueries * k);
        const int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        s->index->search(kQueries, s->queries.data(), k, distances.data(), labels.data());
        for (int t : {2, 3, 8}) {
            omp_set_num_threads(t);
            s->index->search(kQueries, s->queries.data(), k, other.data(), other_labels.data());
            EXPECT_EQ(distances, other) << t << " threads";
            EXPECT_EQ(labels, other_labels) << t << " threads";
        }
        omp_set_num_threads(threads);
        for (int64_t q = 0; q < kQueries; q++) {
            s->index->search(1, &s->queries[q * kDim], k, &other[q * k], &other_labels[q * k]);
        }
        EXPECT_EQ(distances, other);
        EXPECT_EQ(labels, other_labels);
        std::vector<int64_t> lists;
        Query query(*s->index->model);
        for (int64_t q = 0; q < kQueries; q++) {
            query.set(&s->queries[q * kDim]);
            const auto& order = query.rank(5);
            lists.insert(lists.end(), order.rbegin(), order.rend()); // the order does not matter
        }
        s->index->search_preassigned(kQueries, s->queries.data(), k, lists.data(), nullptr,
                                     other.data(), other_labels.data(), false);
        EXPECT_EQ(distances, other);
        EXPECT_EQ(labels, other_labels);
        s->index->nprobe = kLists;
    }
}

TEST(Search, FewerListsAreASubset) {
    for (const Fixture* s : fixtures()) {
        faiss::SearchParametersIVF params;
        constexpr int64_t k = 2000; // all there are
        std::vector<float> distances(k);
        std::vector<int64_t> labels(k);
        for (int64_t q = 0; q < 5; q++) {
            Query query(*s->index->model);
            query.set(&s->queries[q * kDim]);
            for (size_t nprobe : {1, 3, 20}) {
                params.nprobe = nprobe;
                s->index->search(1, &s->queries[q * kDim], k, distances.data(), labels.data(), &params);
                const auto& order = query.rank(int(nprobe));
                std::multiset<int64_t> expected, met;
                for (int64_t j : order) {
                    for (size_t i = 0; i < s->index->invlists->list_size(j); i++) {
                        expected.insert(s->index->invlists->get_single_id(j, i));
                    }
                }
                for (int64_t i = 0; i < k && labels[i] >= 0; i++) {
                    met.insert(labels[i]);
                }
                ASSERT_EQ(met, expected);
            }
        }
    }
}

TEST(Search, SelectorKeepsTheBestOfItsMembers) {
    for (const Fixture* s : fixtures()) {
        constexpr int64_t k = 12;
        std::vector<float> all(kVectors), distances(k);
        std::vector<int64_t> all_labels(kVectors), labels(k);
        faiss::IDSelectorRange range(20000, 60000);
        faiss::SearchParametersIVF params;
        params.nprobe = kLists;
        for (int64_t q = 0; q < kQueries; q++) {
            params.sel = nullptr;
            s->index->search(1, &s->queries[q * kDim], kVectors, all.data(), all_labels.data(), &params);
            params.sel = &range;
            s->index->search(1, &s->queries[q * kDim], k, distances.data(), labels.data(), &params);
            int64_t at = 0;
            for (int64_t i = 0; i < kVectors && at < k; i++) {
                if (range.is_member(all_labels[i])) {
                    ASSERT_EQ(labels[at], all_labels[i]);
                    ASSERT_EQ(distances[at], all[i]);
                    at++;
                }
            }
            ASSERT_EQ(at, k);
        }
        faiss::IDSelectorRange none(200000, 300000);
        params.sel = &none;
        s->index->search(1, s->queries.data(), k, distances.data(), labels.data(), &params);
        EXPECT_EQ(labels, std::vector<int64_t>(k, -1));
    }
}

TEST(Search, MaxCodesStopsAfterTheListThatReachesIt) {
    const Fixture& s = *fixtures()[0];
    faiss::SearchParametersIVF params;
    params.nprobe = kLists;
    Query query(*s.index->model);
    std::vector<float> distances(kVectors);
    std::vector<int64_t> labels(kVectors);
    for (size_t limit : {1, 50, 200, 5000}) {
        params.max_codes = limit;
        for (int64_t q = 0; q < kQueries; q++) {
            s.index->search(1, &s.queries[q * kDim], kVectors, distances.data(), labels.data(), &params);
            query.set(&s.queries[q * kDim]);
            size_t scanned = 0;
            for (int64_t j : query.rank(kLists)) {
                scanned += s.index->invlists->list_size(j);
                if (scanned >= limit) {
                    break;
                }
            }
            ASSERT_EQ(size_t(kVectors - std::count(labels.begin(), labels.end(), -1)), scanned);
        }
    }
}

TEST(Search, StorePairsNamesListAndOffset) {
    for (const Fixture* s : fixtures()) {
        constexpr int64_t k = 10;
        std::vector<float> distances(k), pair_distances(k);
        std::vector<int64_t> labels(k), pairs(k), lists(kLists);
        for (int64_t j = 0; j < kLists; j++) {
            lists[j] = j;
        }
        s->index->search_preassigned(1, s->queries.data(), k, lists.data(), nullptr, distances.data(),
                                     labels.data(), false);
        s->index->search_preassigned(1, s->queries.data(), k, lists.data(), nullptr,
                                     pair_distances.data(), pairs.data(), true);
        EXPECT_EQ(distances, pair_distances);
        for (int64_t i = 0; i < k; i++) {
            EXPECT_EQ(s->index->invlists->get_single_id(pairs[i] >> 32, pairs[i] & 0xffffffff), labels[i]);
        }
        lists[3] = -1; // skipped
        s->index->search_preassigned(1, s->queries.data(), k, lists.data(), nullptr, distances.data(),
                                     labels.data(), true);
        for (int64_t pair : labels) {
            EXPECT_NE(pair >> 32, 3);
        }
        lists[3] = kLists;
        EXPECT_ANY_THROW(s->index->search_preassigned(1, s->queries.data(), k, lists.data(), nullptr,
                                                      distances.data(), labels.data(), false));
    }
}

TEST(Search, ScannerOfFaissSeesTheSameDistances) {
    for (const Fixture* s : fixtures()) {
        std::vector<float> distances(kVectors);
        std::vector<int64_t> labels(kVectors);
        s->index->search(1, s->queries.data(), kVectors, distances.data(), labels.data());
        std::unique_ptr<faiss::InvertedListScanner> scanner(s->index->get_InvertedListScanner());
        scanner->set_query(s->queries.data());
        std::vector<Entry> met;
        for (int64_t j = 0; j < kLists; j++) {
            scanner->set_list(j, 0);
            faiss::InvertedLists::ScopedCodes codes(s->index->invlists, j);
            for (size_t i = 0; i < s->index->invlists->list_size(j); i++) {
                met.emplace_back(scanner->distance_to_code(codes.get() + i * s->index->code_size),
                                 s->index->invlists->get_single_id(j, i));
            }
        }
        std::vector<Entry> expected;
        for (int64_t i = 0; i < kVectors; i++) {
            expected.emplace_back(distances[i], labels[i]);
        }
        std::sort(met.begin(), met.end());
        std::sort(expected.begin(), expected.end());
        EXPECT_EQ(met, expected);
    }
}

/// range_search with the radius at each of some results must return exactly the results better
/// than it, with the same distances.
void check_ranges(const IndexVLC& index, int64_t nq, const float* queries) {
    const int64_t n = index.ntotal;
    const bool ip = index.metric_type == faiss::METRIC_INNER_PRODUCT;
    std::vector<float> distances(nq * n);
    std::vector<int64_t> labels(nq * n);
    index.search(nq, queries, n, distances.data(), labels.data());
    for (int64_t at : {int64_t(0), int64_t(1), int64_t(7), n / 3, n - 1}) {
        const float radius = distances[at];
        faiss::RangeSearchResult result(nq);
        index.range_search(nq, queries, radius, &result);
        for (int64_t q = 0; q < nq; q++) {
            std::vector<Entry> expected, met;
            for (int64_t i = 0; i < n; i++) {
                const float distance = distances[q * n + i];
                if (ip ? distance > radius : distance < radius) {
                    expected.emplace_back(distance, labels[q * n + i]);
                }
            }
            for (size_t i = result.lims[q]; i < result.lims[q + 1]; i++) {
                met.emplace_back(result.distances[i], result.labels[i]);
            }
            std::sort(expected.begin(), expected.end());
            std::sort(met.begin(), met.end());
            ASSERT_EQ(met, expected) << "query " << q << ", radius " << radius;
        }
    }
}

TEST(RangeSearch, IsConsistentWithSearch) {
    for (const Fixture* s : fixtures()) {
        check_ranges(*s->index, 10, s->queries.data());
    }
}

// A large mean makes inner products large numbers that differ little.
TEST(RangeSearch, IsConsistentWithSearchFarFromTheOrigin) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        std::vector<float> x = clustered(400, 8, 5, 3);
        for (float& v : x) {
            v = v * 0.01f + 100;
        }
        IndexVLC index(8, small_parameters(4), metric);
        index.train(400, x.data());
        index.add(400, x.data());
        index.nprobe = 4;
        check_ranges(index, 10, x.data());
    }
}

} // namespace
} // namespace faiss_vlc
