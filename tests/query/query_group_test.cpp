#include <faiss_vlc/query/query_group.h>

#include <omp.h>

#include <tests/support/index_vlc_test.h>
#include <tests/support/region_index.h>

namespace faiss_vlc {
namespace {

TEST(QueryGroup, SizeLeavesEachThreadItsShare) {
    EXPECT_EQ(QueryGroup::size_for(1, 8), 1);
    EXPECT_EQ(QueryGroup::size_for(3, 1), 3);
    EXPECT_EQ(QueryGroup::size_for(10, 64), 4);
    EXPECT_EQ(QueryGroup::size_for(1000, 64), 4);
    EXPECT_EQ(QueryGroup::size_for(1000, 16), 12);
    EXPECT_EQ(QueryGroup::size_for(100000, 2), QueryGroup::kLargestGroup);
    EXPECT_EQ(QueryGroup::size_for(1000, 16, 8), 8);
    Model model = *trained().model;
    EXPECT_EQ(QueryGroup::size_for(model, 100000, 2), QueryGroup::kLargestGroup);
    model.set_regions(ragged_regions(model, 3, {1}, 7));
    EXPECT_EQ(QueryGroup::size_for(model, 100000, 2), QueryGroup::kLargestWithRegions);
}

// Frames that all, some and single queries of a group want.
TEST(QueryGroup, AnySizeIsTheSameAsOneByOne) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        VLCParameters p = small();
        p.frames = 5;
        IndexVLC index(kDim, p, metric);
        index.train(kCount, base().data());
        index.add(kCount, base().data());
        ASSERT_EQ(index.model->frames.size(), 5u);
        std::vector<float> x = queries();
        x[3 * kDim] = std::numeric_limits<float>::quiet_NaN();
        for (const size_t nprobe : {1, 2, 7, 20}) {
            index.nprobe = nprobe;
            Results single;
            for (idx_t q = 0; q < kQueries; q++) {
                const Results one = search(index, 7, nullptr,
                                           {x.begin() + q * kDim, x.begin() + (q + 1) * kDim});
                single.label.insert(single.label.end(), one.label.begin(), one.label.end());
                single.distance.insert(single.distance.end(), one.distance.begin(),
                                       one.distance.end());
            }
            const int threads = omp_get_max_threads();
            for (const int t : {1, 2, 9}) {
                omp_set_num_threads(t);
                for (const idx_t n : {2, 3, 4, 5, 9, 31, 33, 40}) {
                    const Results together =
                            search(index, 7, nullptr, {x.begin(), x.begin() + n * kDim});
                    EXPECT_TRUE(std::equal(together.label.begin(), together.label.end(),
                                           single.label.begin()))
                            << n << " " << nprobe;
                    EXPECT_TRUE(std::equal(together.distance.begin(), together.distance.end(),
                                           single.distance.begin()))
                            << n << " " << nprobe;
                }
            }
            omp_set_num_threads(threads);
        }
    }
}

} // namespace
} // namespace faiss_vlc
