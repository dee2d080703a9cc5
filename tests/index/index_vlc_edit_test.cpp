#include <faiss_vlc/IndexVLC.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include <faiss/impl/FaissException.h>
#include <faiss/impl/IDSelector.h>

#include <faiss_vlc/search/lists.h>

#include <tests/support/unit_test.h>

// What changes or reads the vectors that an index holds.

namespace faiss_vlc {
namespace {

using idx_t = int64_t;
using Type = faiss::DirectMap::Type;

constexpr int kDim = 20;
constexpr idx_t kCount = 600;

const std::vector<float>& base() {
    static const std::vector<float> x = clustered(kCount, kDim, 30, 21);
    return x;
}

const float* row(idx_t i) {
    return &base()[i * kDim];
}

const IndexVLC& trained() {
    static const std::unique_ptr<IndexVLC> index = [] {
        VLCParameters p;
        p.m = 12;
        p.bits_per_dim = 6;
        p.device = "reference";
        p.iterations = 5;
        p.codec = test_codec();
        auto made = std::make_unique<IndexVLC>(kDim, p);
        made->train(kCount, base().data());
        return made;
    }();
    return *index;
}

IndexVLC filled() {
    IndexVLC index(trained());
    index.add(kCount, base().data());
    return index;
}

/// Every id in the lists, ascending.
std::vector<idx_t> ids_of(const IndexVLC& index) {
    std::vector<idx_t> ids;
    for (size_t j = 0; j < index.nlist; j++) {
        for (size_t i = 0; i < index.lists().list_size(j); i++) {
            ids.push_back(index.lists().id(j, i));
        }
    }
    std::sort(ids.begin(), ids.end());
    return ids;
}

std::vector<float> reconstructed(const IndexVLC& index, idx_t id) {
    std::vector<float> out(kDim);
    index.reconstruct(id, out.data());
    return out;
}

/// What is left is what was added, each with its own code.
void expect_holds(const IndexVLC& index, const std::vector<idx_t>& ids) {
    EXPECT_EQ(index.ntotal, idx_t(ids.size()));
    ASSERT_EQ(ids_of(index), ids);
    const IndexVLC whole = filled();
    for (idx_t id : ids) {
        ASSERT_EQ(reconstructed(index, id), reconstructed(whole, id % kCount)) << id;
    }
}

std::vector<idx_t> sequence(idx_t first, idx_t last) {
    std::vector<idx_t> out(last - first);
    std::iota(out.begin(), out.end(), first);
    return out;
}

TEST(Reconstruct, IsNearTheOriginalWithEveryDirectMap) {
    IndexVLC index = filled();
    std::vector<std::vector<float>> plain;
    double error = 0, size = 0;
    for (idx_t i = 0; i < kCount; i++) {
        plain.push_back(reconstructed(index, i));
        const std::vector<float> zero(kDim, 0);
        error += true_distance(kDim, row(i), plain[i].data());
        size += true_distance(kDim, row(i), zero.data());
    }
    EXPECT_LT(error, 0.01 * size);
    for (Type type : {Type::Array, Type::Hashtable, Type::NoMap}) {
        index.set_direct_map_type(type);
        for (idx_t i = 0; i < kCount; i++) {
            ASSERT_EQ(reconstructed(index, i), plain[i]);
        }
        std::vector<float> out(kDim);
        EXPECT_THROW(index.reconstruct(kCount, out.data()), faiss::FaissException);
        EXPECT_THROW(index.reconstruct(-1, out.data()), faiss::FaissException);
    }
    std::vector<float> many(100 * kDim);
    index.reconstruct_n(250, 100, many.data());
    for (idx_t i = 0; i < 100; i++) {
        ASSERT_TRUE(std::equal(plain[250 + i].begin(), plain[250 + i].end(), &many[i * kDim]));
    }
    EXPECT_THROW(index.reconstruct_n(550, 100, many.data()), faiss::FaissException);
}

TEST(Reconstruct, SearchAndReconstructGivesTheFound) {
    const IndexVLC index = filled();
    const idx_t n = 10, k = 8;
    std::vector<float> distance(n * k), plain(n * k), out(n * k * kDim);
    std::vector<idx_t> label(n * k), plain_label(n * k);
    index.search_and_reconstruct(n, row(50), k, distance.data(), label.data(), out.data());
    index.search(n, row(50), k, plain.data(), plain_label.data());
    EXPECT_EQ(label, plain_label);
    EXPECT_EQ(distance, plain);
    for (idx_t i = 0; i < n * k; i++) {
        const std::vector<float> wanted = reconstructed(index, label[i]);
        ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), &out[i * kDim]));
    }
    IndexVLC two(trained());
    two.add(2, row(0));
    two.nprobe = two.nlist;
    two.search_and_reconstruct(1, row(0), 3, distance.data(), label.data(), out.data());
    EXPECT_EQ(label[2], -1);
    EXPECT_TRUE(std::isnan(out[2 * kDim]));
}

TEST(Codes, EncodeAndDecodeAsTheIndexDoes) {
    const IndexVLC index = filled();
    std::vector<uint8_t> bytes(kCount * index.sa_code_size());
    EXPECT_EQ(index.sa_code_size(), index.code_size + 1); // 12 lists: a byte names one
    index.sa_encode(kCount, base().data(), bytes.data());
    std::vector<float> out(kCount * kDim);
    index.sa_decode(kCount, bytes.data(), out.data());
    for (idx_t i = 0; i < kCount; i++) {
        const std::vector<float> wanted = reconstructed(index, i);
        ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), &out[i * kDim]));
    }
    bytes[0] = 12;
    EXPECT_THROW(index.sa_decode(1, bytes.data(), out.data()), faiss::FaissException);
    std::vector<float> bad(kDim, NAN);
    EXPECT_THROW(index.sa_encode(1, bad.data(), bytes.data()), faiss::FaissException);
}

TEST(RemoveIds, RemovesThoseAndNoOthers) {
    IndexVLC index = filled();
    EXPECT_EQ(index.remove_ids(faiss::IDSelectorRange(100, 101)), 1u);
    std::vector<idx_t> left = sequence(0, kCount);
    left.erase(left.begin() + 100);
    expect_holds(index, left);
    EXPECT_EQ(index.remove_ids(faiss::IDSelectorRange(200, 500)), 300u);
    left.erase(left.begin() + 199, left.begin() + 499);
    expect_holds(index, left);
    const std::vector<idx_t> some = {0, 7, 14, 550, 599, 10000};
    EXPECT_EQ(index.remove_ids(faiss::IDSelectorBatch(some.size(), some.data())), 5u);
    for (idx_t id : some) {
        left.erase(std::remove(left.begin(), left.end(), id), left.end());
    }
    expect_holds(index, left);
    EXPECT_EQ(index.remove_ids(faiss::IDSelectorRange(0, kCount)), left.size());
    expect_holds(index, {});
}

TEST(RemoveIds, KeepsAHashtableRight) {
    IndexVLC index = filled();
    index.set_direct_map_type(Type::Hashtable);
    const std::vector<idx_t> some = {3, 4, 5, 77, 599};
    EXPECT_EQ(index.remove_ids(faiss::IDSelectorArray(some.size(), some.data())), some.size());
    std::vector<idx_t> left;
    for (idx_t i = 0; i < kCount; i++) {
        if (std::find(some.begin(), some.end(), i) == some.end()) {
            left.push_back(i);
        }
    }
    expect_holds(index, left);
    EXPECT_THROW(reconstructed(index, 77), faiss::FaissException);
}

TEST(Update, ReplacesVectors) {
    IndexVLC index = filled();
    index.set_direct_map_type(Type::Array);
    std::vector<idx_t> ids = {10, 20, 30};
    index.update_vectors(3, ids.data(), row(400));
    EXPECT_EQ(index.ntotal, kCount);
    const IndexVLC whole = filled();
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(reconstructed(index, ids[i]), reconstructed(whole, 400 + i));
    }
    EXPECT_EQ(reconstructed(index, 599), reconstructed(whole, 599));
    EXPECT_EQ(ids_of(index), sequence(0, kCount));
}

TEST(DirectMap, AddKeepsItRight) {
    for (Type type : {Type::Array, Type::Hashtable}) {
        IndexVLC index(trained());
        index.set_direct_map_type(type);
        index.add(200, row(0));
        index.add(400, row(200));
        expect_holds(index, sequence(0, kCount));
        const std::vector<idx_t> ids = {5};
        if (type == Type::Array) {
            EXPECT_THROW(index.add_with_ids(1, row(0), ids.data()), faiss::FaissException);
            expect_holds(index, sequence(0, kCount));
        }
    }
}

TEST(Merge, MovesEverything) {
    IndexVLC a(trained()), b(trained());
    a.add(250, row(0));
    b.add(350, row(250));
    a.merge_from(b, 250);
    EXPECT_EQ(b.ntotal, 0);
    expect_holds(a, sequence(0, kCount));
}

// Merging works on several lists at once; all of them widen on the first 8-byte id.
TEST(Merge, WidensIdsSafely) {
    const int threads = omp_get_max_threads();
    omp_set_num_threads(8);
    const idx_t far = kCount * (idx_t(1) << 34);
    for (int trial = 0; trial < 30; trial++) {
        IndexVLC a(trained()), b(trained());
        a.add(300, row(0));
        std::vector<idx_t> ids = sequence(far + 300, far + 600), wanted = sequence(0, 300);
        b.add_with_ids(300, row(300), ids.data());
        a.merge_from(b, 0);
        wanted.insert(wanted.end(), ids.begin(), ids.end());
        expect_holds(a, wanted);
        if (HasFatalFailure()) {
            break;
        }
    }
    omp_set_num_threads(threads);
}

TEST(Merge, RefusesAnotherTraining) {
    IndexVLC a = filled();
    VLCParameters p = trained().parameters;
    p.seed = 99;
    IndexVLC other(kDim, p);
    EXPECT_THROW(a.merge_from(other, 0), faiss::FaissException);
    other.train(kCount, base().data());
    other.add(5, row(0));
    EXPECT_THROW(a.merge_from(other, 0), faiss::FaissException);
    EXPECT_EQ(other.ntotal, 5);
    expect_holds(a, sequence(0, kCount));
}

TEST(Copy, IsIndependent) {
    IndexVLC a = filled();
    IndexVLC b(a);
    a.reset();
    expect_holds(b, sequence(0, kCount));
    b.add(1, row(0));
    EXPECT_EQ(a.ntotal, 0);
    EXPECT_EQ(b.ntotal, kCount + 1);
}

TEST(Scanner, AgreesWithSearch) {
    const IndexVLC index = filled();
    std::unique_ptr<faiss::InvertedListScanner> scanner(index.get_InvertedListScanner());
    std::vector<float> distance(kCount);
    std::vector<idx_t> label(kCount);
    faiss::SearchParametersIVF all;
    all.nprobe = index.nlist;
    index.search(1, row(9), kCount, distance.data(), label.data(), &all);
    scanner->set_query(row(9));
    std::vector<float> by_id(kCount, -1);
    for (size_t j = 0; j < index.nlist; j++) {
        scanner->set_list(idx_t(j), 0);
        faiss::InvertedLists::ScopedCodes codes(&index.lists(), j);
        for (size_t i = 0; i < index.lists().list_size(j); i++) {
            by_id[index.lists().id(j, i)] =
                    scanner->distance_to_code(codes.get() + i * index.code_size);
        }
    }
    for (idx_t i = 0; i < kCount; i++) {
        ASSERT_EQ(by_id[label[i]], distance[i]);
    }
}

TEST(Preassigned, SearchesTheGivenLists) {
    const IndexVLC index = filled();
    std::vector<idx_t> lists(index.nlist);
    index.quantizer->assign(1, row(9), lists.data(), idx_t(index.nlist));
    faiss::IVFSearchParameters params;
    params.nprobe = index.nlist;
    std::vector<float> distance(20), wanted(20);
    std::vector<idx_t> label(20), wanted_label(20);
    index.search(1, row(9), 20, wanted.data(), wanted_label.data(), &params);
    index.search_preassigned(1, row(9), 20, lists.data(), nullptr, distance.data(), label.data(),
                             false, &params);
    EXPECT_EQ(label, wanted_label);
    EXPECT_EQ(distance, wanted);
    lists[1] = idx_t(index.nlist);
    EXPECT_THROW(index.search_preassigned(1, row(9), 20, lists.data(), nullptr, distance.data(),
                                          label.data(), false, &params),
                 faiss::FaissException);
    std::fill(lists.begin(), lists.end(), -1);
    index.search_preassigned(1, row(9), 20, lists.data(), nullptr, distance.data(), label.data(),
                             false, &params);
    EXPECT_EQ(std::count(label.begin(), label.end(), -1), 20);
}

TEST(AddCore, TakesListsAsGiven) {
    IndexVLC index(trained());
    const std::vector<idx_t> lists = {3, 0, 11, -1, 3};
    index.add_core(5, row(0), nullptr, lists.data());
    EXPECT_EQ(index.ntotal, 5);
    EXPECT_EQ(ids_of(index), (std::vector<idx_t>{0, 1, 2, 4}));
    EXPECT_EQ(index.lists().list_size(3), 2u);
    EXPECT_EQ(index.lists().id(11, 0), 2);
    const std::vector<idx_t> beyond = {1, 12};
    EXPECT_THROW(index.add_core(2, row(0), nullptr, beyond.data()), faiss::FaissException);
    EXPECT_EQ(index.ntotal, 5);
}

} // namespace
} // namespace faiss_vlc
