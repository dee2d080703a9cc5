// What add() counts of rows that are outside of what training saw.

#include <faiss/index_io.h>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>

#include <tests/storage/save_test.h>
#include <tests/support/index_vlc_test.h>

using namespace faiss_vlc;

namespace {

/// Rows of the training's kind, moved: n x kDim.
std::vector<float> moved(idx_t n, float by) {
    std::vector<float> x(base().begin(), base().begin() + n * kDim);
    for (float& v : x) {
        v += by;
    }
    return x;
}

std::string said(IndexVLC& index, const std::vector<float>& x) {
    testing::internal::CaptureStderr();
    index.add(idx_t(x.size()) / kDim, x.data());
    return testing::internal::GetCapturedStderr();
}

void expect_counts(const AddedRows& a, const AddedRows& b) {
    EXPECT_EQ(a.rows, b.rows);
    EXPECT_EQ(a.outside, b.outside);
    EXPECT_EQ(a.twice, b.twice);
    EXPECT_EQ(a.farthest, b.farthest);
}

} // namespace

TEST(IndexVLCAdded, CountsRowsOutsideAndWarnsOnce) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index(trained(metric));
        EXPECT_EQ(said(index, base()), "");
        const AddedRows usual = index.added_rows();
        EXPECT_EQ(usual.rows, kCount);
        EXPECT_LT(usual.outside, kCount / 50);

        EXPECT_EQ(said(index, moved(20, 8)), ""); // few
        EXPECT_EQ(index.added_rows().outside, usual.outside + 20);
        EXPECT_EQ(index.added_rows().twice, usual.twice + 20);
        // moved by as much in each dimension, and less only by what their anchors are off
        const float length = index.added_rows().farthest * index.model->usual_length;
        EXPECT_GT(length * index.model->estimator.length_unit(1) / index.model->lattice.scale, 20);

        const std::string warning = said(index, moved(200, 8));
        EXPECT_NE(warning.find("WARNING adding: "), std::string::npos) << warning;
        EXPECT_NE(warning.find("of the 1720 vectors added lie outside"), std::string::npos);
        EXPECT_EQ(said(index, moved(200, 8)), ""); // it was said
        index.reset();
        expect_counts(index.added_rows(), AddedRows());
        EXPECT_EQ(said(index, moved(999, 8)), ""); // too few to tell
        EXPECT_NE(said(index, moved(1, 8)), "");
    }
}

// Rows of usual length in directions that codes have no bits for.
TEST(IndexVLCAdded, CountsRowsThatCodesMiss) {
    Random random(3);
    std::vector<float> x(size_t(kCount) * kDim, 0);
    for (idx_t i = 0; i < kCount * kDim; i++) {
        x[i] = float(i % kDim < 4 ? random.normal() : 0.01 * random.normal());
    }
    VLCParameters parameters = small(8, 1);
    parameters.codec = Codec::lattice; // words have bits for all
    IndexVLC index(kDim, parameters);
    index.train(kCount, x.data());
    const auto moved_along = [&](int k) {
        std::vector<float> y(x.begin(), x.begin() + 100 * kDim);
        for (int i = 0; i < 100; i++) {
            y[i * kDim + k] += 1.0f;
        }
        return y;
    };
    EXPECT_EQ(said(index, moved_along(0)), "");
    const int64_t along = index.added_rows().outside;
    EXPECT_LT(along, 10);
    EXPECT_EQ(said(index, moved_along(20)), "");
    EXPECT_GT(index.added_rows().outside, along + 50);
}

TEST(IndexVLCAdded, FollowsMergesCopiesAndRemovals) {
    IndexVLC one(trained()), other(trained());
    one.add(100, base().data());
    other.add(30, moved(30, 8).data());
    const AddedRows first = one.added_rows(), second = other.added_rows();
    one.merge_from(other, 100);
    AddedRows both = first;
    both.add(second);
    expect_counts(one.added_rows(), both);
    EXPECT_EQ(both.outside, first.outside + 30);
    expect_counts(other.added_rows(), AddedRows());
    expect_counts(IndexVLC(one).added_rows(), both);
    one.remove_ids(faiss::IDSelectorRange(0, 50));
    expect_counts(one.added_rows(), both);
}

TEST(IndexVLCAdded, IsLeftAloneWhereAddingFails) {
    IndexVLC index(trained());
    std::vector<float> x = moved(3, 8);
    const std::vector<idx_t> lists = {0, 1, 99};
    EXPECT_THROW(index.add_core(3, x.data(), nullptr, lists.data()), faiss::FaissException);
    x[5] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_THROW(index.add(3, x.data()), faiss::FaissException);
    expect_counts(index.added_rows(), AddedRows());
    const std::vector<idx_t> left_out = {0, -1, -1};
    x = moved(3, 8);
    index.add_core(3, x.data(), nullptr, left_out.data());
    EXPECT_EQ(index.added_rows().rows, 1);
}

TEST(IndexVLCAdded, CountsReplacedRows) {
    for (const auto type : {faiss::DirectMap::Array, faiss::DirectMap::Hashtable}) {
        IndexVLC index(trained());
        index.set_direct_map_type(type);
        index.add(100, base().data());
        const int64_t before = index.added_rows().outside;
        std::vector<idx_t> ids = {3, 4, 5};
        index.update_vectors(3, ids.data(), moved(3, 8).data());
        EXPECT_EQ(index.added_rows().rows, 103);
        EXPECT_EQ(index.added_rows().outside, before + 3);
    }
}
