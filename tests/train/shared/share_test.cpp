// Rows of a sample, shared out in turn.

#include <faiss_vlc/train/shared/share.h>

#include <gtest/gtest.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

constexpr int64_t kRows = 20 * kRowBlock + 7;

TEST(Share, RowsGoToAllInTurn) {
    for (int count : {1, 2, 3, 5}) {
        std::vector<int64_t> held(count, 0);
        for (int64_t row = 0; row < kRows; row++) {
            int holders = 0;
            for (int number = 0; number < count; number++) {
                const Share share{number, count};
                ASSERT_EQ(share.before(row), held[number]);
                if (share.holds(row)) {
                    ASSERT_EQ(share.row(held[number]), row);
                    holders++;
                    held[number]++;
                }
            }
            ASSERT_EQ(holders, 1);
        }
    }
}

TEST(Share, OfAShare) {
    for (int outer = 0; outer < 3; outer++) {
        for (int inner = 0; inner < 4; inner++) {
            const Share whole{outer, 3};
            const Share part{inner, 4};
            const Share both = whole.of(part);
            for (int64_t i = 0; i < part.before(whole.before(kRows)); i++) {
                ASSERT_EQ(both.row(i), whole.row(part.row(i)));
            }
            EXPECT_EQ(both.before(kRows), part.before(whole.before(kRows)));
        }
    }
}

TEST(Share, ValuesAreTakenAndPutBack) {
    const auto all = Random(1).values<int32_t>(kRows, -1000, 1000);
    const std::vector<int32_t> rows = {0, 127, 128, 128, 700, 2566, 3, 2000};
    for (int64_t n : {int64_t(0), int64_t(1), kRowBlock, 3 * kRowBlock + 1, kRows}) {
        std::vector<int32_t> again(n, 7777);
        for (int number = 0; number < 3; number++) {
            const Share share{number, 3};
            std::vector<int32_t> own(share.before(n));
            share.take(n, all.data(), own.data());
            for (size_t i = 0; i < own.size(); i++) {
                ASSERT_EQ(own[i], all[share.row(int64_t(i))]);
            }
            share.put(n, own.data(), again.data());
        }
        EXPECT_TRUE(std::equal(again.begin(), again.end(), all.begin()));
    }
    size_t held = 0;
    for (int number = 0; number < 3; number++) {
        const Share share{number, 3};
        size_t next = 0;
        const std::vector<int32_t> own = share.held(rows.data(), int64_t(rows.size()));
        for (const int32_t row : rows) {
            if (share.holds(row)) {
                ASSERT_LT(next, own.size());
                EXPECT_EQ(share.row(own[next++]), row);
            }
        }
        EXPECT_EQ(next, own.size());
        held += next;
    }
    EXPECT_EQ(held, rows.size());
}

} // namespace
} // namespace faiss_vlc
