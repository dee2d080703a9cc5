#include <algorithm>

#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

namespace {

/// Distances of codes without factors: plain decoding.
uint32_t plain_distances(const ListScan& list, const int32_t* acc, int count, float bound,
                         float* distance) {
    uint32_t within = 0;
    for (int v = 0; v < kBlock; v++) {
        distance[v] = list.list_distance - list.far_mul * float(2 * acc[v] - list.half);
    }
    for (int v = 0; v < count; v++) {
        within |= uint32_t(distance[v] <= bound) << v;
    }
    return within;
}

uint64_t scan_words(const ListScan& list, const uint8_t* blocks, int count, float bound,
                    float* distance) {
    const Layout& layout = *list.layout;
    int32_t acc[kScanBatch] = {};
    (layout.has_few_blocks() ? simd().words.few_sums : simd().words.sums)(list, blocks, count, acc);
    uint64_t within = 0;
    for (int first = 0; first < count; first += kBlock) {
        const int in_block = std::min(kBlock, count - first);
        const uint8_t* factors = blocks + int64_t(first) * layout.code_size() +
                                 int64_t(layout.code_bytes) * in_block;
        uint32_t close;
        if (layout.factor_bytes == 0) {
            close = plain_distances(list, acc + first, in_block, bound, distance + first);
        } else if (layout.factor_bytes == 2) {
            close = simd().scan.distances(list, acc + first, factors, in_block, bound,
                                          distance + first);
        } else {
            uint16_t both[kBlock]; // see join_factors; what lies behind the last one is left alone
            for (int v = 0; v < kBlock; v++) {
                both[v] = uint16_t(factors[v] << 8);
            }
            close = simd().scan.distances(list, acc + first, reinterpret_cast<uint8_t*>(both),
                                          in_block, bound, distance + first);
        }
        within |= uint64_t(close) << first;
    }
    return within;
}

/// For at most kManyTogether vectors.
void rank_some(const AnchorTiles& anchors, int count, const int8_t* const* x, int32_t factor,
               int32_t* const* scores) {
    const Simd::Rank& rank = simd().rank;
    if (rank.many && count >= kTogether) {
        rank.many(anchors, count, x, factor, scores);
        return;
    }
    int q = 0;
    for (; q + kTogether <= count; q += kTogether) {
        rank.together(anchors, x + q, factor, scores + q);
    }
    for (; q < count; q++) {
        rank.tiles(anchors, x[q], factor, scores[q]);
    }
}

} // namespace

void rank_together(const AnchorTiles& anchors, int count, const int8_t* const* x, int32_t factor,
                   int32_t* const* scores) {
    constexpr int kBlockBytes = 1 << 17; // of anchors, that stay near while all are scored by them
    const int block = std::max(8, kBlockBytes / (anchors.groups * 64) / 8 * 8);
    const int at_once = count <= kTogether ? anchors.tiles : block;
    for (int tile = 0; tile < anchors.tiles; tile += at_once) {
        const int64_t row = int64_t(tile) * 16;
        const AnchorTiles some{std::min(at_once, anchors.tiles - tile), anchors.groups,
                               anchors.packed + row * anchors.groups * 4,
                               anchors.component_sums + row, anchors.offsets + row};
        for (int q = 0; q < count; q += kManyTogether) {
            const int those = std::min(kManyTogether, count - q);
            int32_t* places[kManyTogether];
            for (int i = 0; i < those; i++) {
                places[i] = scores[q + i] + row;
            }
            rank_some(some, those, x + q, factor, places);
        }
    }
}

ScanCodes scan_codes_of(const ListScan& list) {
    if (list.layout->has_words()) {
        return scan_words;
    }
    return list.fine ? simd().scan.blocks_fine : simd().scan.blocks;
}

} // namespace faiss_vlc
