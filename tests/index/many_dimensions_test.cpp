#include <faiss_vlc/IndexVLC.h>

#include <cstdint>
#include <vector>

#include <omp.h>

#include <gtest/gtest.h>

#include <faiss_vlc/model/model.h>

#include <tests/support/index_test.h>
#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

/// Rows of d dimensions that vary along a few directions, and a little along all.
std::vector<float> rows_of(int n, int d, uint64_t seed) {
    constexpr int kDirections = 12;
    const std::vector<float> direction = Random(1).normals(size_t(kDirections) * d);
    Random random(seed);
    std::vector<float> x = random.normals(size_t(n) * d, 0.05f);
    for (int i = 0; i < n; i++) {
        for (int r = 0; r < kDirections; r++) {
            const float by = random.normals(1)[0];
            for (int k = 0; k < d; k++) {
                x[size_t(i) * d + k] += by * direction[size_t(r) * d + k];
            }
        }
    }
    return x;
}

VLCParameters small_parameters(int frames, FrameKind kind) {
    VLCParameters p;
    p.m = 4;
    p.bytes = 26;
    p.iterations = 3;
    p.frames = frames;
    p.frame = kind;
    p.codec = Codec::lattice;
    p.device = "reference";
    return p;
}

Bytes trained_bytes(int d, const VLCParameters& p, const std::vector<float>& x) {
    IndexVLC index(d, p);
    index.train(int64_t(x.size()) / d, x.data());
    return written(index);
}

/// Trains on few rows, adds them, saves and loads, and finds each row by itself.
void go_through(int d, int frames, FrameKind kind, int second_bytes = 0) {
    const int n = 100;
    const std::vector<float> x = rows_of(n, d, 2);
    VLCParameters params = small_parameters(frames, kind);
    params.second_bytes = second_bytes;
    IndexVLC index(d, params);
    index.train(n, x.data());
    ASSERT_EQ(index.second_code_size(), size_t(second_bytes));
    ASSERT_LT(index.model->frames[0].kept, 8 * 24 + 4);
    ASSERT_EQ(index.model->frames[0].rows.size(), size_t(index.model->frames[0].kept) * d);
    index.add(n, x.data());
    index.nprobe = 4;
    const IndexPtr loaded = read(written(index));
    std::vector<float> distance(n), again(n);
    std::vector<int64_t> label(n), same(n);
    index.search(n, x.data(), 1, distance.data(), label.data());
    loaded->search(n, x.data(), 1, again.data(), same.data());
    EXPECT_EQ(label, same);
    EXPECT_EQ(distance, again);
    int found = 0;
    for (int i = 0; i < n; i++) {
        found += label[i] == i;
    }
    EXPECT_GT(found, kind == FrameKind::principal ? n * 9 / 10 : 0) << d;
}

TEST(ManyDimensions, FromTrainingToAFileAndBack) {
    go_through(600, 2, FrameKind::principal);
    go_through(5000, 2, FrameKind::principal);
    go_through(5000, 1, FrameKind::identity);
    go_through(16384, 1, FrameKind::principal);
}

TEST(ManyDimensions, WithASecondTier) {
    go_through(600, 2, FrameKind::principal, 83);
    go_through(1536, 1, FrameKind::principal, 211);
    go_through(5000, 1, FrameKind::identity, 4);
}

TEST(ManyDimensions, AnyNumberOfThreadsGivesTheSameFile) {
    for (int d : {700, 4999}) {
        const std::vector<float> x = rows_of(80, d, 3);
        VLCParameters p = small_parameters(2, FrameKind::principal);
        p.second_bytes = 90;
        omp_set_num_threads(1);
        const Bytes first = trained_bytes(d, p, x);
        for (int threads : {2, 3}) {
            omp_set_num_threads(threads);
            EXPECT_EQ(trained_bytes(d, p, x), first) << threads;
        }
    }
}

TEST(ManyDimensions, MoreThanTheMostAreRefused) {
    EXPECT_NO_THROW(IndexVLC(16384, 4));
    EXPECT_THROW(IndexVLC(16385, 4), faiss::FaissException);
}

} // namespace
} // namespace faiss_vlc
