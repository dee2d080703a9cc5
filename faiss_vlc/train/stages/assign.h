#pragma once

#include <cstdint>
#include <utility>

#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/stages/arrays.h>

namespace faiss_vlc {

/// The nearest anchors of each row, on integers.
///
/// score(i, j) = |a_j|^2 + bias_j - 2 <x_i, a_j>. Each residue class j mod 16 keeps its best anchor
/// (smaller score, then smaller j); the K best class winners are the row's neighbours. So the first
/// is the exact nearest, and a kernel needs one running best per SIMD lane instead of a heap.
///
/// x int8 n x dp. Labels are -1 and distances INT32_MAX where m < K.
void assign_rows(int64_t n, const int8_t* x, const AnchorView& anchors, const Assigned& to);

/// Compares the nearest labels of the first `rows` rows with the previous ones (int32 n, replaced)
/// and adds up energies.
AssignSummary summarize_assign(const Shape& shape, int64_t rows, const int32_t* label,
                               const int32_t* dist, int32_t* previous);

/// <a, b> over dp components.
inline int32_t dot8(int dp, const int8_t* a, const int8_t* b) {
    int32_t sum = 0;
    for (int k = 0; k < dp; k++) {
        sum += int16_t(a[k]) * int16_t(b[k]);
    }
    return sum;
}

/// The best anchor of each class while a row meets anchors one by one.
class BestOfClasses {
public:
    BestOfClasses();
    void add(int of_class, int32_t anchor, int32_t score);
    /// The best of them as a row of label and dist; own is |x|^2, bias may be null.
    void store(int neighbours, int32_t own, const int32_t* bias, int32_t* label, int32_t* dist);

private:
    std::pair<int32_t, int32_t> best_[kClasses]; ///< score, anchor
};

} // namespace faiss_vlc
