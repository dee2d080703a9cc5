#include <faiss_vlc/train/pace/local_rows.h>

#include <algorithm>
#include <climits>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/lib/scratch.h>
#include <faiss_vlc/model/rank_tables.h>

namespace faiss_vlc {

namespace {

/// Rows, if the sample has as many.
struct Size {
    int64_t rows, components; ///< at most
};
constexpr Size kUsual = {16384, 1 << 23};
constexpr Size kLargest = {65536, 1 << 25};
constexpr int64_t kSampleShare = 16;   ///< a large sample's trial takes 1 in so many of its rows
constexpr int64_t kManyRows = 1 << 19; ///< from so many on it takes twice as many
constexpr int64_t kMiddles = 8;        ///< rows that the others are near to, at least ...
constexpr int64_t kNear = 2048;        ///< ... and one for so many

int64_t within(const Size& size, int64_t rows, int dp) {
    return std::min({rows, size.rows, size.components / dp});
}

/// What two trials cost grows as the square of their rows, so large samples can afford more.
int64_t local_count(const Shape& shape) {
    const int64_t part = shape.n / kSampleShare * (shape.n < kManyRows ? 1 : 2);
    return std::max(within(kUsual, shape.n, shape.dp), within(kLargest, part, shape.dp));
}

int32_t squared_norm(int dp, const int8_t* row) {
    int32_t square = 0;
    for (int k = 0; k < dp; k++) {
        square += row[k] * row[k];
    }
    return square;
}

/// Squared distances of all rows from some middles, by middle.
using Distances = std::vector<Uncleared<int32_t>>;

constexpr int kTile = 16;                 ///< middles whose scores cost as much as one's
constexpr int kFew = 4;                   ///< middles whose distances fit beside any sample
constexpr int64_t kRowsForTile = 1 << 20; ///< for which those of a tile do

/// From `middles` <= kTile of the first rows on.
Distances distances_from(const Sample& sample, int64_t first, int middles, const Ranks& processes) {
    const Shape shape = sample.shape8();
    const Share share = own_share(processes);
    Distances distance(middles);
    for (Uncleared<int32_t>& one : distance) {
        one.resize((shape.n + kTile - 1) / kTile * kTile);
        if (processes.count > 1) {
            std::fill(one.begin(), one.end(), 0); // where others have the rows
        }
        std::fill(one.begin() + shape.n, one.end(), INT32_MAX);
    }
    const RankTables tables(middles, shape.dp, sample.head() + first * shape.dp);
    const AnchorTiles tiles = tables.tiles(tables.norm);
    const int64_t here = share.before(shape.n);
#pragma omp parallel for if (here > 1000)
    for (int64_t begin = 0; begin < here; begin += kManyTogether) {
        const int some = int(std::min<int64_t>(kManyTogether, here - begin));
        int32_t score[kManyTogether][kTile];
        const int8_t* x[kManyTogether];
        int32_t* scores[kManyTogether];
        for (int i = 0; i < some; i++) {
            x[i] = &sample.x8[size_t(begin + i) * shape.dp];
            scores[i] = score[i];
        }
        rank_together(tiles, some, x, -2, scores);
        for (int i = 0; i < some; i++) {
            const int32_t square = squared_norm(shape.dp, x[i]);
            const int64_t row = share.row(begin + i);
            for (int p = 0; p < middles; p++) {
                distance[p][row] = square + score[i][p];
            }
        }
    }
    for (Uncleared<int32_t>& one : distance) {
        processes.gather(one.data(), size_t(shape.n) * sizeof(int32_t));
    }
    return distance;
}

/// A distance that the `count` nearest of n rows are within, as far as the first ones tell.
int32_t likely_bound(const Uncleared<int32_t>& distance, int64_t n, int64_t count) {
    constexpr int64_t kSeen = 16384;
    const int64_t seen = std::min(n, kSeen);
    std::vector<int32_t> first(distance.begin(), distance.begin() + seen);
    const int64_t at = std::min(seen - 1, count * seen / n * 5 / 4 + 64);
    std::nth_element(first.begin(), first.begin() + at, first.end());
    return first[at];
}

/// The `count` nearest of n rows, of equally near ones the first; in any order.
std::vector<uint32_t> nearest_rows(const Uncleared<int32_t>& distance, int64_t n, int64_t count) {
    const auto found = aligned_scratch<uint64_t>(distance.size());
    const auto select = [&](int32_t bound) {
        return simd().rank.select_within(int(distance.size()), distance.data(), bound, found.get());
    };
    int some = select(likely_bound(distance, n, count));
    if (some < count) {
        some = select(INT32_MAX - 1);
    }
    std::nth_element(found.get(), found.get() + (count - 1), found.get() + some);
    std::vector<uint32_t> rows(count);
    for (int64_t i = 0; i < count; i++) {
        rows[i] = uint32_t(found[i]);
    }
    return rows;
}

/// Marks the `count` nearest rows of each middle.
void mark_nearest(const Distances& distances, int64_t count, std::vector<bool>& marked) {
    std::vector<std::vector<uint32_t>> rows(distances.size());
    Rescue rescue;
#pragma omp parallel for schedule(dynamic)
    for (size_t p = 0; p < distances.size(); p++) {
        rescue.run([&] { rows[p] = nearest_rows(distances[p], int64_t(marked.size()), count); });
    }
    rescue.rethrow();
    for (const std::vector<uint32_t>& of_one : rows) {
        for (const uint32_t row : of_one) {
            marked[row] = true;
        }
    }
}

} // namespace

std::vector<int8_t> local_rows(const Sample& sample, const Ranks& processes) {
    const Shape shape = sample.shape8();
    const int64_t wanted = local_count(shape);
    std::vector<bool> marked(shape.n, wanted == shape.n);
    const int64_t middles = std::min<int64_t>(std::max(kMiddles, wanted / kNear), shape.m);
    const int64_t met = wanted < shape.n && wanted >= middles ? middles : 0;
    const int at_once = shape.n <= kRowsForTile ? kTile : kFew;
    for (int64_t p = 0; p < met; p += at_once) {
        const int some = int(std::min<int64_t>(at_once, met - p));
        mark_nearest(distances_from(sample, p, some, processes), wanted / middles, marked);
    }
    const Share share = own_share(processes);
    std::vector<int8_t> rows;
    rows.reserve(size_t(std::count(marked.begin(), marked.end(), true)) * shape.dp);
    for (int64_t i = 0; i < shape.n; i++) {
        if (marked[i] && share.holds(i)) {
            const int8_t* row = &sample.x8[size_t(share.before(i)) * shape.dp];
            rows.insert(rows.end(), row, row + shape.dp);
        } else if (marked[i]) {
            rows.resize(rows.size() + shape.dp, 0);
        }
    }
    processes.gather(rows.data(), rows.size());
    return rows;
}

} // namespace faiss_vlc
