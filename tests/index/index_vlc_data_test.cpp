#include <faiss_vlc/IndexVLC.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <faiss/IndexFlat.h>

#include <faiss_vlc/index_io.h>

#include <tests/support/results.h>
#include <tests/support/unit_test.h>

// Data of unusual shapes and scales.

namespace faiss_vlc {
namespace {

using idx_t = int64_t;

VLCParameters small(int m, float bits = 4) {
    VLCParameters p;
    p.m = m;
    p.bits_per_dim = bits;
    p.device = "reference";
    p.iterations = 5;
    p.codec = test_codec();
    return p;
}

Results train_and_search(int d, const std::vector<float>& x, const VLCParameters& p, idx_t queries,
                         idx_t k, faiss::MetricType metric = faiss::METRIC_L2) {
    const idx_t n = idx_t(x.size()) / d;
    IndexVLC index(d, p, metric);
    index.train(n, x.data());
    index.add(n, x.data());
    EXPECT_EQ(index.ntotal, n);
    index.nprobe = index.nlist;
    return search(index, {x.begin(), x.begin() + queries * d}, k);
}

/// Each query is one of the vectors: the first label should be it, or one as near.
double share_of_itself(const Results& r, idx_t k) {
    idx_t hits = 0;
    for (size_t i = 0; i < r.label.size(); i += k) {
        hits += std::count(&r.label[i], &r.label[i] + k, idx_t(i) / k);
    }
    return double(hits) / double(r.label.size() / k);
}

void expect_valid(const Results& r, idx_t n) {
    for (size_t i = 0; i < r.label.size(); i++) {
        ASSERT_GE(r.label[i], 0) << i;
        ASSERT_LT(r.label[i], n);
        ASSERT_FALSE(std::isnan(r.distance[i]));
    }
}

TEST(Data, AllDimensions) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (int d : {1, 2, 3, 5, 17, 31, 100}) {
            for (float bits : {0.5f, 2.0f, 3.3f, 8.0f}) {
                const idx_t n = 200;
                const std::vector<float> x = clustered(n, d, 20, uint64_t(d));
                const Results r = train_and_search(d, x, small(6, bits), 20, 10, metric);
                expect_valid(r, n);
                if (HasFatalFailure()) {
                    FAIL() << "d " << d << " bits " << bits << " metric " << metric;
                }
                if (bits == 8 && metric == faiss::METRIC_L2) {
                    EXPECT_GT(share_of_itself(r, 10), 0.9) << d;
                }
            }
        }
    }
}

TEST(Data, Float16Anchors) {
    VLCParameters p = small(8);
    p.grid = AnchorGrid::float16;
    const std::vector<float> x = clustered(400, 20, 20, 5);
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Results r = train_and_search(20, x, p, 50, 5, metric);
        expect_valid(r, 400);
        if (metric == faiss::METRIC_L2) {
            EXPECT_GT(share_of_itself(r, 5), 0.9);
        }
    }
}

TEST(Data, TinyCounts) {
    const std::vector<float> x = clustered(40, 9, 7, 3);
    for (idx_t n : {1, 2, 3, 10, 40}) {
        for (int m : {1, 2, int(n), 0}) {
            if (m > n) {
                continue;
            }
            const std::vector<float> part(x.begin(), x.begin() + n * 9);
            const Results r = train_and_search(9, part, small(m), n, n);
            expect_valid(r, n); // each row has all of them
            for (idx_t q = 0; q < n; q++) {
                const std::set<idx_t> all(&r.label[q * n], &r.label[q * n] + n);
                ASSERT_EQ(idx_t(all.size()), n) << n << " " << m;
            }
        }
    }
}

TEST(Data, DuplicatesOnly) {
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (float value : {0.0f, 3.5f, -1e6f}) {
            const std::vector<float> x(300 * 12, value);
            const Results r = train_and_search(12, x, small(5), 4, 7, metric);
            expect_valid(r, 300);
            const double truth = metric == faiss::METRIC_L2 ? 0 : 12.0 * value * value;
            for (size_t i = 0; i < r.label.size(); i++) {
                EXPECT_EQ(r.label[i], idx_t(i % 7)); // equal distances go by the smaller id
                EXPECT_NEAR(r.distance[i], truth, 1e-5 * truth);
            }
        }
    }
}

TEST(Data, ConstantDimensions) {
    std::vector<float> x = clustered(500, 16, 25, 8);
    for (size_t i = 0; i < x.size(); i++) {
        if (i % 16 % 3 != 1) {
            x[i] = float(i % 16) * 100;
        }
    }
    const Results r = train_and_search(16, x, small(8), 50, 5);
    expect_valid(r, 500);
    EXPECT_GT(share_of_itself(r, 5), 0.9);
    // all but one
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = i % 16 == 7 ? float(i / 16) : -4.0f;
    }
    const Results line = train_and_search(16, x, small(8), 50, 5);
    for (size_t i = 0; i < line.label.size(); i++) {
        EXPECT_NEAR(double(line.label[i]), double(i / 5), 12) << i;
    }
}

TEST(Data, AFewDistinctVectors) {
    std::vector<float> x(400 * 8);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = (i / 8) % 2 ? 1.0f : (i % 8 == 0 ? 5.0f : 0.0f);
    }
    const Results r = train_and_search(8, x, small(10), 40, 10);
    expect_valid(r, 400);
    for (size_t i = 0; i < r.label.size(); i++) {
        EXPECT_EQ(r.label[i] % 2, idx_t(i / 10 % 2));
    }
}

TEST(Data, HugeOffsets) {
    std::vector<float> x = clustered(600, 16, 30, 9);
    const Results plain = train_and_search(16, x, small(8), 60, 5);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = x[i] * 64 + (i % 2 ? 1e6f : -3e5f); // floats there step by 1/16 and less
    }
    const Results moved = train_and_search(16, x, small(8), 60, 5);
    expect_valid(moved, 600);
    EXPECT_GE(share_of_itself(moved, 5), share_of_itself(plain, 5) - 0.05);
}

// A corrupt component or two must not take the lattice's resolution away from all others.
TEST(Data, CorruptComponents) {
    const int d = 16;
    std::vector<float> x = clustered(2000, d, 30, 9);
    const Results plain = train_and_search(d, x, small(8), 60, 5);
    for (float value : {1e3f, 1e6f, 1e30f}) {
        x[1999 * d + 3] = value;
        const Results r = train_and_search(d, x, small(8), 60, 5);
        expect_valid(r, 2000);
        EXPECT_GE(share_of_itself(r, 5), share_of_itself(plain, 5) - 0.1) << value;
    }
}

// Powers of two only move exponents, so nothing that training decides may change.
TEST(Data, ScalesDoNotMatter) {
    const int d = 16;
    const std::vector<float> x = clustered(600, d, 30, 10);
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        const Results plain = train_and_search(d, x, small(8), 60, 10, metric);
        for (int exponent : {-66, -40, 40, 66}) {
            std::vector<float> scaled = x;
            for (float& v : scaled) {
                v = std::ldexp(v, exponent);
            }
            const Results r = train_and_search(d, scaled, small(8), 60, 10, metric);
            idx_t same = 0;
            for (size_t i = 0; i < r.label.size(); i++) {
                same += r.label[i] == plain.label[i];
            }
            EXPECT_GE(double(same), 0.95 * double(r.label.size()))
                    << "2^" << exponent << " metric " << metric;
            for (float v : r.distance) { // overflows to infinity at most
                ASSERT_FALSE(std::isnan(v)) << "2^" << exponent << " metric " << metric;
            }
            if (std::abs(exponent) == 40) {
                for (size_t i = 0; i < r.label.size(); i++) {
                    const double wanted = std::ldexp(double(plain.distance[i]), 2 * exponent);
                    ASSERT_NEAR(r.distance[i], wanted, 1e-5 * std::fabs(wanted));
                }
            }
        }
    }
}

/// Of rows that an index trained on others gets, the share that comes first where it is looked for
/// itself with every list probed, and the mean of |x - x^|^2 over |x - a|^2.
struct Unlike {
    double first, error;
};

Unlike add_and_find(IndexVLC& index, const std::vector<float>& x) {
    const int d = index.d;
    const idx_t n = idx_t(x.size()) / d, old = index.ntotal;
    index.add(n, x.data());
    index.nprobe = index.nlist;
    std::vector<float> distance(n), decoded(d), anchor(d);
    std::vector<idx_t> label(n), list(n);
    index.search(n, x.data(), 1, distance.data(), label.data());
    index.quantizer->assign(n, x.data(), list.data());
    Unlike met{};
    for (idx_t i = 0; i < n; i++) {
        met.first += double(label[i] == old + i) / double(n);
        index.reconstruct(old + i, decoded.data());
        index.quantizer->reconstruct(list[i], anchor.data());
        met.error += true_distance(d, &x[i * d], decoded.data()) /
                     true_distance(d, &x[i * d], anchor.data()) / double(n);
    }
    return met;
}

// Rows far from the training's: lengths that its residuals don't have.
TEST(Data, RowsUnlikeTheTrainings) {
    const int d = 32;
    Random random(21);
    IndexVLC trained(d, small(16));
    trained.train(4000, random.normals(4000 * d).data());
    IndexVLC usual = trained;
    const std::vector<float> like = random.normals(500 * d);
    const Unlike own = add_and_find(usual, like);
    EXPECT_GT(own.first, 0.99);
    EXPECT_LT(own.error, 0.02);
    for (const double times : {10.0, 30.0, 300.0}) {
        IndexVLC index = trained;
        const Unlike met = add_and_find(index, random.normals(500 * d, times));
        EXPECT_GT(met.first, 0.99) << times;
        EXPECT_LT(met.error, 1.1 * own.error) << times;
    }
    // rows that have all moved; those of the last two are nearer each other than codes can tell
    for (const double away : {2.5, 50.0, 1000.0}) {
        IndexVLC index = trained;
        const Unlike met = add_and_find(index, random.normals(500 * d, 1, away));
        EXPECT_GT(met.first, away < 10 ? 0.99 : 0) << away;
        EXPECT_LT(met.error, 1.1 * own.error) << away;
    }
}

/// How many of the ten nearest rows a search of all lists finds, and how many are among the ten
/// whose decoded vectors are nearest.
std::pair<double, double> found_and_decoded(const IndexVLC& index, const std::vector<float>& base,
                                            const std::vector<float>& queries) {
    const int d = index.d, k = 10;
    const idx_t rows = idx_t(base.size()) / d, n = idx_t(queries.size()) / d;
    std::vector<float> decoded(base.size());
    index.reconstruct_n(0, rows, decoded.data());
    faiss::IndexFlatL2 exact(d), flat(d);
    exact.add(rows, base.data());
    flat.add(rows, decoded.data());
    const Results truth = search(exact, queries, k);
    const auto share = [&](const Results& met) {
        int hits = 0;
        for (idx_t q = 0; q < n; q++) {
            const auto from = truth.label.begin() + q * k;
            for (int i = 0; i < k; i++) {
                hits += int(std::count(from, from + k, met.label[size_t(q * k + i)]));
            }
        }
        return hits / double(n * k);
    };
    return {share(search(index, queries, k)), share(search(flat, queries, k))};
}

// Where terms that training chose don't fit, a search is as good as plain decoding all the same.
TEST(Data, MovedRowsAreFoundAsByDecoding) {
    const int d = 64, n = 5000, queries = 300;
    for (const double away : {1.0, 2.5, 4.0}) {
        Random random(31);
        std::vector<float> base = random.normals(n * d);
        IndexVLC index(d, small(32, 2));
        index.train(n, base.data());
        const std::vector<float> moved = random.normals(n * d, 1, away);
        base.insert(base.end(), moved.begin(), moved.end());
        index.add(2 * n, base.data());
        index.make_direct_map();
        index.nprobe = index.nlist;
        const std::vector<float> asked = random.normals(queries * d, 1, away);
        const auto [found, decoded] = found_and_decoded(index, base, asked);
        EXPECT_GT(decoded, 0.05);
        EXPECT_GE(found, decoded - 0.01) << away;
    }
}

TEST(Data, FewNonzerosAreFoundAsByDecoding) {
    const int d = 256, n = 6000, queries = 300;
    Random random(33);
    std::vector<float> rows(size_t(n + queries) * d);
    for (int i = 0; i < n + queries; i++) {
        for (int nonzero = 0; nonzero < 3; nonzero++) {
            rows[size_t(i) * d + random.bits() % d] = float(random.unit() + 0.5);
        }
    }
    const std::vector<float> asked(rows.begin() + ptrdiff_t(n) * d, rows.end());
    rows.resize(size_t(n) * d);
    IndexVLC index(d, small(32, 0.5f));
    index.train(n, rows.data());
    index.add(n, rows.data());
    index.make_direct_map();
    index.nprobe = index.nlist;
    const auto [found, decoded] = found_and_decoded(index, rows, asked);
    EXPECT_GE(found, decoded - 0.01);
}

// Wild rows in training must not own what lengths are counted in: the others are found as well, and
// what training chose can be stored.
TEST(Data, WildRowsInTraining) {
    const int d = 16, n = 2000, wild = 20;
    Random random(8);
    for (const float factor : {1e3f, 1e5f, 1e8f}) {
        std::vector<float> x(size_t(n) * d);
        for (int i = 0; i < n * d; i++) {
            x[i] = float(random.normal()) * (i < wild * d ? factor : 1.0f);
        }
        IndexVLC index(d, small(16, 8));
        index.train(n, x.data());
        index.add(n, x.data());
        index.nprobe = index.nlist;
        const std::vector<float> usual(x.begin() + wild * d, x.begin() + (wild + 200) * d);
        const Results found = search(index, usual, 1);
        int itself = 0;
        for (size_t i = 0; i < found.label.size(); i++) {
            itself += found.label[i] == idx_t(i) + wild;
        }
        EXPECT_GT(itself, 190) << factor;
        const std::string path = testing::TempDir() + "/wild.vlc";
        write_index(&index, path.c_str());
        const std::unique_ptr<faiss::Index> again(read_index(path.c_str()));
        EXPECT_EQ(search(*again, usual, 1), found);
    }
}

TEST(Data, FewRowsOneOfThemWild) {
    const int d = 8, n = 200;
    Random random(9);
    std::vector<float> x(size_t(n) * d);
    for (float& v : x) {
        v = float(random.normal());
    }
    x[3] = 1e9f;
    IndexVLC index(d, small(4));
    index.train(n, x.data());
    index.add(n, x.data());
    const std::string path = testing::TempDir() + "/one_wild.vlc";
    write_index(&index, path.c_str());
    EXPECT_EQ(std::unique_ptr<faiss::Index>(read_index(path.c_str()))->ntotal, n);
}

TEST(Data, FarQueries) {
    const int d = 16;
    const std::vector<float> x = clustered(300, d, 30, 10);
    for (auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        IndexVLC index(d, small(8), metric);
        index.train(300, x.data());
        index.add(300, x.data());
        for (float value : {0.0f, 1e4f, -1e15f}) {
            const std::vector<float> q(d, value);
            std::vector<float> distance(10);
            std::vector<idx_t> label(10);
            index.search(1, q.data(), 10, distance.data(), label.data());
            for (int i = 0; i < 10; i++) {
                EXPECT_GE(label[i], 0) << value << " metric " << metric;
                EXPECT_FALSE(std::isnan(distance[i]));
            }
        }
    }
}

} // namespace
} // namespace faiss_vlc
