// Regions of anchors as training makes them.

#include <omp.h>

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/tune/steps.h>

#include <tests/model/model_test.h>
#include <tests/support/region_index.h>
#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

constexpr int kDims = 12, kAnchors = 300;
constexpr int64_t kRows = 6000;

const std::vector<float>& vectors() {
    static const std::vector<float> x = clustered(kRows, kDims, 700, 3, 0.2);
    return x;
}

VLCParameters with(int regions) {
    VLCParameters p = small_parameters(kAnchors, 6);
    p.regions = regions;
    return p;
}

const Trained& trained_with(int regions, faiss::MetricType metric = faiss::METRIC_L2) {
    static std::map<std::pair<int, int>, Trained> made;
    Trained& t = made[{regions, int(metric)}];
    if (!t.model) {
        t = train_model(kRows, kDims, vectors().data(), with(regions), metric);
    }
    return t;
}

TEST(TuneRegions, EachAnchorIsInTheNearest) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Model& model = *trained_with(60, metric).model;
        const Regions& regions = model.regions;
        ASSERT_TRUE(regions.used());
        EXPECT_LE(regions.count(), 60);
        EXPECT_GT(regions.count(), 30);
        std::vector<int> sizes(size_t(regions.count()), 0);
        for (int j = 0; j < model.m; j++) {
            int nearest = 0;
            int64_t least = INT64_MAX;
            for (int r = 0; r < regions.count(); r++) {
                int64_t distance = 0;
                for (int k = 0; k < model.dp(); k++) {
                    const int64_t u = model.anchors8[size_t(j) * model.dp() + k] -
                                      regions.centres[size_t(r) * model.dp() + k];
                    distance += u * u;
                }
                if (distance < least) {
                    least = distance;
                    nearest = r;
                }
            }
            EXPECT_EQ(regions.of[j], nearest);
            sizes[nearest]++;
        }
        EXPECT_GT(*std::min_element(sizes.begin(), sizes.end()), 0);
        EXPECT_LT(*std::max_element(sizes.begin(), sizes.end()), kAnchors / 4);
        EXPECT_LT(regions.visited(2), regions.count());
    }
}

/// The trial's true neighbours in the first `nprobe` lists.
int64_t found_in(const Trained& t, const Trial& trial, int nprobe, bool exact) {
    const Model& model = *t.model;
    Query query(model);
    int64_t found = 0;
    for (size_t q = 0; q < trial.queries.size(); q++) {
        query.set(trial.queries[q]);
        const std::vector<int64_t> lists = query.rank(nprobe, exact ? model.m : 0);
        for (int c = 0; c < trial.neighbours; c++) {
            const int64_t row = trial.base[trial.candidate[q * trial.candidates + c]];
            found += std::count(lists.begin(), lists.end(), t.anchors.label[row]);
        }
    }
    return found;
}

TEST(TuneRegions, LoseNoMoreThanAThousandthOfTheNeighbours) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Trained& t = trained_with(60, metric);
        const Trial trial = make_trial(t.sample, *t.model);
        ASSERT_GT(trial.queries.size(), 500u);
        const int64_t sought = int64_t(trial.queries.size()) * trial.neighbours;
        int64_t all_lost = 0;
        for (const int nprobe : {1, 2, 3, 5, 8, t.model->default_nprobe, 32, 100}) {
            const int64_t lost =
                    found_in(t, trial, nprobe, true) - found_in(t, trial, nprobe, false);
            EXPECT_LE(lost * 1000, sought) << nprobe;
            all_lost += std::abs(lost);
        }
        EXPECT_GT(all_lost, 0); // it looks into as few as that
    }
}

TEST(TuneRegions, AreMadeWhereTheyPay) {
    EXPECT_FALSE(trained_with(0).model->regions.used());
    EXPECT_FALSE(trained_with(-1).model->regions.used()); // few anchors
    EXPECT_EQ(trained_with(0).model->default_nprobe, trained_with(60).model->default_nprobe);
    EXPECT_TRUE(trained_with(0).model->same_as(*trained_with(60).model)); // codes are the same
    // too few queries to tell
    const Trained few = train_model(600, kDims, vectors().data(), with(60));
    EXPECT_FALSE(few.model->regions.used());
    // more than anchors
    const Trained& many = trained_with(5000);
    EXPECT_TRUE(many.model->regions.used());
    EXPECT_LE(many.model->regions.count(), kAnchors);
    // all vectors are equal, and so all anchors
    const std::vector<float> same(2000 * kDims, 0.5f);
    VLCParameters p = with(5);
    p.m = 20;
    EXPECT_FALSE(train_model(2000, kDims, same.data(), p).model->regions.used());
}

// Those that are a little off the lattice are counted; those far from it look into all regions.
TEST(TuneRegions, QueriesALittleOffTheLatticeAreCounted) {
    const Trained& t = trained_with(0);
    const Lattice& lattice = t.model->lattice;
    const Trial usual = make_trial(t.sample, *t.model);
    for (const bool far : {false, true}) {
        Trial trial = usual;
        std::vector<float> x;
        for (const float* query : usual.queries) {
            x.insert(x.end(), query, query + kDims);
            put_off_lattice(lattice, kDims, far, &x[x.size() - kDims]);
        }
        for (size_t q = 0; q < trial.queries.size(); q++) {
            trial.queries[q] = &x[q * kDims];
        }
        const std::vector<int32_t> visits = choose_regions(t.anchors, trial, *t.model, 25).visits;
        EXPECT_EQ(visits.back() > 1, !far);
    }
}

uint64_t digest_of(const Regions& regions) {
    uint64_t hash = digest(regions.centres.data(), regions.centres.size());
    hash = digest(regions.of.data(), regions.of.size() * 4, hash);
    return digest(regions.visits.data(), regions.visits.size() * 4, hash);
}

TEST(TuneRegions, SameForAnyThreadCount) {
    const Trained& t = trained_with(0);
    const Trial trial = make_trial(t.sample, *t.model);
    const int threads = omp_get_max_threads();
    std::set<uint64_t> digests;
    for (const int some : {1, 2, 5}) {
        omp_set_num_threads(some);
        digests.insert(digest_of(choose_regions(t.anchors, trial, *t.model, 25)));
    }
    omp_set_num_threads(threads);
    EXPECT_EQ(digests.size(), 1u);
}

TEST(TuneRegionsChild, DISABLED_Digest) {
    report(std::to_string(digest_of(trained_with(25).model->regions)));
}

TEST(TuneRegions, SameAtEverySimdLevel) {
    std::set<std::string> digests;
    for (const char* const* name = simd_levels(); *name; name++) {
        digests.insert(
                run_child("TuneRegionsChild.DISABLED_Digest", std::string("VLC_SIMD=") + *name));
    }
    EXPECT_EQ(digests.size(), 1u);
    EXPECT_EQ(digests.count("failed"), 0u);
}

} // namespace
} // namespace faiss_vlc
