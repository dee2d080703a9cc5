// Searches of codes in two tiers, by whatever way.

#include <faiss_vlc/search/refine.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <string>

#include <faiss/impl/AuxIndexStructures.h>

#include <tests/support/index_vlc_test.h>
#include <tests/support/tier_index.h>

namespace faiss_vlc {
namespace {

/// A first tier of levels or of words, L2 or inner products, refined by decoding (as few dimensions
/// are) or by sums.
struct Kind {
    Codec codec;
    faiss::MetricType metric;
    bool sums = false;

    bool product() const { return metric == faiss::METRIC_INNER_PRODUCT; }
    int factors() const { return !sums ? 1 : product() ? 2 : 3; }
    std::string name() const {
        return std::string(codec == Codec::block ? "words" : "levels") +
               (product() ? " ip" : " l2") + (sums ? " sums" : "");
    }
};

const Kind kKinds[] = {{Codec::lattice, faiss::METRIC_L2},
                       {Codec::lattice, faiss::METRIC_INNER_PRODUCT},
                       {Codec::block, faiss::METRIC_L2},
                       {Codec::block, faiss::METRIC_INNER_PRODUCT},
                       {Codec::lattice, faiss::METRIC_L2, true},
                       {Codec::lattice, faiss::METRIC_INNER_PRODUCT, true},
                       {Codec::block, faiss::METRIC_L2, true},
                       {Codec::block, faiss::METRIC_INNER_PRODUCT, true}};

VLCParameters two_tiers(Codec codec, int first, int second, int m = 20) {
    VLCParameters p = small(m);
    p.codec = codec;
    p.bytes = first;
    p.second_bytes = second;
    return p;
}

/// Few bytes first, so that the second tier has much to say; empty. Those that differ in their
/// factors alone are of one training.
const IndexVLC& trained_tiers(const Kind& kind) {
    static std::map<std::string, std::unique_ptr<IndexVLC>> made;
    std::unique_ptr<IndexVLC>& index = made[kind.name()];
    if (!index && kind.sums) {
        Kind other = kind;
        other.sums = false;
        index = with_factors(trained_tiers(other), kind.factors());
    } else if (!index) {
        index = std::make_unique<IndexVLC>(kDim, two_tiers(kind.codec, 5, 17), kind.metric);
        index->train(kCount, base().data());
    }
    return *index;
}

/// Trained and filled once; tests take copies.
IndexVLC two_tiered(const Kind& kind) {
    static std::map<std::string, std::unique_ptr<IndexVLC>> made;
    std::unique_ptr<IndexVLC>& index = made[kind.name()];
    if (!index) {
        index = std::make_unique<IndexVLC>(trained_tiers(kind));
        index->add(kCount, base().data());
        index->nprobe = 6;
    }
    return IndexVLC(*index);
}

/// The recall of first codes alone, with all lists probed.
double recall_of_first(const Kind& kind) {
    static std::map<std::pair<Codec, int>, double> known;
    const auto at = std::make_pair(kind.codec, int(kind.metric));
    if (known.count(at) == 0) {
        IndexVLC one(kDim, two_tiers(kind.codec, 5, 0), kind.metric);
        one.train(kCount, base().data());
        one.add(kCount, base().data());
        one.nprobe = one.nlist;
        known[at] = recall(search(one, 10), 10, base(), kind.product());
    }
    return known[at];
}

/// All vectors of some lists by their estimates by both tiers, the best first.
std::vector<std::pair<float, idx_t>> by_both(const IndexVLC& index, const float* q,
                                             const std::vector<idx_t>& lists) {
    const SearchScope scope{*index.model, index.lists()};
    Query query(*index.model);
    Refine refine(scope);
    std::vector<std::pair<float, idx_t>> all;
    if (!query.set(q)) {
        return all;
    }
    refine.start();
    for (const idx_t j : lists) {
        for (size_t i = 0; j >= 0 && i < index.lists().list_size(size_t(j)); i++) {
            const float estimate = refine.estimate(query, Place{uint32_t(j), uint32_t(i)});
            all.emplace_back(estimate, index.lists().id(size_t(j), i));
        }
    }
    std::sort(all.begin(), all.end());
    for (auto& one : all) {
        one.first = query.distance(one.first);
    }
    return all;
}

std::vector<idx_t> probed(const IndexVLC& index, const float* q) {
    Query query(*index.model);
    query.set(q);
    return query.rank(int(index.nprobe));
}

Results brute_force(const IndexVLC& index, const std::vector<float>& x, idx_t k) {
    Results r;
    for (size_t at = 0; at < x.size(); at += size_t(index.d)) {
        const auto all = by_both(index, &x[at], probed(index, &x[at]));
        for (idx_t i = 0; i < k; i++) {
            const bool is_there = size_t(i) < all.size();
            const float none = index.metric_type == faiss::METRIC_L2 ? kWorst : -kWorst;
            r.distance.push_back(is_there ? all[size_t(i)].first : none);
            r.label.push_back(is_there ? all[size_t(i)].second : -1);
        }
    }
    return r;
}

/// Queries, one of them NaN, one huge, one zero.
std::vector<float> odd_queries() {
    std::vector<float> x = queries();
    x[3 * kDim] = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(&x[5 * kDim], kDim, 1e20f);
    std::fill_n(&x[6 * kDim], kDim, 0.0f);
    return x;
}

TEST(Refine, AllRefinedIsBruteForceByBothTiers) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        IndexVLC index = two_tiered(kind);
        EXPECT_EQ(index.code_size, size_t(5 + 16 + kind.factors()));
        index.refine_k = size_t(index.ntotal);
        std::vector<float> x = queries();
        x.resize(20 * kDim);
        for (const idx_t k : {idx_t(1), idx_t(10), idx_t(200), kCount}) {
            const Results met = search(index, k, nullptr, x);
            ASSERT_EQ(met, brute_force(index, x, k)) << k;
        }
    }
}

TEST(Refine, IsTheSameOneByOneInBatchesAndByAnyThreads) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        IndexVLC index = two_tiered(kind);
        const std::vector<float> x = odd_queries();
        const int threads = omp_get_max_threads();
        for (const size_t nprobe : {1, 5, 20}) { // 20: list by list, where there are levels
            index.nprobe = nprobe;
            const Results batch = search(index, 7, nullptr, x);
            for (idx_t q = 0; q < kQueries; q++) {
                const Results one = search(index, 7, nullptr,
                                           {x.begin() + q * kDim, x.begin() + (q + 1) * kDim});
                ASSERT_TRUE(std::equal(one.label.begin(), one.label.end(), &batch.label[q * 7]));
                ASSERT_TRUE(std::equal(one.distance.begin(), one.distance.end(),
                                       &batch.distance[q * 7]));
            }
            for (const int t : {1, 2, 5}) {
                omp_set_num_threads(t);
                EXPECT_EQ(search(index, 7, nullptr, x), batch) << t;
            }
            omp_set_num_threads(threads);
        }
    }
}

// A lone query on so many vectors that all threads share its lists.
TEST(Refine, ALoneQueryByAllThreadsIsTheSame) {
    for (const Kind& kind : {kKinds[0], kKinds[3], kKinds[4]}) {
        SCOPED_TRACE(kind.name());
        IndexVLC index = two_tiered(kind);
        for (int again = 0; again < 70; again++) {
            index.add(kCount, base().data());
        }
        index.nprobe = index.nlist;
        const std::vector<float> one(queries().begin(), queries().begin() + kDim);
        const int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        const Results expected = search(index, 100, nullptr, one);
        omp_set_num_threads(3);
        EXPECT_EQ(search(index, 100, nullptr, one), expected);
        omp_set_num_threads(threads);
        EXPECT_EQ(expected.label[1], expected.label[0] + kCount); // the same vector, added again
    }
}

TEST(Refine, ListsThatAreGivenAreSearchedAlike) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        IndexVLC index = two_tiered(kind);
        const idx_t k = 10;
        const std::vector<float> x = queries();
        std::vector<idx_t> lists;
        for (idx_t q = 0; q < kQueries; q++) {
            const std::vector<idx_t> own = probed(index, &x[size_t(q * kDim)]);
            lists.insert(lists.end(), own.begin(), own.end());
        }
        Results met{std::vector<float>(kQueries * k), std::vector<idx_t>(kQueries * k)};
        index.search_preassigned(kQueries, x.data(), k, lists.data(), nullptr, met.distance.data(),
                                 met.label.data(), false);
        EXPECT_EQ(met, search(index, k, nullptr, x));
        // pairs name the entries that the labels are of
        index.search_preassigned(kQueries, x.data(), k, lists.data(), nullptr, met.distance.data(),
                                 met.label.data(), true);
        for (idx_t& label : met.label) {
            const Place place = Place::of_label(label);
            label = index.lists().id(place.list, place.offset);
        }
        EXPECT_EQ(met, search(index, k, nullptr, x));
    }
}

TEST(Refine, TheScannerOfOneListEstimatesByBothTiers) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        const IndexVLC index = two_tiered(kind);
        const std::unique_ptr<faiss::InvertedListScanner> scanner(
                index.get_InvertedListScanner(false));
        for (const idx_t q : {0, 7, 39}) {
            const float* x = &queries()[size_t(q * kDim)];
            scanner->set_query(x);
            for (idx_t j = 0; j < idx_t(index.nlist); j++) {
                const size_t size = index.lists().list_size(size_t(j));
                scanner->set_list(j, 0);
                std::map<idx_t, float> expected;
                for (const auto& [distance, id] : by_both(index, x, {j})) {
                    expected[id] = distance;
                }
                faiss::InvertedLists::ScopedCodes codes(&index.lists(), size_t(j));
                for (size_t i = 0; i < size; i++) {
                    ASSERT_EQ(scanner->distance_to_code(codes.get() + i * index.code_size),
                              expected[index.lists().id(size_t(j), i)]);
                }
            }
        }
    }
}

TEST(Refine, SelectorsAndFewResults) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        IndexVLC index = two_tiered(kind);
        index.refine_k = size_t(index.ntotal);
        faiss::IDSelectorRange some(100, 130);
        SearchParametersVLC params;
        params.nprobe = index.nprobe;
        params.sel = &some;
        const Results met = search(index, 40, &params);
        const Results all = search(index, kCount);
        for (idx_t q = 0; q < kQueries; q++) {
            std::vector<idx_t> wanted;
            std::copy_if(&all.label[size_t(q * kCount)], &all.label[size_t(q * kCount)] + kCount,
                         std::back_inserter(wanted),
                         [](idx_t id) { return id >= 100 && id < 130; });
            wanted.resize(40, -1);
            ASSERT_EQ(wanted, std::vector<idx_t>(&met.label[size_t(q * 40)],
                                                 &met.label[size_t(q * 40)] + 40));
        }
        // further lists, until there are k
        params.nprobe = 1;
        params.max_probes = index.nlist;
        for (const idx_t label : search(index, 3, &params).label) {
            EXPECT_TRUE(label >= 100 && label < 130);
        }
    }
}

TEST(Refine, CountOfOneSearchRulesOverTheIndexs) {
    IndexVLC index = two_tiered(kKinds[0]);
    SearchParametersVLC params;
    params.nprobe = index.nprobe;
    params.refine_k = 20;
    const Results twenty = search(index, 10, &params);
    index.refine_k = 20;
    EXPECT_EQ(search(index, 10), twenty);
    EXPECT_EQ(search(IndexVLC(index), 10), twenty); // copies keep it
    params.refine_k = 10;
    EXPECT_FALSE(search(index, 10, &params) == twenty);
    params.refine_k = 1; // never fewer than k
    const Results one = search(index, 10, &params);
    params.refine_k = 10;
    EXPECT_EQ(search(index, 10, &params), one);
    params.refine_k = size_t(1) << 40; // as many as there are
    index.refine_k = size_t(index.ntotal);
    EXPECT_EQ(search(index, 10, &params), search(index, 10));
}

TEST(Refine, CountGoesByTheListsProbed) {
    const IndexVLC& trained = trained_tiers(kKinds[0]);
    auto tier = std::make_shared<SecondTier>(*trained.model->second);
    tier->refined = 200;
    tier->refined_usual = 20;
    auto model = std::make_shared<Model>(*trained.model);
    model->add_second(tier);
    IndexVLC index(model, trained.parameters);
    index.add(kCount, base().data());
    SearchParametersVLC usual, given;
    const auto count = [&](size_t probes) {
        return size_t(index.model->second->count_for(10, index.ntotal,
                                                     double(probes) / index.model->default_nprobe));
    };
    EXPECT_LT(count(1), count(index.nlist));
    for (const size_t probes : {size_t(1), size_t(6), index.nlist}) {
        usual.nprobe = given.nprobe = probes;
        given.refine_k = count(probes);
        EXPECT_EQ(search(index, 10, &usual), search(index, 10, &given)) << probes;
    }
    given.refine_k = count(1);
    EXPECT_FALSE(search(index, 10, &usual) == search(index, 10, &given));
}

double recall_of(const IndexVLC& index) {
    return recall(search(index, 10), 10, base(), index.metric_type == faiss::METRIC_INNER_PRODUCT);
}

TEST(Refine, FindsMoreThanTheFirstTierAlone) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        IndexVLC two = two_tiered(kind);
        two.nprobe = two.nlist;
        const double first = recall_of_first(kind), both = recall_of(two);
        EXPECT_GT(both, first + 0.1);
        EXPECT_GT(both, 0.9);
        two.refine_k = size_t(two.ntotal); // and training's choice leaves little to find
        EXPECT_GT(both, recall_of(two) - 0.03);
    }
}

TEST(Refine, OwnRowsComeFirst) {
    for (const Kind& kind : kKinds) {
        if (kind.product()) {
            continue;
        }
        SCOPED_TRACE(kind.name());
        const IndexVLC index = two_tiered(kind);
        const Results r = search(index, 1, nullptr, base());
        idx_t own = 0;
        for (idx_t i = 0; i < kCount; i++) {
            own += r.label[size_t(i)] == i;
        }
        EXPECT_GT(own, kCount * 99 / 100);
    }
}

TEST(Refine, DistancesAreThoseOfDecodedVectorsNearly) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        const IndexVLC index = two_tiered(kind);
        const Results r = search(index, 10);
        double error = 0, size = 0;
        for (idx_t i = 0; i < kQueries * 10; i++) {
            const double truth =
                    true_distance(kDim, &queries()[size_t(i / 10 * kDim)],
                                  &base()[size_t(r.label[size_t(i)] * kDim)], kind.product()) *
                    (kind.product() ? -1 : 1);
            error += std::fabs(r.distance[size_t(i)] - truth);
            size += std::fabs(truth);
        }
        EXPECT_LT(error, (kind.sums ? 0.04 : 0.03) * size); // steps of a wide alpha
    }
}

TEST(Refine, RangesHoldWhatBothTiersSay) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        IndexVLC index = two_tiered(kind);
        index.nprobe = index.nlist;
        std::vector<idx_t> lists(index.nlist);
        std::iota(lists.begin(), lists.end(), 0);
        size_t found = 0, sought = 0;
        for (idx_t q = 0; q < kQueries; q++) {
            const float* x = &queries()[size_t(q * kDim)];
            const auto all = by_both(index, x, lists);
            const float radius = all[20].first;
            faiss::RangeSearchResult result(1);
            index.range_search(1, x, radius, &result);
            std::map<idx_t, float> expected;
            for (const auto& [distance, id] : all) {
                if (kind.product() ? distance > radius : distance < radius) {
                    expected[id] = distance;
                }
            }
            sought += expected.size();
            for (size_t i = result.lims[0]; i < result.lims[1]; i++) {
                ASSERT_EQ(expected.count(result.labels[i]), 1u); // nothing else
                ASSERT_EQ(result.distances[i], expected[result.labels[i]]);
                found++;
            }
        }
        EXPECT_GT(sought, size_t(kQueries) * 15);
        EXPECT_GE(double(found), 0.98 * double(sought));
        // everything, and nothing
        faiss::RangeSearchResult everything(1), nothing(1);
        const float infinity = std::numeric_limits<float>::infinity();
        index.range_search(1, queries().data(), kind.product() ? -infinity : infinity, &everything);
        index.range_search(1, queries().data(), kind.product() ? 1e30f : 0.0f, &nothing);
        EXPECT_EQ(everything.lims[1], size_t(kCount));
        EXPECT_EQ(nothing.lims[1], 0u);
    }
}

// Rows far outside of what training saw are found by themselves, and leave others alone.
TEST(Refine, FarRowsAreNotGarbled) {
    for (const Kind& kind : kKinds) {
        if (kind.product()) {
            continue;
        }
        SCOPED_TRACE(kind.name());
        IndexVLC index = two_tiered(kind);
        index.nprobe = index.nlist;
        const Results before = search(index, 10);
        Random random(8);
        std::vector<float> far;
        constexpr idx_t kCoded = 15; // by both tiers; a scale ends at 3,700 times the usual
        for (const double times : {3, 10, 100, 10000}) {
            const std::vector<float> rows = random.normals(5 * kDim, 3 * times);
            far.insert(far.end(), rows.begin(), rows.end());
        }
        const idx_t n = idx_t(far.size()) / kDim;
        index.add(n, far.data());
        const Results own = search(index, 1, nullptr, far);
        std::vector<float> row(kDim);
        for (idx_t i = 0; i < n; i++) {
            EXPECT_EQ(own.label[size_t(i)], kCount + i);
            const double length =
                    true_distance(kDim, &far[size_t(i * kDim)], std::vector<float>(kDim, 0).data());
            EXPECT_LT(own.distance[size_t(i)], (i < kCoded ? 0.05 : 1.0) * length) << i;
            index.reconstruct(kCount + i, row.data());
            EXPECT_LT(true_distance(kDim, &far[size_t(i * kDim)], row.data()),
                      (i < kCoded ? 0.1 : 1.0) * length)
                    << i;
        }
        const Results after = search(index, 10);
        EXPECT_GT(std::inner_product(after.label.begin(), after.label.end(), before.label.begin(),
                                     0, std::plus<>(), std::equal_to<>()),
                  int(before.label.size()) * 99 / 100);
    }
}

TEST(Refine, EmptyAndSmallIndexes) {
    for (const Kind& kind : kKinds) {
        SCOPED_TRACE(kind.name());
        IndexVLC index = two_tiered(kind);
        index.reset();
        const Results none = search(index, 5);
        EXPECT_TRUE(std::all_of(none.label.begin(), none.label.end(),
                                [](idx_t label) { return label == -1; }));
        index.add(3, base().data());
        index.nprobe = index.nlist;
        index.refine_k = 1000;
        const Results r = search(index, 5);
        for (idx_t q = 0; q < kQueries; q++) {
            EXPECT_EQ(std::count(&r.label[size_t(q * 5)], &r.label[size_t(q * 5)] + 5, -1), 2);
        }
        EXPECT_EQ(r, brute_force(index, queries(), 5));
    }
}

/// x in an index of two tiers: whatever it is like, all of it can be searched.
void expect_usable(int d, const std::vector<float>& x, const VLCParameters& p,
                   faiss::MetricType metric) {
    const idx_t n = idx_t(x.size()) / d;
    IndexVLC index(d, p, metric);
    index.train(n, x.data());
    index.add(n, x.data());
    index.nprobe = index.nlist;
    ASSERT_TRUE(index.model->second != nullptr);
    EXPECT_EQ(index.second_code_size(), size_t(index.model->second->code_size()));
    const std::vector<float> some(x.begin(), x.begin() + std::min<idx_t>(20, n) * d);
    const Results r = search(index, std::min<idx_t>(n, 5), nullptr, some);
    for (size_t i = 0; i < r.label.size(); i++) {
        ASSERT_TRUE(r.label[i] >= 0 && r.label[i] < n);
        ASSERT_TRUE(std::isfinite(r.distance[i]));
    }
    for (const float radius : {kWorst, std::numeric_limits<float>::infinity()}) {
        faiss::RangeSearchResult everything(1);
        index.range_search(1, x.data(), metric == faiss::METRIC_L2 ? radius : -radius, &everything);
        EXPECT_EQ(everything.lims[1], size_t(n));
    }
    index.refine_k = size_t(n);
    EXPECT_EQ(search(index, 3, nullptr, some), brute_force(index, some, 3));
}

TEST(Refine, FewDimensionsAndOddData) {
    constexpr int kRows = 120;
    const auto quickly = [](Codec codec, int first, int second, int m) {
        VLCParameters p = two_tiers(codec, first, second, m);
        p.iterations = 2;
        return p;
    };
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const Codec codec : {Codec::lattice, Codec::block, Codec::automatic}) {
            for (const int d : {1, 2, 3, 4}) {
                SCOPED_TRACE(std::to_string(d) + " " + std::to_string(int(codec)));
                for (const int second : {4, 5, 100}) {
                    expect_usable(d, clustered(kRows, d, 7, 5), quickly(codec, 3, second, 8),
                                  metric);
                }
                Random random(6);
                std::vector<float> discrete(size_t(kRows * d));
                for (float& v : discrete) {
                    v = float(random.between(0, 2));
                }
                expect_usable(d, discrete, quickly(codec, 3, 4, 4), metric);
                expect_usable(d, std::vector<float>(size_t(kRows * d), 5.0f),
                              quickly(codec, 3, 6, 2), metric);
                expect_usable(d, std::vector<float>(size_t(kRows * d), 0.0f),
                              quickly(codec, 3, 6, 2), metric);
            }
            expect_usable(30, clustered(4, 30, 2, 5), quickly(codec, 6, 20, 2), metric);
            // so many that only the leading axes are sought
            expect_usable(600, std::vector<float>(600 * 20, 1.0f), quickly(codec, 16, 40, 2),
                          metric);
        }
    }
}

TEST(Refine, BitsOfBothTiersMakeTheirSizes) {
    VLCParameters p = small(8);
    p.bits_per_dim = 1;
    p.second_bits = 4;
    EXPECT_EQ(p.first_size(24), 5);
    EXPECT_EQ(p.second_size(24), 15);
    EXPECT_EQ(p.code_size(24), 20);
    IndexVLC index(24, p);
    EXPECT_EQ(index.code_size, 20u);
    EXPECT_EQ(index.second_code_size(), 15u);
    index.train(500, base().data());
    EXPECT_EQ(index.code_size, 20u);
    EXPECT_EQ(index.second_code_size(), 15u);
    p.second_bytes = 3;
    EXPECT_MESSAGE(IndexVLC(24, p), "second_bytes: expected at least 4, or 0 for none, got 3");
    p.second_bytes = 0;
    p.second_bits = 9;
    EXPECT_MESSAGE(IndexVLC(24, p), "second_bits: expected 0.125 to 8, or 0 for none, got 9");
}

TEST(Refine, TrainingIsTheSameByAnyThreads) {
    const int threads = omp_get_max_threads();
    for (const Kind& kind : {kKinds[0], kKinds[3]}) {
        const IndexVLC& expected = trained_tiers(kind);
        for (const int t : {1, 3}) {
            omp_set_num_threads(t);
            IndexVLC index(kDim, two_tiers(kind.codec, 5, 17), kind.metric);
            index.train(kCount, base().data());
            EXPECT_TRUE(index.model->same_as(*expected.model)) << t;
            EXPECT_EQ(index.model->second->refined, expected.model->second->refined);
            EXPECT_EQ(index.model->second->range_slack, expected.model->second->range_slack);
        }
        omp_set_num_threads(threads);
    }
}

} // namespace
} // namespace faiss_vlc
