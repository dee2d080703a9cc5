#include <faiss_vlc/train/stages/maintain.h>

#include <algorithm>
#include <climits>
#include <numeric>

#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/train/stages/update.h>

namespace faiss_vlc {

void nearest_anchors(int m, int dp, const int8_t* anchors8, const int32_t* norm, int32_t* label,
                     int32_t* dist) {
#pragma omp parallel for if (m > 100)
    for (int j = 0; j < m; j++) {
        label[j] = -1;
        dist[j] = INT_MAX;
        const int8_t* a = anchors8 + int64_t(j) * dp;
        for (int o = 0; o < m; o++) {
            const int8_t* b = anchors8 + int64_t(o) * dp;
            int32_t dot = 0;
            for (int k = 0; k < dp; k++) {
                dot += int16_t(a[k]) * int16_t(b[k]);
            }
            const int32_t square = norm[j] + norm[o] - 2 * dot;
            if (o != j && square < dist[j]) {
                label[j] = o;
                dist[j] = square;
            }
        }
    }
}

void apply_moves(const Shape& shape, const Move* moves, int move_count, const int32_t* count,
                 const AnchorArrays& anchors) {
    const auto [anchor, anchor8, norm, spread, bias] = anchors;
    const int64_t reach = 16 * std::max<int64_t>(1, isqrt(shape.d));
    for (int i = 0; i < move_count; i++) {
        const Move& move = moves[i];
        int32_t* dst = anchor + int64_t(move.dst) * shape.dp;
        int32_t* src = anchor + int64_t(move.src) * shape.dp;
        const int64_t dst_count = std::max(count[move.dst], 1);
        const int64_t src_count = std::max(count[move.src], 1);
        for (int k = 0; k < shape.d; k++) {
            if (move.kind == Move::merge) {
                dst[k] = int32_t(
                        round_div(dst[k] * dst_count + src[k] * src_count, dst_count + src_count));
            } else {
                const int64_t random =
                        int64_t(hash32(move.salt, uint32_t(move.src), uint32_t(k)) & 0xffff) -
                        32768;
                const int64_t offset = random * spread[move.src] / reach;
                dst[k] = int32_t(std::clamp<int64_t>(src[k] + offset, -kMaxAnchor, kMaxAnchor));
                src[k] = int32_t(std::clamp<int64_t>(src[k] - offset, -kMaxAnchor, kMaxAnchor));
            }
        }
        if (move.kind == Move::split) {
            bias[move.dst] = bias[move.src];
        }
        refresh_anchors(move.dst, 1, shape.dp, anchor, anchor8, norm);
        refresh_anchors(move.src, 1, shape.dp, anchor, anchor8, norm);
    }
}

void quantize_anchors(const Shape& shape, AnchorGrid grid, int32_t* anchor, int8_t* anchor8,
                      int32_t* norm, int32_t* spread) {
    constexpr float kUnit = float(1 << kAnchorBits);
    for (int64_t i = 0; i < int64_t(shape.m) * shape.dp; i++) {
        if (grid == AnchorGrid::int8) {
            anchor[i] = anchor8[i] * (1 << kAnchorBits);
        } else {
            // exact both ways: a float holds 24 bits, and float16 steps here are whole units
            anchor[i] = int32_t(half_to_float(float_to_half(float(anchor[i]) / kUnit)) * kUnit);
        }
    }
    for (int j = 0; j < shape.m; j++) {
        constexpr float kSpreadUnit = float(1 << kSpreadBits);
        spread[j] =
                int32_t(half_to_float(float_to_half(float(spread[j]) / kSpreadUnit)) * kSpreadUnit);
    }
    refresh_anchors(0, shape.m, shape.dp, anchor, anchor8, norm);
}

MovePlan::MovePlan(int m) {
    merges.reserve(m);
    splits.reserve(m);
    order.reserve(m);
    touched.reserve(m);
}

void MovePlan::clear() {
    merges.clear();
    splits.clear();
}

void plan_moves(const Shape& shape, const MaintainParams& params, uint32_t salt,
                const AnchorStatistics& anchors, MovePlan& plan) {
    const int32_t* const count = anchors.count;
    const int64_t* const energy = anchors.energy;
    const int32_t* const near_label = anchors.near_label;
    const int32_t* const near_dist = anchors.near_dist;
    std::vector<int32_t>& order = plan.order;
    std::vector<uint8_t>& touched = plan.touched;
    const int m = shape.m;
    plan.clear();
    touched.assign(m, 0);
    int64_t total_energy = 0;
    int64_t total_near = 0;
    for (int j = 0; j < m; j++) {
        total_energy += energy[j];
        total_near += near_label[j] >= 0 ? near_dist[j] : 0;
    }
    const double big_count = double(params.split_factor) * double(shape.n_train) / m;
    const double big_energy = double(params.split_factor) * double(total_energy) / m;
    const double close =
            double(params.merge_fraction) * params.merge_fraction * double(total_near) / m;

    // who gives: the most energetic first
    order.resize(m);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return energy[a] != energy[b] ? energy[a] > energy[b] : a < b;
    });
    size_t next = 0;
    auto take_source = [&](bool only_big) {
        for (; next < order.size(); next++) {
            const int32_t j = order[next];
            const bool big = double(count[j]) > big_count || double(energy[j]) > big_energy;
            if (!touched[j] && count[j] > 1 && energy[j] > 0) {
                return big || !only_big ? j : -1;
            }
        }
        return -1;
    };
    auto split_into = [&](int32_t slot, int32_t source) {
        touched[slot] = touched[source] = 1;
        next++;
        plan.splits.push_back({Move::split, slot, source, salt});
    };
    for (int j = 0; j < m; j++) {
        if (count[j] == 0 && !touched[j]) {
            const int32_t source = take_source(false);
            if (source < 0) {
                return;
            }
            split_into(j, source);
        }
    }
    for (int j = 0; j < m; j++) {
        const int32_t other = near_label[j];
        if (other < 0 || touched[j] || touched[other] || double(near_dist[j]) >= close) {
            continue;
        }
        // reserve the pair before looking for a source, so that it is not its own
        touched[j] = touched[other] = 1;
        const int32_t source = take_source(true);
        if (source < 0) {
            return;
        }
        const int32_t keep = std::min(j, other);
        const int32_t freed = std::max(j, other);
        plan.merges.push_back({Move::merge, keep, freed, 0});
        split_into(freed, source);
    }
}

} // namespace faiss_vlc
