#include <algorithm>
#include <utility>
#include <vector>

#include <faiss_vlc/model/model.h>

#include <tests/support/fine_index.h>
#include <tests/support/index_test.h>
#include <tests/support/index_vlc_test.h>

// Vectors in groups that are far narrower than they are apart: fine rotation (axes/frame.h).

namespace faiss_vlc {
namespace {

constexpr int kLists = 64;

/// Groups that are `wide`, in d dimensions.
std::vector<float> groups(int64_t n, int d, double apart, double wide, uint32_t seed) {
    constexpr size_t kGroups = 30;
    Random places(5), random(seed);
    const std::vector<float> centre = places.normals(kGroups * size_t(d), apart);
    std::vector<float> x = random.normals(size_t(n) * size_t(d), wide);
    for (size_t i = 0; i < size_t(n); i++) {
        const size_t from = random.bits() % kGroups * size_t(d);
        for (size_t k = 0; k < size_t(d); k++) {
            x[i * size_t(d) + k] += centre[from + k];
        }
    }
    return x;
}

/// A query's 10 nearest rows. Not by FAISS, to which such rows are all alike.
std::vector<int64_t> nearest(const std::vector<float>& rows, const float* query, int d) {
    constexpr size_t kWanted = 10;
    std::vector<std::pair<double, int64_t>> all;
    for (size_t at = 0; at < rows.size(); at += size_t(d)) {
        double square = 0;
        for (size_t k = 0; k < size_t(d); k++) {
            const double apart = double(rows[at + k]) - query[k];
            square += apart * apart;
        }
        all.emplace_back(square, int64_t(all.size()));
    }
    std::partial_sort(all.begin(), all.begin() + kWanted, all.end());
    std::vector<int64_t> found;
    for (size_t i = 0; i < kWanted; i++) {
        found.push_back(all[i].second);
    }
    return found;
}

/// The share of the nearest that a search of all lists finds, and that decoded vectors would.
std::pair<double, double> found_and_decoded(IndexVLC& index, const std::vector<float>& base,
                                            const std::vector<float>& asked) {
    const int d = index.d;
    index.nprobe = index.nlist;
    std::vector<float> decoded(base.size());
    index.make_direct_map();
    index.reconstruct_n(0, index.ntotal, decoded.data());
    const Results results = ::search(index, asked, 10);
    int found = 0, by_decoding = 0;
    for (size_t q = 0; q * size_t(d) < asked.size(); q++) {
        const float* query = &asked[q * size_t(d)];
        const std::vector<int64_t> near_decoded = nearest(decoded, query, d);
        const auto label = results.label.begin() + ptrdiff_t(q) * 10;
        for (const int64_t id : nearest(base, query, d)) {
            found += int(std::count(label, label + 10, id));
            by_decoding += int(std::count(near_decoded.begin(), near_decoded.end(), id));
        }
    }
    const auto all = double(results.label.size());
    return {found / all, by_decoding / all};
}

IndexVLC made(int d, int bytes, const std::vector<float>& rows) {
    VLCParameters params = small(kLists);
    params.bytes = bytes;
    params.codec = Codec::automatic;
    IndexVLC index(d, params);
    index.train(int64_t(rows.size()) / d, rows.data());
    return index;
}

TEST(NarrowGroups, AreFoundAsByDecoding) {
    constexpr int kRows = 12000, kAsked = 200;
    for (const int d : {2, 3}) {
        const std::vector<float> base = groups(kRows, d, 100, 0.05, 1);
        const std::vector<float> asked = groups(kAsked, d, 100, 0.05, 2);
        const IndexVLC index = made(d, d, base);
        EXPECT_TRUE(index.model->fine_rotation) << d;
        const auto fine = with_fine_rotation(index, true, base);
        const auto [found, decoded] = found_and_decoded(*fine, base, asked);
        EXPECT_GE(found, decoded - 0.01) << d;
        const auto usual = with_fine_rotation(index, false, base);
        // a second tier mends what coarse turning costs the first one
        const double more = index.model->second ? -0.01 : 0.02;
        EXPECT_GE(found, found_and_decoded(*usual, base, asked).first + more) << d;
    }
}

// The second of the day beside features: what is far longer than the rest need not be groups.
TEST(NarrowGroups, OneLargeDimensionIsLikeThem) {
    constexpr int d = 32;
    Random random(4);
    std::vector<float> rows = random.normals(5000 * d);
    for (size_t at = 0; at < rows.size(); at += d) {
        rows[at] = float(86400 * random.unit());
    }
    EXPECT_TRUE(made(d, 16, rows).model->fine_rotation);
}

TEST(NarrowGroups, OthersNeedNoFineRotation) {
    EXPECT_FALSE(made(16, 18, groups(5000, 16, 1, 1, 1)).model->fine_rotation);
    EXPECT_FALSE(made(96, 26, groups(5000, 96, 1, 0.5, 1)).model->fine_rotation);
    EXPECT_FALSE(trained().model->fine_rotation);
}

TEST(NarrowGroups, FilesAndCopiesTurnFinelyToo) {
    const int n = 4000, d = 2;
    const std::vector<float> base = groups(n, d, 100, 0.05, 1), asked = groups(50, d, 100, 1, 2);
    IndexVLC index = made(d, 2, base);
    ASSERT_TRUE(index.model->fine_rotation);
    index.add(n, base.data());
    index.nprobe = 4;
    const Results wanted = ::search(index, asked, 10);
    const IndexPtr again = read(written(index));
    EXPECT_TRUE(vlc_of(*again)->model->fine_rotation);
    EXPECT_EQ(::search(*again, asked, 10), wanted);
    const IndexVLC copy(index);
    EXPECT_EQ(::search(copy, asked, 10), wanted);
    again->add(n, base.data());
    index.add(n, base.data());
    EXPECT_EQ(written(*again), written(index));
}

// Queries one by one and together.
TEST(NarrowGroups, AllWaysFindTheSame) {
    const int n = 4000, d = 2;
    const std::vector<float> base = groups(n, d, 100, 0.05, 1), asked = groups(64, d, 100, 1, 2);
    IndexVLC index = made(d, 2, base);
    index.add(n, base.data());
    index.nprobe = kLists;
    const Results together = ::search(index, asked, 10);
    for (size_t q = 0; q < 64; q++) {
        const std::vector<float> one(&asked[q * d], &asked[q * d] + d);
        const Results alone = ::search(index, one, 10);
        ASSERT_TRUE(std::equal(alone.distance.begin(), alone.distance.end(),
                               &together.distance[q * 10]));
        ASSERT_TRUE(std::equal(alone.label.begin(), alone.label.end(), &together.label[q * 10]));
    }
}

} // namespace
} // namespace faiss_vlc
