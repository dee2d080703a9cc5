#include <omp.h>

#include <cmath>
#include <cstring>
#include <set>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/lists.h>

#include <tests/support/word_index.h>

using namespace faiss_vlc;

namespace {

constexpr int kDim = 19;
constexpr int kCount = 400;

const std::vector<float>& base() {
    static const std::vector<float> x = clustered(kCount, kDim, 12, 5);
    return x;
}

std::vector<std::unique_ptr<IndexVLC>> all_kinds() {
    std::vector<std::unique_ptr<IndexVLC>> all;
    for (const faiss::MetricType metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const Words& words : kWordKinds) {
            all.push_back(word_index(words, kDim, 6, base(), metric));
            all.back()->add(kCount, base().data());
            all.back()->nprobe = 6;
        }
    }
    return all;
}

std::string name_of(const IndexVLC& index) {
    const Layout& layout = index.model->layout;
    return std::to_string(layout.code_bytes) + " and " + std::to_string(layout.factor_bytes) +
           " bytes, metric " + std::to_string(index.metric_type);
}

} // namespace

// Without factors there is nothing else to estimate by.
TEST(WordTables, DistancesWithoutFactorsAreThoseToDecodedVectors) {
    for (const auto& index : all_kinds()) {
        if (index->model->layout.factor_bytes > 0) {
            continue;
        }
        SCOPED_TRACE(name_of(*index));
        constexpr int kQueries = 20;
        std::vector<float> x(base().begin(), base().begin() + kQueries * kDim);
        Random random(3);
        for (float& v : x) {
            v += float(0.2 * random.normal());
        }
        const Results found = search(*index, x, 10);
        std::vector<float> decoded(kDim);
        for (int q = 0; q < kQueries; q++) {
            for (int i = 0; i < 10; i++) {
                index->reconstruct(found.label[q * 10 + i], decoded.data());
                const bool product = index->metric_type == faiss::METRIC_INNER_PRODUCT;
                const double exact = true_distance(kDim, &x[q * kDim], decoded.data(), product);
                // turned axes have components of 8 bits, and so are not quite at right angles
                const double square = -true_distance(kDim, &x[q * kDim], &x[q * kDim], true);
                const bool own = index->model->frames[0].own;
                EXPECT_NEAR(found.distance[q * 10 + i], product ? -exact : exact,
                            (own ? 5e-4 : 4e-3) * square)
                        << q << " " << i;
            }
        }
    }
}

// One byte of factors estimates as well as plain decoding does, not much worse.
TEST(WordTables, OneByteOfFactorsIsNearDecoding) {
    for (const auto& index : all_kinds()) {
        if (index->model->layout.factor_bytes != 1) {
            continue;
        }
        SCOPED_TRACE(name_of(*index));
        const bool product = index->metric_type == faiss::METRIC_INNER_PRODUCT;
        const Results found = search(*index, base(), 1);
        double error = 0, usual = 0;
        std::vector<float> decoded(kDim);
        for (int q = 0; q < kCount; q++) {
            const float* x = &base()[q * kDim];
            const double exact = true_distance(kDim, x, &base()[found.label[q] * kDim], product);
            index->reconstruct(found.label[q], decoded.data());
            const double plain = true_distance(kDim, x, decoded.data(), product);
            error += std::fabs((product ? -1 : 1) * found.distance[q] - exact);
            usual += std::fabs(plain - exact);
        }
        EXPECT_LT(error, 1.5 * usual);
    }
}

TEST(WordTables, AddedTogetherAsAlone) {
    for (const Words& words : kWordKinds) {
        const auto together = word_index(words, kDim, 6, base());
        const auto alone = word_index(words, kDim, 6, base());
        together->add(kCount, base().data());
        for (int i = 0; i < kCount; i++) {
            alone->add(1, &base()[i * kDim]);
        }
        EXPECT_EQ(written(*together), written(*alone)) << name_of(*together);
    }
}

// For inner products tables last from list to list, but not beyond another query's.
TEST(WordTables, QueriesThatShareThemDoNotMixThemUp) {
    for (const auto& index : all_kinds()) {
        SCOPED_TRACE(name_of(*index));
        const Model& model = *index->model;
        const size_t bytes = size_t(model.layout.blocks()) * kWords * 2;
        const auto tables_of = [&](Query& query, int list) {
            const ListScan& scan = query.list(list);
            return std::vector<uint8_t>(scan.tables, scan.tables + bytes);
        };
        WordTables words(model);
        Query a(model, nullptr, &words), b(model, nullptr, &words), alone(model);
        a.set(&base()[0]);
        b.set(&base()[kDim]);
        alone.set(&base()[0]);
        for (const int list : {0, 0, 1, 3}) {
            tables_of(b, list);
            EXPECT_EQ(tables_of(a, list), tables_of(alone, list)) << list;
            EXPECT_EQ(tables_of(a, list), tables_of(alone, list)) << list;
        }
    }
}

// Tables that are made together are those of one by one, whichever lists are asked for then.
TEST(WordTables, LookingAheadChangesNothing) {
    for (const auto& index : all_kinds()) {
        SCOPED_TRACE(name_of(*index));
        const Model& model = *index->model;
        const size_t bytes = size_t(model.layout.blocks()) * kWords * 2;
        struct Side {
            std::vector<uint8_t> tables;
            int32_t half;
            float mul, distance;
            bool operator==(const Side& o) const {
                return tables == o.tables && half == o.half && mul == o.mul &&
                       distance == o.distance;
            }
        };
        const auto side_of = [&](Query& query, int list) {
            const ListScan& scan = query.list(list);
            return Side{{scan.tables, scan.tables + bytes},
                        scan.half,
                        scan.far_mul,
                        scan.list_distance};
        };
        Query ahead(model), alone(model);
        const std::vector<int64_t> said = {4, -1, 2, 5, 0, 1, 3};
        for (const std::vector<int>& asked : std::vector<std::vector<int>>{
                     {4, 2, 5, 0, 1, 3}, {4, 5, 3}, {0, 4, 2}, {2, 2, 5}, {3}}) {
            for (int q = 0; q < 3; q++) {
                ahead.set(&base()[q * kDim]);
                ahead.look_ahead(said.size(), said.data());
                alone.set(&base()[q * kDim]);
                for (const int list : asked) {
                    ASSERT_TRUE(side_of(ahead, list) == side_of(alone, list)) << q << " " << list;
                }
            }
        }
    }
}

/// Files, and what ordinary and extreme queries find.
TEST(WordTablesChild, DISABLED_Digest) {
    uint64_t hash = digest("", 0);
    for (const auto& index : all_kinds()) {
        const Bytes file = written(*index);
        hash = digest(file.data(), file.size(), hash);
        for (const float scale : {1.0f, 1e-38f, 1e-20f, 1e4f, 1e12f, 1e19f, 1e30f, 3e37f}) {
            std::vector<float> x(base().begin(), base().begin() + 20 * kDim);
            for (float& v : x) {
                v *= scale;
            }
            Results found = search(*index, x, 5);
            for (float& distance : found.distance) {
                distance = std::isnan(distance) ? -1.0f : distance; // a NaN's sign means nothing
            }
            hash = digest(found.label.data(), found.label.size() * sizeof(int64_t), hash);
            hash = digest(found.distance.data(), found.distance.size() * sizeof(float), hash);
        }
    }
    report(std::to_string(hash));
}

TEST(WordTables, AllLevelsAndThreadsFindTheSame) {
    std::set<std::string> digests;
    for (const char* const* name = simd_levels(); *name; name++) {
        digests.insert(run_child("WordTablesChild.DISABLED_Digest",
                                 std::string("OMP_NUM_THREADS=2 VLC_SIMD=") + *name));
    }
    digests.insert(run_child("WordTablesChild.DISABLED_Digest", "OMP_NUM_THREADS=1"));
    EXPECT_EQ(digests.size(), 1u);
    EXPECT_EQ(digests.count("failed"), 0u);
}
