#include <faiss_vlc/train/pace/local_rows.h>

#include <algorithm>

#include <faiss_vlc/kernels/simd.h>
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

/// Squared distances of all rows from `middles` <= kAtOnce of the first, by middle.
constexpr int kAtOnce = 4;
std::vector<std::vector<int32_t>> distances_from(const Sample& sample, int64_t first, int middles,
                                                 const Ranks& processes) {
    const Shape shape = sample.shape8();
    const Share share = own_share(processes);
    std::vector<std::vector<int32_t>> distance(middles, std::vector<int32_t>(shape.n, 0));
    const RankTables tables(middles, shape.dp, sample.head() + first * shape.dp);
    const AnchorTiles tiles = tables.tiles(tables.norm);
    const int64_t here = share.before(shape.n);
#pragma omp parallel for if (here > 1000)
    for (int64_t i = 0; i < here; i++) {
        const int8_t* const row = &sample.x8[size_t(i) * shape.dp];
        int32_t score[16];
        simd().rank.tiles(tiles, row, -2, score);
        const int32_t square = squared_norm(shape.dp, row);
        for (int p = 0; p < middles; p++) {
            distance[p][share.row(i)] = square + score[p];
        }
    }
    for (std::vector<int32_t>& one : distance) {
        processes.gather(one.data(), one.size() * sizeof(int32_t));
    }
    return distance;
}

/// Marks the `count` nearest rows; of equally near ones the first.
void mark_nearest(const std::vector<int32_t>& distance, int64_t count, std::vector<bool>& marked) {
    std::vector<int32_t> sorted = distance;
    std::nth_element(sorted.begin(), sorted.begin() + (count - 1), sorted.end());
    const int32_t last = sorted[count - 1];
    int64_t left = count - std::count_if(sorted.begin(), sorted.end(),
                                         [&](int32_t one) { return one < last; });
    for (size_t i = 0; i < distance.size(); i++) {
        if (distance[i] < last || (distance[i] == last && left-- > 0)) {
            marked[i] = true;
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
    for (int64_t p = 0; p < met; p += kAtOnce) {
        const int some = int(std::min<int64_t>(kAtOnce, met - p));
        for (const std::vector<int32_t>& one : distances_from(sample, p, some, processes)) {
            mark_nearest(one, wanted / middles, marked);
        }
    }
    const Share share = own_share(processes);
    std::vector<int8_t> rows(size_t(std::count(marked.begin(), marked.end(), true)) * shape.dp, 0);
    int8_t* next = rows.data();
    for (int64_t i = 0; i < shape.n; i++) {
        if (!marked[i]) {
            continue;
        }
        if (share.holds(i)) {
            std::copy_n(&sample.x8[size_t(share.before(i)) * shape.dp], shape.dp, next);
        }
        next += shape.dp;
    }
    processes.gather(rows.data(), rows.size());
    return rows;
}

} // namespace faiss_vlc
