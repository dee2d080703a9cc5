#include <faiss_vlc/search/lists.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <faiss/impl/FaissException.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

using idx_t = int64_t;

/// Lists need nothing of a model but its layout.
std::shared_ptr<const Model> model_of(int code_bytes) {
    auto model = std::make_shared<Model>();
    std::vector<double> variance(2 * code_bytes + 3);
    for (size_t i = 0; i < variance.size(); i++) {
        variance[i] = 1.0 / double(i + 1);
    }
    model->layout = Layout::allocate(code_bytes, variance, 0);
    return model;
}

using Entry = std::pair<idx_t, std::vector<uint8_t>>;
using Plain = std::vector<std::vector<Entry>>; ///< what the lists should hold

std::vector<Entry> random_entries(Random& random, size_t n, size_t code_size, idx_t most) {
    std::vector<Entry> entries;
    for (size_t i = 0; i < n; i++) {
        entries.emplace_back(random.between(0, most), random.values<uint8_t>(code_size, 0, 255));
    }
    return entries;
}

std::pair<std::vector<idx_t>, std::vector<uint8_t>> flat(const std::vector<Entry>& entries) {
    std::pair<std::vector<idx_t>, std::vector<uint8_t>> out;
    for (const Entry& e : entries) {
        out.first.push_back(e.first);
        out.second.insert(out.second.end(), e.second.begin(), e.second.end());
    }
    return out;
}

void add(VLCInvertedLists& lists, Plain& plain, size_t j, const std::vector<Entry>& entries) {
    const auto [ids, codes] = flat(entries);
    ASSERT_EQ(lists.add_entries(j, entries.size(), ids.data(), codes.data()), plain[j].size());
    plain[j].insert(plain[j].end(), entries.begin(), entries.end());
}

/// All lists as files store them.
struct StoredForm {
    std::vector<uint32_t> sizes;
    std::vector<uint8_t> blocks, ids;
    int id_bytes = 0;
    VLCInvertedLists::Stored view() const {
        return {sizes.data(), blocks.data(), nullptr, ids.data(), id_bytes};
    }
};

/// The last ones, up to `nlist`, are empty.
StoredForm stored_form(const VLCInvertedLists& lists, size_t nlist) {
    StoredForm stored;
    stored.id_bytes = lists.id_bytes();
    stored.sizes.resize(nlist);
    for (size_t j = 0; j < lists.nlist; j++) {
        const size_t n = lists.list_size(j);
        stored.sizes[j] = uint32_t(n);
        stored.blocks.insert(stored.blocks.end(), lists.blocks(j),
                             lists.blocks(j) + n * lists.first_size());
        stored.ids.insert(stored.ids.end(), lists.raw_ids(j),
                          lists.raw_ids(j) + n * size_t(stored.id_bytes));
    }
    return stored;
}

void expect_equal(const VLCInvertedLists& lists, const Plain& plain) {
    for (size_t j = 0; j < plain.size(); j++) {
        const size_t n = plain[j].size();
        ASSERT_EQ(lists.list_size(j), n);
        ASSERT_EQ(lists.list_bytes(j), n * lists.code_size);
        const uint8_t* codes = lists.get_codes(j);
        const idx_t* ids = lists.get_ids(j);
        for (size_t i = 0; i < n; i++) {
            const auto& [id, code] = plain[j][i];
            ASSERT_EQ(ids[i], id);
            ASSERT_EQ(lists.id(j, i), id);
            ASSERT_EQ(lists.get_single_id(j, i), id);
            ASSERT_TRUE(std::equal(code.begin(), code.end(), codes + i * lists.code_size));
            const uint8_t* single = lists.get_single_code(j, i);
            ASSERT_TRUE(std::equal(code.begin(), code.end(), single));
            lists.release_codes(j, single);
        }
        lists.release_codes(j, codes);
        lists.release_ids(j, ids);
    }
}

TEST(Lists, BlocksAreLaidOutAsDocumented) {
    Random random(1);
    for (int code_bytes : {1, 2, 3, 4, 7, 16, 31, 70}) {
        const auto model = model_of(code_bytes);
        const Layout& layout = model->layout;
        for (size_t n : {1, 2, 15, 16, 17, 32, 45}) {
            VLCInvertedLists lists(1, model);
            ASSERT_EQ(lists.code_size, size_t(code_bytes + 2));
            Plain plain(1);
            add(lists, plain, 0, random_entries(random, n, lists.code_size, 1000));
            std::vector<uint8_t> expected;
            for (size_t first = 0; first < n; first += 16) {
                const size_t last = std::min(n, first + 16);
                // row by row, vector by vector, then the factors
                int at = 0;
                for (int r = 0; r <= int(layout.row_lanes.size()); r++) {
                    const int bytes = r < int(layout.row_lanes.size()) ? layout.row_lanes[r] : 2;
                    for (size_t v = first; v < last; v++) {
                        const uint8_t* code = plain[0][v].second.data() + at;
                        expected.insert(expected.end(), code, code + bytes);
                    }
                    at += bytes;
                }
                ASSERT_EQ(at, code_bytes + 2);
            }
            ASSERT_EQ(expected.size(), lists.list_bytes(0));
            EXPECT_TRUE(std::equal(expected.begin(), expected.end(), lists.blocks(0)))
                    << code_bytes << " bytes, " << n << " vectors";
            EXPECT_EQ(reinterpret_cast<uintptr_t>(lists.blocks(0)) % 64, 0u);
        }
    }
}

TEST(Lists, RandomOperationsMatchAPlainModel) {
    Random random(2);
    for (int code_bytes : {1, 5, 14, 33}) {
        VLCInvertedLists lists(4, model_of(code_bytes));
        Plain plain(4);
        for (int step = 0; step < 300; step++) {
            const size_t j = size_t(random.between(0, 3));
            const idx_t most = step < 150 ? 0xffffffff : INT64_MAX - 1; // then 8-byte ids
            switch (random.between(0, 4)) {
            case 0:
            case 1:
                add(lists, plain, j,
                    random_entries(random, size_t(random.between(0, 40)), lists.code_size, most));
                break;
            case 2: {
                const size_t size = plain[j].size();
                const size_t offset = size_t(random.between(0, idx_t(size)));
                const size_t n = size_t(random.between(0, idx_t(size - offset)));
                const std::vector<Entry> entries = random_entries(random, n, lists.code_size, most);
                const auto [ids, codes] = flat(entries);
                lists.update_entries(j, offset, n, ids.data(), codes.data());
                std::copy(entries.begin(), entries.end(), plain[j].begin() + offset);
                break;
            }
            case 3: {
                const size_t size = size_t(random.between(0, idx_t(plain[j].size())));
                lists.resize(j, size); // smaller
                plain[j].resize(size);
                break;
            }
            default:
                if (step % 20 == 0) {
                    lists.reset();
                    plain.assign(4, {});
                }
            }
            if (step % 7 == 0) {
                expect_equal(lists, plain);
                ASSERT_FALSE(HasFatalFailure()) << code_bytes << " step " << step;
            }
        }
        expect_equal(lists, plain);
    }
}

TEST(Lists, GrowsByResizing) {
    VLCInvertedLists lists(1, model_of(9));
    Plain plain(1);
    Random random(3);
    add(lists, plain, 0, random_entries(random, 10, lists.code_size, 99));
    lists.resize(0, 40);
    ASSERT_EQ(lists.list_size(0), 40u);
    const std::vector<Entry> rest = random_entries(random, 30, lists.code_size, 99);
    const auto [ids, codes] = flat(rest);
    lists.update_entries(0, 10, 30, ids.data(), codes.data());
    plain[0].insert(plain[0].end(), rest.begin(), rest.end());
    expect_equal(lists, plain);
}

TEST(Lists, IdsTakeFourBytesWhileTheyFit) {
    const auto model = model_of(6);
    const std::vector<uint8_t> code(8, 1);
    for (idx_t wide : {idx_t(0x100000000), idx_t(-1), INT64_MAX, INT64_MIN}) {
        VLCInvertedLists lists(3, model);
        for (idx_t id : {idx_t(0), idx_t(7), idx_t(0xffffffff)}) {
            lists.add_entries(size_t(id % 3), 1, &id, code.data());
        }
        EXPECT_FALSE(lists.wide_ids());
        EXPECT_EQ(lists.id_bytes(), 4);
        EXPECT_EQ(lists.id(0, lists.list_size(0) - 1), 0xffffffff);
        lists.add_entries(2, 1, &wide, code.data());
        EXPECT_TRUE(lists.wide_ids());
        EXPECT_EQ(lists.id_bytes(), 8);
        EXPECT_EQ(lists.id(0, lists.list_size(0) - 1), 0xffffffff); // not -1
        EXPECT_EQ(lists.id(1, 0), 7);
        EXPECT_EQ(lists.id(2, 0), wide);
        lists.reset();
        EXPECT_FALSE(lists.wide_ids());
    }
    VLCInvertedLists lists(1, model);
    idx_t id = 5;
    lists.add_entries(0, 1, &id, code.data());
    id = -5;
    lists.update_entries(0, 0, 1, &id, code.data());
    EXPECT_EQ(lists.id(0, 0), -5);
}

TEST(Lists, StoredFormRestoresThem) {
    Random random(4);
    for (idx_t most : {idx_t(1000), INT64_MAX - 1}) {
        VLCInvertedLists lists(2, model_of(11));
        Plain plain(2);
        add(lists, plain, 0, random_entries(random, 37, lists.code_size, most));
        add(lists, plain, 1, random_entries(random, 16, lists.code_size, most));
        VLCInvertedLists restored(3, lists.model);
        plain.emplace_back();
        restored.set_lists(stored_form(lists, 3).view());
        expect_equal(restored, plain);
        add(restored, plain, 1, random_entries(random, 9, lists.code_size, most));
        expect_equal(restored, plain);
    }
}

// What was loaded lies in one piece, which a copy shares, until each list has changed.
TEST(Lists, LeaveTheirPieceWhenTheyChange) {
    Random random(8);
    VLCInvertedLists lists(4, model_of(11));
    Plain plain(4);
    for (size_t j = 0; j < 3; j++) {
        add(lists, plain, j, random_entries(random, 20 + 30 * j, lists.code_size, 1000));
    }
    VLCInvertedLists loaded(4, lists.model);
    const size_t empty = loaded.memory();
    loaded.set_lists(stored_form(lists, 4).view());
    const size_t stored = (20 + 50 + 80) * (lists.code_size + 4);
    EXPECT_GE(loaded.memory() - empty, stored);
    EXPECT_LE(loaded.memory() - empty, stored + 3 * 128);
    for (size_t j = 0; j < 4; j++) {
        EXPECT_FALSE(loaded.is_lent(j)); // by a file
        EXPECT_EQ(reinterpret_cast<uintptr_t>(loaded.blocks(j)) % 64, 0u);
    }
    EXPECT_EQ(loaded.block_pages(), nullptr);
    expect_equal(loaded, plain);
    VLCInvertedLists copy(loaded);
    const Plain before = plain;
    for (size_t j = 0; j < 3; j++) {
        EXPECT_GE(loaded.memory() - empty, stored);
        add(loaded, plain, j, random_entries(random, 3, lists.code_size, 1000));
        expect_equal(loaded, plain);
    }
    EXPECT_LE(loaded.memory() - empty, (stored + 9 * (lists.code_size + 4)) * 5 / 4);
    add(loaded, plain, 3, random_entries(random, 3, lists.code_size, 1000));
    loaded.set_lists(stored_form(lists, 4).view()); // and again
    expect_equal(loaded, before);
    idx_t wide = idx_t(1) << 40;
    loaded.update_entries(0, 0, 1, &wide, before[0][0].second.data());
    EXPECT_EQ(loaded.id(0, 0), wide);
    EXPECT_EQ(loaded.id(2, 79), before[2][79].first);
    loaded.reset();
    EXPECT_EQ(loaded.memory(), empty);
    expect_equal(copy, before);
}

TEST(Lists, RefuseWhatTheyDoNotHave) {
    VLCInvertedLists lists(2, model_of(5));
    const std::vector<uint8_t> code(7 * 4, 1);
    const std::vector<idx_t> ids(4, 9);
    lists.add_entries(0, 2, ids.data(), code.data());
    EXPECT_THROW(lists.update_entries(0, 1, 2, ids.data(), code.data()), faiss::FaissException);
    EXPECT_THROW(lists.update_entries(0, 3, 0, ids.data(), code.data()), faiss::FaissException);
    EXPECT_THROW(lists.get_single_id(0, 2), faiss::FaissException);
    EXPECT_THROW(lists.get_single_code(1, 0), faiss::FaissException);
    EXPECT_ANY_THROW(lists.list_size(2));
    EXPECT_ANY_THROW(lists.add_entries(2, 1, ids.data(), code.data()));
    EXPECT_EQ(lists.list_size(0), 2u);
    VLCInvertedLists untrained(2, nullptr);
    EXPECT_THROW(untrained.add_entries(0, 1, ids.data(), code.data()), faiss::FaissException);
    EXPECT_THROW(untrained.resize(0, 1), faiss::FaissException);
}

TEST(Lists, MemoryIsAboutWhatIsStored) {
    VLCInvertedLists lists(10, model_of(30));
    Random random(5);
    Plain plain(10);
    const size_t empty = lists.memory();
    for (int round = 0; round < 20; round++) {
        for (size_t j = 0; j < 10; j++) {
            add(lists, plain, j, random_entries(random, 50, lists.code_size, 1000));
        }
    }
    const size_t stored = 20 * 10 * 50 * (lists.code_size + 4);
    EXPECT_GE(lists.memory() - empty, stored);
    EXPECT_LE(lists.memory() - empty, stored * 5 / 4);
}

TEST(Lists, CopiesAreSharedAndFreed) {
    VLCInvertedLists lists(3, model_of(9));
    Random random(6);
    Plain plain(3);
    for (size_t j = 0; j < 2; j++) {
        add(lists, plain, j, random_entries(random, 30, lists.code_size, 1000));
    }
    const size_t without = lists.memory();
    const uint8_t* codes = lists.get_codes(0);
    const idx_t* ids = lists.get_ids(0);
    const uint8_t* single = lists.get_single_code(0, 3);
    const size_t with = lists.memory();
    EXPECT_EQ(with - without, 30 * (lists.code_size + sizeof(idx_t)) + lists.code_size);
    EXPECT_EQ(lists.get_codes(0), codes);
    EXPECT_EQ(lists.get_ids(0), ids);
    EXPECT_EQ(lists.get_single_code(0, 3), single);
    EXPECT_NE(lists.get_ids(1), ids);
    lists.release_ids(1, lists.get_ids(1));
    lists.release_ids(1, lists.get_ids(1)); // shared, so it is still out
    VLCInvertedLists copy(lists);           // has nothing out
    EXPECT_LT(copy.memory(), with);
    expect_equal(copy, plain);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(lists.memory(), with + 30 * sizeof(idx_t));
        lists.release_codes(0, codes);
        lists.release_codes(0, single);
        lists.release_ids(0, ids);
    }
    EXPECT_EQ(lists.memory(), without + 30 * sizeof(idx_t));
    // what is not theirs, or empty
    lists.release_ids(0, nullptr);
    lists.release_codes(0, nullptr);
    lists.release_codes(2, lists.get_codes(2));
    expect_equal(lists, plain);
}

TEST(Lists, UnreleasedCopiesAreBounded) {
    VLCInvertedLists lists(4, model_of(12));
    Random random(7);
    Plain plain(4);
    size_t most = 0; // bytes of codes and ids
    for (int round = 0; round < 300; round++) {
        for (size_t j = 0; j < 4; j++) {
            add(lists, plain, j, random_entries(random, 5, lists.code_size, 1000));
            for (int i = 0; i < 3; i++) { // nobody releases
                const uint8_t* codes = lists.get_codes(j);
                const idx_t* ids = lists.get_ids(j);
                const auto& [id, code] = plain[j].back();
                const size_t last = plain[j].size() - 1;
                ASSERT_EQ(ids[last], id);
                ASSERT_TRUE(std::equal(code.begin(), code.end(), codes + last * lists.code_size));
                const uint8_t* one = lists.get_single_code(j, 2);
                ASSERT_TRUE(std::equal(one, one + lists.code_size, codes + 2 * lists.code_size));
            }
        }
        most = std::max(most, lists.compute_ntotal() * (lists.code_size + sizeof(idx_t)));
        ASSERT_LT(lists.memory(), 6 * most + 20000) << round;
        if (round % 50 == 49) {
            lists.reset();
            plain.assign(4, {});
        }
    }
    VLCInvertedLists::ScopedIds held(&lists, 0); // empty, and out when the lists change
    add(lists, plain, 0, random_entries(random, 5, lists.code_size, 1000));
    expect_equal(lists, plain);
}

TEST(Lists, ACopyThatIsHeldOutlivesChanges) {
    VLCInvertedLists lists(1, model_of(7));
    Random random(8);
    Plain plain(1);
    add(lists, plain, 0, random_entries(random, 40, lists.code_size, 1000));
    for (const size_t size : {size_t(20), size_t(300), size_t(0), size_t(300)}) {
        // as FAISS merges: it gets, resizes and then releases
        const faiss::InvertedLists::ScopedIds ids(&lists, 0);
        const faiss::InvertedLists::ScopedCodes codes(&lists, 0);
        const std::vector<idx_t> before(ids.ids, ids.ids + plain[0].size());
        lists.resize(0, size);
        plain[0].resize(size, {0, std::vector<uint8_t>(lists.code_size)});
        EXPECT_TRUE(std::equal(before.begin(), before.end(), ids.ids));
        if (size > 0) {
            const idx_t id = 5;
            const std::vector<uint8_t> zeros(lists.code_size); // an empty list's copy has none
            const uint8_t* code = before.empty() ? zeros.data() : codes.codes;
            lists.update_entries(0, size - 1, 1, &id, code);
            std::copy_n(code, lists.code_size, plain[0][size - 1].second.data());
            plain[0][size - 1].first = id;
        }
        const faiss::InvertedLists::ScopedIds again(&lists, 0);
        EXPECT_EQ(size > 0 ? again[size - 1] : 5, 5);
    }
}

TEST(Lists, CopiesAreForManyThreads) {
    VLCInvertedLists lists(8, model_of(20));
    Random random(9);
    Plain plain(8);
    for (int round = 0; round < 5; round++) {
        for (size_t j = 0; j < 8; j++) {
            add(lists, plain, j, random_entries(random, 60, lists.code_size, 1000));
        }
        lists.get_ids(size_t(round)); // never released, so filled anew in the next round
        std::vector<std::thread> threads;
        std::atomic<int> wrong{0};
        for (int t = 0; t < 4; t++) {
            threads.emplace_back([&, t] {
                for (size_t i = 0; i < 400; i++) {
                    const size_t j = (i + size_t(t)) % 8;
                    const faiss::InvertedLists::ScopedIds ids(&lists, j);
                    const faiss::InvertedLists::ScopedCodes codes(&lists, j),
                            one(&lists, j, i % 60);
                    for (size_t e = 0; e < plain[j].size(); e++) {
                        const auto& [id, code] = plain[j][e];
                        wrong += ids[e] != id || !std::equal(code.begin(), code.end(),
                                                             codes.codes + e * lists.code_size);
                    }
                    wrong += !std::equal(one.codes, one.codes + lists.code_size,
                                         codes.codes + i % 60 * lists.code_size);
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        ASSERT_EQ(wrong, 0);
    }
}

} // namespace
} // namespace faiss_vlc
