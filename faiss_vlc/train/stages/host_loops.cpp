#include <faiss_vlc/train/stages/host_loops.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <memory>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/aligned.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/train/stages/assign.h>
#include <faiss_vlc/train/stages/near.h>

namespace faiss_vlc {

namespace {

constexpr int kRows = 128; // that a loop takes at once

/// Anchors that rows are compared with, without what Nearest::classes does not read.
AnchorTiles tiles_of(int padded, int dp, const int8_t* packed, const int32_t* offset) {
    return {padded / 16, dp / 4, packed, nullptr, offset};
}

/// The best of a row's classes, in order: found(which, score, position), which has score INT_MAX if
/// there are no more.
template <class Found>
void each_best(int neighbours, const int32_t* score, const int32_t* tile, Found&& found) {
    uint64_t key[kClasses];
    for (int c = 0; c < kClasses; c++) {
        key[c] = rank_key(score[c], tile[c] * kClasses + c);
    }
    for (int r = 0; r < neighbours; r++) {
        uint64_t* best = std::min_element(key, key + kClasses);
        found(r, int32_t(uint32_t(*best >> 32) ^ 0x80000000u), int32_t(uint32_t(*best)));
        *best = rank_key(INT_MAX, 0);
    }
}

/// The classes of at most kRows rows.
struct Classes {
    alignas(64) int32_t score[kRows * kClasses];
    alignas(64) int32_t tile[kRows * kClasses];
    const int8_t* row[kRows];
};

} // namespace

bool loops_beat_kernels() {
    return simd().rank.many != nullptr;
}

void assign_rows_by_loops(int64_t n, const int8_t* x, const int32_t* square,
                          const PackedAnchors& anchors, const Assigned& to) {
    const int padded = (anchors.m + 15) / 16 * 16;
    const AnchorTiles tiles = tiles_of(padded, anchors.dp, anchors.packed, anchors.offset);
#pragma omp parallel for schedule(dynamic) if (n > kRows)
    for (int64_t first = 0; first < n; first += kRows) {
        const int some = int(std::min<int64_t>(kRows, n - first));
        Classes classes;
        for (int i = 0; i < some; i++) {
            classes.row[i] = x + (first + i) * anchors.dp;
        }
        simd().nearest.classes(tiles, some, classes.row, classes.score, classes.tile);
        for (int i = 0; i < some; i++) {
            const int64_t row = first + i;
            each_best(to.neighbours, classes.score + i * kClasses, classes.tile + i * kClasses,
                      [&](int r, int32_t score, int32_t j) {
                          const bool is = score != INT_MAX;
                          const int64_t at = row * to.neighbours + r;
                          to.label[at] = is ? j : -1;
                          to.dist[at] =
                                  is ? score - anchors.offset[j] + anchors.norm[j] + square[row]
                                     : INT_MAX;
                      });
        }
    }
}

namespace {

/// One anchor's list as rows are compared with it.
struct PackedList {
    AlignedVector<int8_t> packed;
    std::vector<int32_t> offset;
    Classes classes;

    PackedList(int stride, int dp) : packed(size_t(stride) * dp), offset(stride) {}

    void pack(const AnchorView& anchors, int stride, const int32_t* list) {
        const int groups = anchors.dp / 4;
        for (int p = 0; p < stride; p++) {
            const int j = list[p];
            int8_t* to = packed.data() + (size_t(p / 16) * groups) * 64 + p % 16 * 4;
            offset[p] = j < 0 ? INT_MAX : anchors.norm[j] + anchors.bias[j];
            for (int g = 0; g < groups; g++, to += 64) {
                int32_t four = 0;
                if (j >= 0) {
                    std::memcpy(&four, anchors.anchors8 + int64_t(j) * anchors.dp + g * 4, 4);
                }
                std::memcpy(to, &four, 4);
            }
        }
    }
};

/// Those of the rows of anchor a.
void assign_near_rows_of(int a, const SortedRows& rows, const AnchorView& anchors, int stride,
                         const int32_t* list, const Assigned& to, PackedList& near) {
    const AnchorTiles tiles = tiles_of(stride, anchors.dp, near.packed.data(), near.offset.data());
    Classes& classes = near.classes;
    near.pack(anchors, stride, list);
    for (int first = rows.first[a]; first < rows.first[a + 1]; first += kRows) {
        const int some = std::min(kRows, rows.first[a + 1] - first);
        for (int i = 0; i < some; i++) {
            classes.row[i] = rows.x + int64_t(rows.order[first + i]) * anchors.dp;
        }
        simd().nearest.classes(tiles, some, classes.row, classes.score, classes.tile);
        for (int i = 0; i < some; i++) {
            const int64_t row = rows.order[first + i];
            each_best(to.neighbours, classes.score + i * kClasses, classes.tile + i * kClasses,
                      [&](int r, int32_t score, int32_t position) {
                          const int32_t j = score == INT_MAX ? -1 : list[position];
                          const int64_t at = row * to.neighbours + r;
                          to.label[at] = j;
                          to.dist[at] =
                                  j < 0 ? INT_MAX : score - anchors.bias[j] + rows.square[row];
                      });
        }
    }
}

} // namespace

void assign_near_by_loops(const SortedRows& rows, const AnchorView& anchors, int length,
                          const int32_t* list, const Assigned& to) {
    const int stride = near_stride(length);
    Rescue rescue;
#pragma omp parallel
    {
        std::unique_ptr<PackedList> near;
        rescue.run([&] { near = std::make_unique<PackedList>(stride, anchors.dp); });
#pragma omp for schedule(dynamic)
        for (int a = 0; a < anchors.m; a++) {
            if (near && rows.first[a] < rows.first[a + 1]) { // null: rethrown below
                assign_near_rows_of(a, rows, anchors, stride, list + int64_t(a) * stride, to,
                                    *near);
            }
        }
    }
    rescue.rethrow();
}

void NearScores::begin(const AnchorView& anchors) {
    offset_.assign((anchors.m + 15) / 16 * 16, INT_MAX);
    component_sum_.assign(offset_.size(), 0);
    for (int j = 0; j < anchors.m; j++) {
        const int8_t* a = anchors.anchors8 + int64_t(j) * anchors.dp;
        offset_[j] = anchors.norm[j];
        for (int k = 0; k < anchors.dp; k++) {
            component_sum_[j] += a[k];
        }
    }
}

void NearScores::score(const AnchorView& anchors, const int8_t* packed, int begin, int count,
                       int padded, int32_t* score) const {
    const AnchorTiles tiles{int(offset_.size()) / 16, anchors.dp / 4, packed, component_sum_.data(),
                            offset_.data()};
#pragma omp parallel for schedule(dynamic) if (count > kManyTogether)
    for (int first = 0; first < count; first += kManyTogether) {
        const int some = std::min(kManyTogether, count - first);
        const int8_t* x[kManyTogether];
        int32_t* scores[kManyTogether];
        for (int i = 0; i < some; i++) {
            x[i] = anchors.anchors8 + int64_t(begin + first + i) * anchors.dp;
            scores[i] = score + int64_t(first + i) * padded;
        }
        rank_together(tiles, some, x, -2, scores);
        for (int i = 0; i < some; i++) {
            scores[i][begin + first + i] = INT_MIN;
        }
    }
}

} // namespace faiss_vlc
