#include <faiss_vlc/tune/regions/make_regions.h>

#include <algorithm>
#include <vector>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/interrupt.h>

namespace faiss_vlc {

namespace {

/// The nearest of count centres (int8 count x dp) to each anchor.
void assign_anchors(const Model& model, const std::vector<int8_t>& centres,
                    std::vector<int32_t>& region) {
    constexpr int kChunk = 96;
    const int dp = model.dp();
    const RankTables tables(int(centres.size() / size_t(dp)), dp, centres.data());
    region.resize(size_t(model.m));
#pragma omp parallel for schedule(static)
    for (int first = 0; first < model.m; first += kChunk) {
        simd().nearest.rows(tables.tiles(tables.norm), std::min(kChunk, model.m - first),
                            &model.anchors8[size_t(first) * dp], &region[first]);
    }
}

/// The means of the regions' anchors, rounded halves up. Those without anchors are left out.
std::vector<int8_t> means(const Model& model, const std::vector<int32_t>& region, int count) {
    const size_t dp = size_t(model.dp());
    std::vector<int64_t> sum(size_t(count) * dp, 0), anchors(size_t(count), 0);
    for (int j = 0; j < model.m; j++) {
        anchors[region[j]]++;
        for (size_t k = 0; k < dp; k++) {
            sum[size_t(region[j]) * dp + k] += model.anchors8[size_t(j) * dp + k];
        }
    }
    std::vector<int8_t> centres;
    for (int r = 0; r < count; r++) {
        const int64_t n = anchors[r];
        for (size_t k = 0; n > 0 && k < dp; k++) {
            const int64_t twice = 2 * sum[size_t(r) * dp + k] + n + 256 * n; // above 0
            centres.push_back(int8_t(twice / (2 * n) - 128));
        }
    }
    return centres;
}

/// Each followed by the nearest of those that are left, from the first one on: regions that a query
/// looks into often lie next to one another then, and are ranked at one go.
std::vector<int8_t> chained(const std::vector<int8_t>& centres, int dp) {
    const int count = int(centres.size() / size_t(dp));
    const RankTables tables(count, dp, centres.data());
    std::vector<int32_t> scores(tables.padded());
    std::vector<int8_t> order;
    std::vector<uint8_t> is_left(size_t(count), 1);
    for (int last = 0, i = 0; i < count; i++) {
        if (i % 256 == 0) {
            check_interrupt();
        }
        const int8_t* const centre = &centres[size_t(last) * dp];
        order.insert(order.end(), centre, centre + dp);
        is_left[last] = 0;
        simd().rank.tiles(tables.tiles(tables.norm), centre, -2, scores.data());
        int32_t least = INT32_MAX;
        for (int r = 0; r < count; r++) {
            if (is_left[r] && scores[r] < least) {
                least = scores[r];
                last = r;
            }
        }
    }
    return order;
}

} // namespace

Regions make_regions(const Model& model, int count) {
    constexpr int kIterations = 8;
    const int dp = model.dp();
    Regions regions;
    for (int64_t r = 0; r < count; r++) { // anchors at even steps to begin with
        const int8_t* const a = &model.anchors8[size_t(r * model.m / count) * dp];
        regions.centres.insert(regions.centres.end(), a, a + dp);
    }
    for (int i = 0; i < kIterations; i++) {
        check_interrupt();
        assign_anchors(model, regions.centres, regions.of);
        regions.centres = means(model, regions.of, int(regions.centres.size() / size_t(dp)));
    }
    regions.centres = chained(regions.centres, dp);
    assign_anchors(model, regions.centres, regions.of);
    std::vector<int32_t> number(regions.centres.size() / size_t(dp), 0);
    for (const int32_t r : regions.of) {
        number[r] = 1;
    }
    std::vector<int8_t> centres; // of regions that have anchors
    int used = 0;
    for (size_t r = 0; r < number.size(); r++) {
        if (number[r] > 0) {
            const int8_t* const c = &regions.centres[r * dp];
            centres.insert(centres.end(), c, c + dp);
            number[r] = used++;
        }
    }
    for (int32_t& r : regions.of) {
        r = number[r];
    }
    regions.centres = std::move(centres);
    regions.finish(used);
    return regions;
}

} // namespace faiss_vlc
