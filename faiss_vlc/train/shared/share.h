#pragma once

#include <cstdint>
#include <vector>

namespace faiss_vlc {

struct Ranks;

constexpr int64_t kRowBlock = 128; ///< numbers of rows that begin a part are multiples of this

/// What one of several parties (processes, devices) has of a sample: rows go to them in turn,
/// kRowBlock at a time. So each has a part of the first rows, which an iteration sees, and rows
/// that begin a part begin a block of its own too.
struct Share {
    int number = 0; ///< of the party, below count
    int count = 1;

    bool holds(int64_t row) const { return row / kRowBlock % count == number; }
    /// How many of the first rows it holds: the number that `row` has here, if it holds it.
    int64_t before(int64_t row) const;
    /// The row that is number i here.
    int64_t row(int64_t i) const {
        return (i / kRowBlock * count + number) * kRowBlock + i % kRowBlock;
    }
    /// A share of this share.
    Share of(const Share& part) const { return {number + count * part.number, count * part.count}; }

    /// The numbers here of those of n rows that it holds.
    std::vector<int32_t> held(const int32_t* rows, int64_t n) const;
    /// Copies its values out of those of the first n rows, and back to their places.
    void take(int64_t n, const int32_t* all, int32_t* own) const;
    void put(int64_t n, const int32_t* own, int32_t* all) const;
};

/// What this process has of the sample's rows.
Share own_share(const Ranks& processes);

} // namespace faiss_vlc
