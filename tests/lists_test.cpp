#include <faiss_vlc/lists.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <faiss/impl/FaissException.h>
#include <gtest/gtest.h>

#include "unit_test.h"

namespace faiss_vlc {
namespace {

constexpr int64_t kWide = int64_t(1) << 32;

/// All that lists ask of a model is its layout.
std::shared_ptr<const Model> model_of(int code_bytes) {
    auto model = std::make_shared<Model>();
    std::vector<double> variance(2 * code_bytes + 5);
    for (size_t i = 0; i < variance.size(); i++) {
        variance[i] = 1.0 / double(i + 1);
    }
    model->layout = Layout::allocate(code_bytes, variance, 0);
    return model;
}

struct Plain {
    std::vector<int64_t> ids;
    std::vector<std::vector<uint8_t>> codes;
};

std::vector<uint8_t> joined(const std::vector<std::vector<uint8_t>>& codes) {
    std::vector<uint8_t> out;
    for (const auto& code : codes) {
        out.insert(out.end(), code.begin(), code.end());
    }
    return out;
}

/// Blocks as codec.h documents them: 16 vectors, row after row, the factors last; the last block of
/// a list as tight as its vectors.
std::vector<uint8_t> documented_blocks(const Layout& layout, const Plain& list) {
    std::vector<uint8_t> out;
    for (size_t first = 0; first < list.ids.size(); first += 16) {
        const size_t end = std::min(list.ids.size(), first + 16);
        int at = 0;
        std::vector<int> pieces(layout.row_lanes.begin(), layout.row_lanes.end());
        pieces.push_back(kFactorBytes);
        for (int bytes : pieces) {
            for (size_t v = first; v < end; v++) {
                out.insert(out.end(), &list.codes[v][at], &list.codes[v][at] + bytes);
            }
            at += bytes;
        }
    }
    return out;
}

void expect_equal(const VLCInvertedLists& lists, const std::vector<Plain>& plain) {
    size_t total = 0;
    for (size_t j = 0; j < plain.size(); j++) {
        const Plain& list = plain[j];
        const size_t n = list.ids.size();
        total += n;
        ASSERT_EQ(lists.list_size(j), n);
        ASSERT_EQ(lists.list_bytes(j), n * lists.code_size);
        const std::vector<uint8_t> packed = joined(list.codes);
        faiss::InvertedLists::ScopedCodes codes(&lists, j);
        faiss::InvertedLists::ScopedIds ids(&lists, j);
        ASSERT_TRUE(std::equal(packed.begin(), packed.end(), codes.get()));
        ASSERT_TRUE(std::equal(list.ids.begin(), list.ids.end(), ids.get()));
        for (size_t i = 0; i < n; i += 1 + n / 5) {
            ASSERT_EQ(lists.get_single_id(j, i), list.ids[i]);
            ASSERT_EQ(lists.id(j, i), list.ids[i]);
            faiss::InvertedLists::ScopedCodes one(&lists, j, i);
            ASSERT_TRUE(std::equal(list.codes[i].begin(), list.codes[i].end(), one.get()));
        }
        const std::vector<uint8_t> blocks = documented_blocks(lists.model->layout, list);
        ASSERT_EQ(blocks.size(), n * lists.code_size);
        ASSERT_TRUE(std::equal(blocks.begin(), blocks.end(), lists.blocks(j)));
        ASSERT_EQ(reinterpret_cast<uintptr_t>(lists.blocks(j)) % 64, 0u);
        const uint8_t* raw = lists.raw_ids(j);
        for (size_t i = 0; i < n; i++) {
            uint64_t id = 0;
            std::memcpy(&id, raw + i * lists.id_bytes(), lists.id_bytes());
            ASSERT_EQ(int64_t(id), list.ids[i]);
        }
    }
    ASSERT_EQ(lists.compute_ntotal(), total);
    ASSERT_GE(lists.memory(), total * (lists.code_size + lists.id_bytes()));
}

std::vector<std::vector<uint8_t>> random_codes(size_t n, size_t size, Random& random) {
    std::vector<std::vector<uint8_t>> codes(n);
    for (auto& code : codes) {
        code = random.values<uint8_t>(size, 0, 255);
    }
    return codes;
}

TEST(Lists, RandomOperationsAgainstAPlainModel) {
    for (int bytes : {1, 2, 3, 4, 5, 7, 16, 31, 70}) {
        Random random{uint64_t(bytes)};
        const auto model = model_of(bytes);
        VLCInvertedLists lists(5, model);
        ASSERT_EQ(lists.code_size, size_t(bytes + 2));
        std::vector<Plain> plain(5);
        for (int step = 0; step < 250; step++) {
            const size_t j = size_t(random.between(0, 4));
            Plain& list = plain[j];
            const int64_t most_id = step < 150 ? kWide - 1 : INT64_MAX / 2;
            switch (random.between(0, 5)) {
                case 0:
                case 1:
                case 2: {
                    const size_t n = size_t(random.between(0, random.between(0, 3) ? 5 : 60));
                    const auto ids = random.values<int64_t>(n, step < 150 ? 0 : -5, most_id);
                    const auto codes = random_codes(n, lists.code_size, random);
                    ASSERT_EQ(lists.add_entries(j, n, ids.data(), joined(codes).data()), list.ids.size());
                    list.ids.insert(list.ids.end(), ids.begin(), ids.end());
                    list.codes.insert(list.codes.end(), codes.begin(), codes.end());
                    break;
                }
                case 3:
                    if (!list.ids.empty()) {
                        const size_t at = size_t(random.between(0, int64_t(list.ids.size()) - 1));
                        const size_t n = size_t(random.between(0, int64_t(list.ids.size() - at)));
                        const auto ids = random.values<int64_t>(n, 0, most_id);
                        const auto codes = random_codes(n, lists.code_size, random);
                        lists.update_entries(j, at, n, ids.data(), joined(codes).data());
                        std::copy(ids.begin(), ids.end(), list.ids.begin() + at);
                        std::copy(codes.begin(), codes.end(), list.codes.begin() + at);
                    }
                    break;
                case 4: { // shrink
                    const size_t n = list.ids.size() - std::min<size_t>(list.ids.size(), random.between(0, 20));
                    lists.resize(j, n);
                    list.ids.resize(n);
                    list.codes.resize(n);
                    break;
                }
                default: { // grow; what was there stays, new entries are then written
                    const size_t old = list.ids.size();
                    const size_t n = old + size_t(random.between(1, 20));
                    const auto ids = random.values<int64_t>(n - old, 0, most_id);
                    const auto codes = random_codes(n - old, lists.code_size, random);
                    lists.resize(j, n);
                    lists.update_entries(j, old, n - old, ids.data(), joined(codes).data());
                    list.ids.insert(list.ids.end(), ids.begin(), ids.end());
                    list.codes.insert(list.codes.end(), codes.begin(), codes.end());
                }
            }
            if (step % 10 == 9) {
                expect_equal(lists, plain);
                if (HasFatalFailure()) {
                    FAIL() << bytes << " bytes, step " << step;
                }
            }
            if (step < 150) {
                ASSERT_FALSE(lists.wide_ids());
            }
        }
        EXPECT_TRUE(lists.wide_ids());
        EXPECT_EQ(lists.id_bytes(), 8);
        const VLCInvertedLists copy(lists);
        lists.reset();
        EXPECT_EQ(lists.compute_ntotal(), 0u);
        EXPECT_FALSE(lists.wide_ids());
        expect_equal(copy, plain); // a copy of its own
    }
}

TEST(Lists, IdsWidenOnceForAllLists) {
    const auto model = model_of(6);
    for (int64_t last : {kWide, int64_t(-1), INT64_MAX, INT64_MIN}) {
        VLCInvertedLists lists(3, model);
        const std::vector<uint8_t> codes(2 * 8, 5);
        const int64_t small[2] = {0, kWide - 1};
        lists.add_entries(0, 2, small, codes.data());
        EXPECT_FALSE(lists.wide_ids());
        EXPECT_EQ(lists.id_bytes(), 4);
        lists.add_entries(2, 1, &last, codes.data());
        EXPECT_TRUE(lists.wide_ids());
        EXPECT_EQ(lists.id(0, 0), 0);
        EXPECT_EQ(lists.id(0, 1), kWide - 1);
        EXPECT_EQ(lists.id(2, 0), last);
        EXPECT_EQ(lists.list_size(1), 0u);
    }
    VLCInvertedLists lists(1, model);
    const int64_t id = kWide;
    const std::vector<uint8_t> code(8, 5);
    const int64_t zero = 0;
    lists.add_entries(0, 1, &zero, code.data());
    lists.update_entries(0, 0, 1, &id, code.data()); // updating widens, too
    EXPECT_EQ(lists.id(0, 0), kWide);
}

TEST(Lists, SetListTakesWhatIsStored) {
    const auto model = model_of(9);
    Random random(4);
    for (int64_t most : {kWide - 1, INT64_MAX / 2}) {
        VLCInvertedLists lists(2, model), loaded(2, model);
        std::vector<Plain> plain(2);
        for (size_t j = 0; j < 2; j++) {
            const size_t n = j ? 37 : 0;
            plain[j].ids = random.values<int64_t>(n, most / 2, most);
            plain[j].codes = random_codes(n, lists.code_size, random);
            lists.add_entries(j, n, plain[j].ids.data(), joined(plain[j].codes).data());
        }
        for (size_t j = 0; j < 2; j++) {
            loaded.set_list(j, lists.list_size(j), lists.blocks(j), lists.raw_ids(j), lists.id_bytes());
        }
        expect_equal(loaded, plain);
    }
}

TEST(Lists, MergeMovesEntriesAndWidensIds) {
    const auto model = model_of(3);
    Random random(5);
    VLCInvertedLists a(2, model), b(2, model);
    std::vector<Plain> plain(2);
    for (size_t j = 0; j < 2; j++) {
        const auto ids = random.values<int64_t>(21, 0, 1000);
        const auto codes = random_codes(21, a.code_size, random);
        a.add_entries(j, 21, ids.data(), joined(codes).data());
        b.add_entries(j, 21, ids.data(), joined(codes).data());
        for (int64_t offset : {int64_t(0), kWide}) {
            for (int i = 0; i < 21; i++) {
                plain[j].ids.push_back(ids[i] + offset);
                plain[j].codes.push_back(codes[i]);
            }
        }
    }
    for (size_t j = 0; j < 2; j++) { // as IndexVLC does before it merges
        std::vector<int64_t> ids(plain[j].ids.begin() + 21, plain[j].ids.end());
        a.prepare_ids(ids.size(), ids.data());
    }
    a.merge_from(&b, size_t(kWide));
    expect_equal(a, plain);
    EXPECT_EQ(b.compute_ntotal(), 0u);
}

TEST(Lists, BadUseThrows) {
    VLCInvertedLists untrained(2, nullptr);
    const int64_t id = 0;
    const std::vector<uint8_t> code(8, 0);
    EXPECT_THROW(untrained.add_entries(0, 1, &id, code.data()), faiss::FaissException);
    EXPECT_THROW(untrained.resize(0, 3), faiss::FaissException);
    EXPECT_EQ(untrained.list_size(0), 0u);
    VLCInvertedLists lists(2, model_of(6));
    lists.add_entries(0, 1, &id, code.data());
    EXPECT_THROW(lists.get_single_id(0, 1), faiss::FaissException);
    EXPECT_THROW(lists.get_single_code(0, 1), faiss::FaissException);
    EXPECT_THROW(lists.update_entries(0, 1, 1, &id, code.data()), faiss::FaissException);
    EXPECT_THROW(lists.update_entries(0, 0, SIZE_MAX, &id, code.data()), faiss::FaissException);
    EXPECT_ANY_THROW(lists.list_size(2));
    EXPECT_ANY_THROW(lists.add_entries(2, 1, &id, code.data()));
}

} // namespace
} // namespace faiss_vlc
