#include <faiss_vlc/train/pace/local_rows.h>

#include <algorithm>

namespace faiss_vlc {

namespace {

/// Rows, if the sample has as many.
struct Size {
    int64_t rows, components; ///< at most
};
constexpr Size kUsual = {16384, 1 << 23};
constexpr Size kLargest = {65536, 1 << 25};
constexpr int64_t kSampleShare = 8; ///< a large sample's trial takes 1 in so many of its rows
constexpr int64_t kMiddles = 8;     ///< rows that the others are near to, at least ...
constexpr int64_t kNear = 2048;     ///< ... and one for so many

int64_t within(const Size& size, int64_t rows, int dp) {
    return std::min({rows, size.rows, size.components / dp});
}

/// What two trials cost grows as the square of their rows, so large samples can afford more.
int64_t local_count(const Shape& shape) {
    return std::max(within(kUsual, shape.n, shape.dp),
                    within(kLargest, shape.n / kSampleShare, shape.dp));
}

/// Squared distances of all rows from one of the first.
std::vector<int32_t> distances_from(const Sample& sample, int64_t middle, const Ranks& processes) {
    const Shape shape = sample.shape8();
    const Share share = own_share(processes);
    std::vector<int32_t> distance(shape.n, 0);
    const int8_t* const from = sample.head() + middle * shape.dp;
    const int64_t here = share.before(shape.n);
#pragma omp parallel for if (here > 1000)
    for (int64_t i = 0; i < here; i++) {
        const int8_t* const row = &sample.x8[size_t(i) * shape.dp];
        int32_t square = 0;
        for (int k = 0; k < shape.dp; k++) {
            const int32_t off = row[k] - from[k];
            square += off * off;
        }
        distance[share.row(i)] = square;
    }
    processes.gather(distance.data(), distance.size() * sizeof(int32_t));
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
    for (int64_t p = 0; p < middles && wanted < shape.n && wanted >= middles; p++) {
        mark_nearest(distances_from(sample, p, processes), wanted / middles, marked);
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
