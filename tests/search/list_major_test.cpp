#include <faiss_vlc/search/list_major.h>

#include <omp.h>

#include <faiss/IndexIVF.h>

#include <tests/support/index_vlc_test.h>

namespace faiss_vlc {
namespace {

constexpr int kLists = 20;

int size_for(int64_t n, int threads, size_t probes, size_t k, SearchScope scope) {
    return ListMajor::size_for(scope, n, threads, probes, k);
}

TEST(ListMajor, IsForManyProbesAndSharedLists) {
    const IndexVLC& index = trained();
    const SearchScope scope{*index.model, index.lists()};
    ASSERT_EQ(scope.lists.nlist, size_t(kLists));
    if (index.model->layout.has_words()) {
        EXPECT_EQ(size_for(100000, 2, 16, 10, scope), 0); // a table costs more than codes' loads
        return;
    }
    EXPECT_EQ(size_for(1, 1, 16, 10, scope), 0);
    EXPECT_EQ(size_for(4, 1, 15, 10, scope), 0); // too few lists a query
    EXPECT_EQ(size_for(3, 1, 16, 10, scope), 0); // too few queries
    EXPECT_EQ(size_for(4, 1, 16, 10, scope), 2);
    EXPECT_EQ(size_for(4, 2, 16, 10, scope), 0);
    EXPECT_EQ(size_for(8, 2, 16, 10, scope), 2);
    EXPECT_EQ(size_for(100000, 2, 16, 10, scope), 10); // eight queries a list
    EXPECT_EQ(size_for(100000, 2, 20, 10, scope), 8);
    EXPECT_EQ(size_for(100000, 2, 20, 1 << 15, scope), 4); // memory of the results
    EXPECT_EQ(size_for(100000, 2, 20, 1 << 20, scope), 0);
    SearchScope limited = scope;
    limited.max_probes = 19;
    EXPECT_EQ(size_for(100000, 2, 18, 10, limited), 0);
    EXPECT_EQ(size_for(100000, 2, 19, 10, limited), 8);
    limited.max_codes = 100;
    EXPECT_EQ(size_for(100000, 2, 19, 10, limited), 0);
}

/// Every third vector is there three times, so that equal estimates go by their ids.
IndexVLC with_duplicates(faiss::MetricType metric) {
    VLCParameters p = small(kLists);
    p.frames = 3;
    IndexVLC index(kDim, p, metric);
    index.train(kCount, base().data());
    index.add(kCount, base().data());
    for (int again = 0; again < 2; again++) {
        for (idx_t i = 0; i < kCount; i += 3) {
            index.add(1, &base()[i * kDim]);
        }
    }
    index.remove_ids(faiss::IDSelectorRange(40, 45)); // ids aren't places
    return index;
}

TEST(ListMajor, IsTheSameAsOneByOne) {
    faiss::IDSelectorRange range(100, 700);
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const IndexVLC index = with_duplicates(metric);
        std::vector<float> x = queries();
        x[3 * kDim] = std::numeric_limits<float>::quiet_NaN();
        for (const faiss::IDSelector* sel :
             {(faiss::IDSelector*)nullptr, (faiss::IDSelector*)&range}) {
            SearchScope scope{*index.model, index.lists()};
            scope.sel = sel;
            for (const int n : {1, 2, 3, 5, 8, 39, 40}) {
                for (const int probes : {1, 2, 5, 19, 20}) {
                    for (const size_t k : {1, 7, 33, 2000}) {
                        QueryGroup group(*index.model, n);
                        group.set(n, x.data());
                        group.rank(probes, 0, n % 2 == 0); // sorted or not
                        group.rotate();
                        std::vector<TopK> tops(n, TopK(k, &scope.lists));
                        ListMajor list_major;
                        const Scanned scanned = list_major.scan(scope, group, tops);
                        Scanned wanted;
                        for (int q = 0; q < n; q++) {
                            Query query(*index.model);
                            TopK top(k, &scope.lists);
                            if (query.set(&x[q * kDim])) {
                                const std::vector<int64_t> lists = query.rank(probes);
                                wanted += scan_lists(scope, query, lists.size(), lists.data(), top);
                            }
                            const auto &expected = top.sorted(), &met = tops[q].sorted();
                            ASSERT_EQ(met.size(), expected.size()) << n << " " << probes;
                            for (size_t i = 0; i < met.size(); i++) {
                                ASSERT_EQ(met[i].place, expected[i].place) << q << " " << probes;
                                ASSERT_EQ(met[i].estimate, expected[i].estimate);
                            }
                        }
                        EXPECT_EQ(scanned.lists, wanted.lists);
                        EXPECT_EQ(scanned.vectors, wanted.vectors);
                    }
                }
            }
        }
    }
}

// Through search(), which takes it for these batches, with threads and a last group of fewer.
TEST(ListMajor, BatchesAreTheSameAsSingleQueries) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index = with_duplicates(metric);
        index.nprobe = 18;
        const Results single = [&] {
            Results all;
            for (idx_t q = 0; q < kQueries; q++) {
                const Results one = search(index, 9, nullptr,
                                           {&queries()[q * kDim], &queries()[q * kDim] + kDim});
                all.label.insert(all.label.end(), one.label.begin(), one.label.end());
                all.distance.insert(all.distance.end(), one.distance.begin(), one.distance.end());
            }
            return all;
        }();
        const int threads = omp_get_max_threads();
        for (const int t : {1, 2, 5}) {
            omp_set_num_threads(t);
            for (const idx_t n : {20, 21, 33, 40}) {
                const SearchScope scope{*index.model, index.lists()};
                ASSERT_EQ(size_for(n, t, 18, 9, scope) > 1, !index.model->layout.has_words());
                faiss::indexIVF_stats.reset();
                const Results batch = search(index, 9, nullptr,
                                             {queries().begin(), queries().begin() + n * kDim});
                EXPECT_TRUE(
                        std::equal(batch.label.begin(), batch.label.end(), single.label.begin()));
                EXPECT_TRUE(std::equal(batch.distance.begin(), batch.distance.end(),
                                       single.distance.begin()));
                EXPECT_EQ(faiss::indexIVF_stats.nq, size_t(n));
                EXPECT_GE(faiss::indexIVF_stats.ndis, size_t(n) * 1000);
            }
        }
        omp_set_num_threads(threads);
    }
}

} // namespace
} // namespace faiss_vlc
