#include <faiss_vlc/search/scan_lists.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/search/lists.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

using idx_t = int64_t;
using Pairs = std::vector<std::pair<float, int64_t>>;

Pairs best(Pairs all, size_t k) {
    std::sort(all.begin(), all.end());
    all.resize(std::min(k, all.size()));
    return all;
}

namespace {
Pairs pairs(TopK top) {
    Pairs out;
    for (const TopK::Entry& entry : top.sorted()) {
        out.emplace_back(entry.estimate, entry.id);
    }
    return out;
}

} // namespace
TEST(TopK, MatchesSorting) {
    Random random(1);
    for (size_t k : {1, 2, 10, 33, 100, 1000}) {
        for (size_t n : {0, 1, 9, 31, 100, 2000}) {
            for (int distinct : {1, 3, 100000}) { // many ties
                Pairs all;
                for (size_t i = 0; i < n; i++) {
                    all.emplace_back(float(random.between(-distinct, distinct - 1)), int64_t(i));
                }
                for (size_t i = n; i > 1; i--) {
                    std::swap(all[i - 1].second,
                              all[size_t(random.between(0, idx_t(i) - 1))].second);
                }
                TopK top(k);
                for (int round = 0; round < 2; round++) { // clear() lets it start again
                    top.clear();
                    for (const auto& [estimate, id] : all) {
                        top.push(estimate, Place::of_label(id));
                    }
                    ASSERT_EQ(pairs(top), best(all, k)) << k << " " << n << " " << distinct;
                }
            }
        }
    }
}

TEST(TopK, TighteningNeverLosesOne) {
    Random random(3);
    for (size_t k : {1, 2, 10, 16, 17, 100}) {
        for (size_t n : {1, 31, 32, 33, 64, 95, 250, 512}) {
            for (int distinct : {1, 3, 100000}) {
                std::vector<float> estimates;
                Pairs all;
                for (size_t i = 0; i < n; i++) {
                    estimates.push_back(float(random.between(-distinct, distinct - 1)));
                    all.emplace_back(estimates.back(), int64_t(n - i));
                }
                TopK top(k);
                EXPECT_EQ(top.is_open(), k <= 16);
                top.tighten(estimates.data(), n);
                EXPECT_EQ(top.is_open(), k <= 16 && n < 32);
                for (const auto& [estimate, id] : all) {
                    if (estimate <= top.bound()) {
                        top.push(estimate, Place::of_label(id));
                    }
                }
                ASSERT_EQ(pairs(top), best(all, k)) << k << " " << n << " " << distinct;
            }
        }
    }
    std::vector<float> overflowed(64, 1.0f);
    overflowed[5] = overflowed[37] = INFINITY;
    TopK top(10);
    top.tighten(overflowed.data(), overflowed.size());
    EXPECT_TRUE(top.is_open());
}

TEST(TopK, BoundNeverLosesOne) {
    Random random(2);
    Pairs all;
    TopK top(7);
    EXPECT_EQ(top.bound(), std::numeric_limits<float>::max());
    for (int i = 0; i < 3000; i++) {
        const float estimate = float(random.between(0, 50)) - float(i) / 100;
        all.emplace_back(estimate, 3000 - i);
        const Pairs now = best(all, 7);
        if (all.size() > 7) {
            ASSERT_GE(top.bound(), best(Pairs(all.begin(), all.end() - 1), 7).back().first);
        }
        if (estimate <= top.bound()) { // what the kernels let through
            top.push(estimate, Place::of_label(3000 - i));
        }
        if (i % 500 == 499) {
            ASSERT_EQ(pairs(TopK(top)), now);
        }
    }
    top.push(NAN, {0, 1});
    top.push(INFINITY, {0, 1});
    EXPECT_EQ(pairs(top), best(all, 7));
}

constexpr int kDim = 14;
constexpr idx_t kCount = 500;

struct Fixture {
    std::vector<float> x = clustered(kCount, kDim, 25, 31);
    std::unique_ptr<IndexVLC> index;
    explicit Fixture(faiss::MetricType metric) {
        VLCParameters p;
        p.codec = Codec::lattice;
        p.t1 = 0.8f; // with every term at work
        p.t2 = 0.6f;
        p.c = 0.3f;
        p.m = 9;
        p.bits_per_dim = 3;
        p.device = "reference";
        p.iterations = 4;
        index = std::make_unique<IndexVLC>(kDim, p, metric);
        index->train(kCount, x.data());
        index->add(kCount, x.data());
    }
};

Fixture& fixture(faiss::MetricType metric = faiss::METRIC_L2) {
    static Fixture l2(faiss::METRIC_L2), ip(faiss::METRIC_INNER_PRODUCT);
    return metric == faiss::METRIC_L2 ? l2 : ip;
}

TEST(Query, RanksListsByTheRoundedQueryAndTheirSpread) {
    // enough anchors for the bound over groups to matter
    Random random(4);
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (int i = 0; i < 12; i++) {
            const int m = std::array{1, 15, 16, 17, 130, 1000}[i / 2];
            auto model = std::make_unique<Model>(*fixture(metric).index->model);
            model->m = m;
            model->anchors8.assign(size_t(m) * 16, 0);
            for (int j = 0; j < m; j++) {
                for (int k = 0; k < kDim; k++) { // coarse: ties
                    model->anchors8[j * 16 + k] = int8_t(random.between(-2, 2));
                }
            }
            model->spread.clear();
            for (int j = 0; j < m; j++) {
                model->spread.push_back(float(random.between(1, 40)) / 16);
            }
            model->group.assign(m, 0);
            model->rank_bias = i % 2 ? 0.375f : 0.0f;
            model->finish();
            const float bias = model->rank_bias, energy = model->estimator.energy;
            Query query(*model);
            for (int trial = 0; trial < 20; trial++) {
                ASSERT_TRUE(query.set(&fixture().x[trial * 20 * kDim]));
                std::vector<std::pair<int, int64_t>> order;
                float largest = 0;
                std::vector<float> u(kDim);
                for (int k = 0; k < kDim; k++) {
                    const float v = fixture().x[trial * 20 * kDim + k];
                    u[k] = metric == faiss::METRIC_L2
                                   ? (v - model->lattice.mean[k]) * model->lattice.scale
                                   : v;
                    largest = std::max(largest, std::fabs(u[k]));
                }
                for (int j = 0; j < m; j++) {
                    int dot = 0, norm = 0, square = 0;
                    for (int k = 0; k < kDim; k++) {
                        const float v =
                                metric == faiss::METRIC_L2 ? u[k] : u[k] * (127.0f / largest);
                        const int q = int(std::lrint(std::min(127.0f, std::max(-127.0f, v))));
                        const int a = model->anchors8[j * 16 + k];
                        dot += q * a;
                        norm += a * a;
                        square += q * q;
                    }
                    const float e = model->spread[j];
                    if (metric == faiss::METRIC_L2) {
                        order.emplace_back(norm + int(bias * energy * (e * e) + 0.5f) - 2 * dot, j);
                    } else {
                        const float reach = bias * std::sqrt(energy) * e;
                        order.emplace_back(-dot - int(std::sqrt(float(square)) * reach + 0.5f), j);
                    }
                }
                std::sort(order.begin(), order.end());
                for (int nprobe : {1, 2, 5, 40, m, m + 10}) {
                    const std::vector<int64_t>& ranked = query.rank(nprobe);
                    ASSERT_EQ(int(ranked.size()), std::min(nprobe, m));
                    for (size_t i = 0; i < ranked.size(); i++) {
                        ASSERT_EQ(ranked[i], order[i].second) << m << " " << nprobe << " " << i;
                    }
                }
            }
        }
    }
}

/// The estimator of estimator.h for vector i of list j, in doubles, with the query's residual
/// rounded to 8 bits as scan.h says. `exact` takes the same without that rounding.
double formula(const Model& model, const VLCInvertedLists& lists, size_t j, size_t i,
               const float* x, double& exact) {
    const bool ip = model.metric == faiss::METRIC_INNER_PRODUCT;
    std::vector<uint8_t> code(lists.code_size);
    lists.copy_code(j, i, code.data());
    std::vector<float> anchor(kDim), decoded(kDim), u(16, 0), y(model.slots());
    model.anchor(int(j), anchor.data());
    model.decode(int(j), code.data(), decoded.data());
    const double scale = model.lattice.scale;
    double distance = 0, exact_dot = 0, norm = 0, anchor_dot = 0;
    for (int k = 0; k < kDim; k++) {
        const double toward = ip ? double(x[k]) : double(x[k]) - anchor[k];
        distance += toward * toward;
        exact_dot += toward * (double(decoded[k]) - anchor[k]);
        norm += double(x[k]) * x[k];
        anchor_dot += double(x[k]) * anchor[k];
        u[k] = ip ? x[k] : (x[k] - model.lattice.mean[k]) * model.lattice.scale;
    }
    model.frame_of(int(j)).rotate(u.data(), y.data());
    std::vector<uint8_t> level(model.slots());
    unpack_code(model.layout, code.data(), level.data());
    std::vector<double> w(model.slots());
    double most = 0, dot = 0;
    for (int s = 0; s < model.slots(); s++) {
        const float b = ip ? 0 : model.derived().anchor_rotated[j * model.slots() + s];
        w[s] = (y[s] - b) * model.steps_of(int(j))[s];
        most = std::max(most, std::fabs(w[s]));
    }
    for (int s = 0; s < model.layout.slots(); s++) {
        dot += std::round(w[s] * 127 / most) *
               (level[s] - 0.5 * model.derived().levels_less_one[s]);
    }
    const int factors = code[model.layout.code_bytes] | code[model.layout.code_bytes + 1] << 8;
    const double l = decode_length(uint16_t(factors));
    dot *= most / 127 * l * model.spread[j] / (ip ? scale : scale * scale);
    const Estimator& e = model.estimator;
    const double g = e.gamma[factors & 31], miss = 1 - g, blend = 1 + e.t2 * (1 / g - 1);
    const double square =
            l * l * double(e.energy) * model.spread[j] * model.spread[j] / (scale * scale);
    const double energy = e.energy / (scale * scale);
    if (ip) {
        const double most_product = anchor_dot + std::sqrt(norm * square);
        const double rest = anchor_dot - e.c * miss * std::sqrt(norm) * square / std::sqrt(energy);
        exact = std::min(most_product, rest + blend * exact_dot);
        return std::min(most_product, rest + blend * dot);
    }
    const double apart = std::sqrt(distance) - std::sqrt(square);
    const double usual = e.most_distance / (scale * scale);
    const double rest = distance + e.c * std::min(distance, usual) * miss * square / energy +
                        square * (g + e.t1 * miss);
    exact = std::max(apart * apart, rest - 2 * blend * exact_dot);
    return std::max(apart * apart, rest - 2 * blend * dot);
}

TEST(Scan, EstimatesFollowTheFormula) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const IndexVLC& index = *fixture(metric).index;
        const Model& model = *index.model;
        Query query(model);
        const SearchScope scope{model, index.lists()};
        double errors = 0, sizes = 0;
        for (idx_t q = 0; q < 20; q++) {
            const float* x = &fixture().x[q * 7 * kDim];
            ASSERT_TRUE(query.set(x));
            for (int64_t j = 0; j < 9; j++) {
                TopK top(kCount, &scope.lists);
                ASSERT_EQ(scan_lists(scope, query, 1, &j, top).vectors, index.lists().list_size(j));
                ASSERT_EQ(top.sorted().size(), index.lists().list_size(j));
                for (const auto& [estimate, id, place] : top.sorted()) {
                    EXPECT_EQ(place.list, j);
                    size_t i = 0;
                    while (index.lists().id(j, i) != id) {
                        i++;
                    }
                    std::vector<uint8_t> code(index.code_size);
                    index.lists().copy_code(j, i, code.data());
                    if (model.estimator.is_far(decode_length(model.factors_of(code.data())))) {
                        continue; // plain decoding
                    }
                    double exact = 0;
                    const double wanted = formula(model, index.lists(), j, i, x, exact);
                    const double got =
                            metric == faiss::METRIC_L2
                                    ? estimate / (double(model.lattice.scale) * model.lattice.scale)
                                    : double(query.distance(estimate));
                    ASSERT_NEAR(got, wanted, 2e-3 * (1 + std::fabs(wanted))) << q << " " << j;
                    errors += std::fabs(got - exact);
                    sizes += std::fabs(exact);
                }
            }
        }
        EXPECT_LT(errors, 0.03 * sizes) << metric;
    }
}

/// |q| in lattice coordinates, for inner products.
double query_norm(const Model& model, const std::vector<float>& x) {
    double square = 0;
    for (const float v : x) {
        square += double(v) * v;
    }
    return std::sqrt(square) * model.lattice.scale;
}

// What is known of a vector, its length and its list's anchor, bounds its estimate.
TEST(Scan, NoEstimateIsBelowWhatIsKnown) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const IndexVLC& index = *fixture(metric).index;
        Model model = *index.model; // whose estimates fall too low
        model.estimator.t1 = 0;
        model.estimator.t2 = 1;
        model.estimator.c = 0;
        for (float& gamma : model.estimator.gamma) {
            gamma *= 0.5f;
        }
        Query query(model);
        const SearchScope scope{model, index.lists()};
        int at_bound = 0, all = 0;
        for (idx_t q = 0; q < 20; q++) {
            std::vector<float> x(&fixture().x[q * 7 * kDim], &fixture().x[q * 7 * kDim] + kDim);
            for (float& v : x) { // some far away
                v *= q % 2 ? 1.0f : 20.0f;
            }
            ASSERT_TRUE(query.set(x.data()));
            for (int64_t j = 0; j < 9; j++) {
                const ListScan list = query.list(int(j));
                TopK top(kCount, &scope.lists);
                scan_lists(scope, query, 1, &j, top);
                ASSERT_EQ(top.sorted().size(), index.lists().list_size(j));
                for (const auto& [estimate, id, place] : top.sorted()) {
                    std::vector<uint8_t> code(index.code_size);
                    index.lists().copy_code(j, place.offset, code.data());
                    const double l = decode_length(
                            uint16_t(code[index.code_size - 2] | code[index.code_size - 1] << 8));
                    const double length = l * model.estimator.length_unit(model.spread[j]);
                    const double apart =
                            list.inner_product ? list.list_distance - query_norm(model, x) * length
                                               : std::sqrt(double(list.list_distance)) - length;
                    const double least = list.inner_product ? apart : apart * apart;
                    const double error = 1e-5 * (std::fabs(list.list_distance) + length * length);
                    ASSERT_GE(estimate, least - error) << q << " " << j;
                    at_bound += estimate < least + error;
                    all++;
                }
            }
        }
        EXPECT_GT(at_bound, all / 100) << metric; // it was needed
        EXPECT_LT(at_bound, all) << metric;
    }
}

TEST(Scan, StopsAfterMaxCodes) {
    const IndexVLC& index = *fixture().index;
    const VLCInvertedLists& lists = index.lists();
    Query query(*index.model);
    query.set(fixture().x.data());
    const std::vector<int64_t> order = query.rank(9);
    size_t sum = 0;
    for (size_t stop = 1; stop <= 9; stop++) {
        sum += lists.list_size(order[stop - 1]);
        SearchScope scope{*index.model, lists};
        scope.max_codes = sum; // reached exactly: the next list is not begun
        TopK top(kCount, &scope.lists);
        const Scanned whole = scan_lists(scope, query, 9, order.data(), top);
        EXPECT_EQ(whole.vectors, sum);
        EXPECT_EQ(whole.lists, stop);
        EXPECT_EQ(top.sorted().size(), sum);
        const auto in_lists = [&](size_t of, size_t cut) {
            return std::count_if(
                    top.sorted().begin(), top.sorted().end(), [&](const TopK::Entry& entry) {
                        return entry.place.list == order[of] && entry.place.offset < cut;
                    });
        };
        const size_t last = lists.list_size(order[stop - 1]);
        const size_t before = sum - last;
        for (const size_t of_last : {size_t(1), last / 3, last - 1}) { // the last list is cut
            scope.max_codes = before + of_last;
            top.clear();
            EXPECT_EQ(scan_lists(scope, query, 9, order.data(), top).vectors, scope.max_codes);
            EXPECT_EQ(top.sorted().size(), scope.max_codes);
            EXPECT_EQ(size_t(in_lists(stop - 1, of_last)), of_last);
        }
        scope.max_codes = before + 1; // enough, but for what is asked for
        scope.at_least = sum;
        top.clear();
        EXPECT_EQ(scan_lists(scope, query, 9, order.data(), top).vectors, sum);
    }
    EXPECT_EQ(sum, size_t(kCount));
}

// A cut list has the same best as the same vectors alone: what lies behind the cut leaves no trace.
TEST(Scan, WhatMaxCodesCutsOffIsNotSeen) {
    const IndexVLC& index = *fixture().index;
    Query query(*index.model);
    for (size_t q = 0; q < 20; q++) {
        query.set(&fixture().x[q * 11 * kDim]);
        const std::vector<int64_t> order = query.rank(9);
        for (size_t codes = 1; codes < 400; codes += 7) {
            SearchScope scope{*index.model, index.lists()};
            scope.max_codes = codes;
            TopK everything(kCount, &scope.lists), best(5, &scope.lists);
            scan_lists(scope, query, 9, order.data(), everything);
            scan_lists(scope, query, 9, order.data(), best);
            const auto& all = everything.sorted();
            ASSERT_EQ(all.size(), codes);
            ASSERT_EQ(best.sorted().size(), std::min<size_t>(5, codes));
            for (size_t i = 0; i < best.sorted().size(); i++) {
                ASSERT_EQ(best.sorted()[i].place, all[i].place) << q << " " << codes;
            }
        }
    }
}

TEST(Scan, RangesEndAfterEmptyLists) {
    const IndexVLC& index = *fixture().index;
    Query query(*index.model);
    query.set(fixture().x.data());
    const std::vector<int64_t> order = query.rank(9);
    const auto search = [&](size_t max_empty, float radius) {
        SearchScope scope{*index.model, index.lists()};
        scope.max_empty_lists = max_empty;
        faiss::RangeSearchResult result(1);
        faiss::RangeSearchPartialResult part(&result);
        faiss::RangeQueryResult& one = part.new_result(0);
        return scan_lists_range(scope, query, 9, order.data(), radius, one).lists;
    };
    EXPECT_EQ(search(0, -1), 9u); // nothing is that near
    EXPECT_EQ(search(1, -1), 1u);
    EXPECT_EQ(search(3, -1), 3u);
    EXPECT_EQ(search(1, 1e30f), 9u); // everything is
}

TEST(Scan, EntriesNameListAndOffset) {
    const IndexVLC& index = *fixture().index;
    Query query(*index.model);
    query.set(fixture().x.data());
    const std::vector<int64_t> order = query.rank(9);
    const SearchScope scope{*index.model, index.lists()};
    TopK top(50, &scope.lists);
    scan_lists(scope, query, 9, order.data(), top);
    for (const TopK::Entry& entry : top.sorted()) {
        EXPECT_EQ(index.lists().id(entry.place.list, entry.place.offset), entry.id);
    }
}

TEST(Scan, SkipsMissingListsAndSelects) {
    const IndexVLC& index = *fixture().index;
    Query query(*index.model);
    query.set(fixture().x.data());
    std::vector<int64_t> order = query.rank(9);
    SearchScope scope{*index.model, index.lists()};
    order[0] = -1;
    TopK top(kCount, &scope.lists);
    const size_t scanned = scan_lists(scope, query, 9, order.data(), top).vectors;
    EXPECT_LT(scanned, size_t(kCount));
    EXPECT_EQ(top.sorted().size(), scanned);
    faiss::IDSelectorRange range(50, 60);
    scope.sel = &range;
    const std::vector<int64_t> all = query.rank(9);
    top.clear();
    scan_lists(scope, query, 9, all.data(), top);
    EXPECT_EQ(top.sorted().size(), 10u);
}

} // namespace
} // namespace faiss_vlc
