#include <faiss_vlc/query/level_query.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <faiss_vlc/kernels/simd.h>

#include <tests/support/fine_index.h>
#include <tests/support/index_test.h>
#include <tests/support/index_vlc_test.h>

namespace faiss_vlc {
namespace {

constexpr int kDimension = 48;
constexpr int kBytes = kDimension + kFactorBytes; // 8 bits for each axis
constexpr int kLists = 64;

/// Rows whose axes differ in variance: along the strongest a query's residual is long, and all of
/// them decide which rows are near.
std::vector<float> uneven(int64_t n, uint32_t seed) {
    Random random(seed);
    std::vector<float> x(size_t(n) * kDimension);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = float(random.normal() / double(1 + i % kDimension));
    }
    return x;
}

const std::vector<float>& uneven_rows() {
    static const std::vector<float> x = uneven(8000, 1);
    return x;
}

const IndexVLC& uneven_index() {
    static const std::unique_ptr<IndexVLC> index = [] {
        VLCParameters params = small(kLists);
        params.bytes = kBytes;
        params.codec = Codec::lattice;
        auto made = std::make_unique<IndexVLC>(kDimension, params, faiss::METRIC_L2);
        made->train(int64_t(uneven_rows().size()) / kDimension, uneven_rows().data());
        made->nprobe = kLists;
        return made;
    }();
    return *index;
}

/// The `k` nearest rows of each query, exactly.
std::vector<std::vector<int64_t>> nearest(const std::vector<float>& x, const std::vector<float>& q,
                                          int k) {
    std::vector<std::vector<int64_t>> all;
    const size_t n = x.size() / kDimension;
    for (size_t at = 0; at < q.size(); at += kDimension) {
        std::vector<double> distance(n);
        for (size_t i = 0; i < n; i++) {
            for (int c = 0; c < kDimension; c++) {
                const double apart = double(x[i * kDimension + c]) - q[at + c];
                distance[i] += apart * apart;
            }
        }
        std::vector<int64_t> order(n);
        std::iota(order.begin(), order.end(), 0);
        std::partial_sort(order.begin(), order.begin() + k, order.end(),
                          [&](int64_t a, int64_t b) { return distance[a] < distance[b]; });
        order.resize(k);
        all.push_back(order);
    }
    return all;
}

double share_of(const std::vector<std::vector<int64_t>>& truth,
                const std::vector<std::vector<int64_t>>& met) {
    double found = 0, all = 0;
    for (size_t q = 0; q < truth.size(); q++) {
        for (const int64_t id : met[q]) {
            found += std::count(truth[q].begin(), truth[q].end(), id);
        }
        all += double(truth[q].size());
    }
    return found / all;
}

std::vector<std::vector<int64_t>> labels(const Results& results, int k) {
    std::vector<std::vector<int64_t>> all;
    for (size_t at = 0; at < results.label.size(); at += k) {
        all.emplace_back(results.label.begin() + at, results.label.begin() + at + k);
    }
    return all;
}

TEST(LevelQuery, TheFinePlaneIsWhatRoundingLeft) {
    Model model = *uneven_index().model;
    const int n = model.slots();
    Random random(3);
    for (const bool fine : {false, true}) {
        model.fine_queries = fine;
        LevelQuery query(model);
        for (const double scale : {1.0, 1e-10, 1e10}) {
            const std::vector<float> y = random.normals(n, scale), base = random.normals(n, scale);
            const int j = int(random.between(0, model.m - 1));
            const float largest = query.round(y.data(), base.data(), j);
            ASSERT_EQ(query.fine() != nullptr, fine);
            int32_t half = 0, fine_half = 0;
            for (int s = 0; s < n; s++) {
                const float w = (y[s] - base[s]) * model.steps_of(j)[s];
                EXPECT_NEAR(query.component(s), 127.0 * w / largest, fine ? 0.0041 : 0.501) << s;
                half += query.plane()[s] * model.derived().levels_less_one[s];
                fine_half += fine ? query.fine()[s] * model.derived().levels_less_one[s] : 0;
                EXPECT_LE(fine ? std::abs(query.fine()[s]) : 0, 64);
            }
            EXPECT_EQ(query.half(), half);
            EXPECT_EQ(fine ? query.fine_half() : 0, fine_half);
        }
        const std::vector<float> none(n, 2.5f); // a query that is the anchor
        EXPECT_EQ(query.round(none.data(), none.data(), 0), 0);
        EXPECT_EQ(query.fine(), nullptr);
        EXPECT_EQ(query.half(), 0);
    }
}

TEST(FineQueries, AreChosenWhereRoundingCostsRecall) {
    constexpr int k = 10;
    const IndexVLC& index = uneven_index();
    EXPECT_TRUE(index.model->fine_queries);
    const std::vector<float> asked = uneven(300, 2);
    const auto truth = nearest(uneven_rows(), asked, k);
    double recall[2];
    std::vector<float> decoded(uneven_rows().size());
    for (const bool fine : {false, true}) {
        const auto own = with_fine_queries(index, fine, uneven_rows());
        own->nprobe = kLists;
        recall[fine] = share_of(truth, labels(::search(*own, asked, k), k));
        own->reconstruct_n(0, own->ntotal, decoded.data());
    }
    const double by_decoding = share_of(truth, nearest(decoded, asked, k));
    EXPECT_GE(recall[1], by_decoding - 0.01);
    if (index.model->second) { // whose estimates are of queries with more bits
        EXPECT_GE(recall[1], recall[0] - 0.01);
    } else {
        EXPECT_GE(recall[1], recall[0] + 0.005) << "one plane finds as much";
    }
}

TEST(FineQueries, AreNotForCoarseCodes) {
    VLCParameters params = small(kLists, 4);
    params.codec = Codec::lattice;
    IndexVLC index(kDimension, params, faiss::METRIC_L2);
    index.train(int64_t(uneven_rows().size()) / kDimension, uneven_rows().data());
    EXPECT_FALSE(index.model->fine_queries);
}

TEST(FineQueries, AreKeptByFilesAndCopies) {
    const auto own = with_fine_queries(uneven_index(), true, uneven_rows());
    const auto usual = with_fine_queries(uneven_index(), false, uneven_rows());
    own->nprobe = usual->nprobe = kLists;
    const std::vector<float> asked = uneven(50, 4);
    const Results wanted = ::search(*own, asked);
    // by a second tier these are estimated anew, in both the same way
    EXPECT_EQ(::search(*usual, asked) == wanted, own->model->second != nullptr);
    const Bytes bytes = written(*own);
    EXPECT_GT(bytes.size(), written(*usual).size());
    const IndexPtr again = read(bytes);
    EXPECT_TRUE(vlc_of(*again)->model->fine_queries);
    EXPECT_EQ(::search(*again, asked), wanted);
    EXPECT_EQ(written(*again), bytes);
    const IndexVLC copy(*own);
    EXPECT_EQ(::search(copy, asked), wanted);
}

// One by one, list by list, by ranges, by scanners and by all threads.
TEST(FineQueries, AllWaysFindTheSame) {
    const auto own = with_fine_queries(uneven_index(), true, uneven_rows());
    own->nprobe = kLists;
    const std::vector<float> asked = uneven(64, 5);
    const Results together = ::search(*own, asked);
    for (size_t q = 0; q < 64; q++) {
        const std::vector<float> one(&asked[q * kDimension], &asked[q * kDimension] + kDimension);
        const Results alone = ::search(*own, one);
        ASSERT_TRUE(std::equal(alone.label.begin(), alone.label.end(), &together.label[q * 5]));
        ASSERT_TRUE(std::equal(alone.distance.begin(), alone.distance.end(),
                               &together.distance[q * 5]));
        std::unique_ptr<faiss::InvertedListScanner> scanner(own->get_InvertedListScanner(false));
        scanner->set_query(one.data());
        for (int i = 0; i < 5; i++) {
            const int64_t id = alone.label[i];
            for (size_t list = 0; list < own->nlist; list++) {
                const auto* ids = own->invlists->get_ids(list);
                const auto* end = ids + own->invlists->list_size(list);
                const auto* at = std::find(ids, end, id);
                if (at != end) {
                    scanner->set_list(int64_t(list), 0);
                    const uint8_t* code = own->invlists->get_single_code(list, size_t(at - ids));
                    EXPECT_EQ(scanner->distance_to_code(code), alone.distance[i]);
                    own->invlists->release_codes(list, code);
                }
                own->invlists->release_ids(list, ids);
            }
        }
    }
}

} // namespace
} // namespace faiss_vlc
