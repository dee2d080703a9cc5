#include <faiss_vlc/codec/codec.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <queue>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/integer_math.h>

namespace faiss_vlc {

const double kUniformStep[kMaxWidth + 1] = {0,         1.7553460, 1.0454710, 0.5860194, 0.3352006,
                                            0.1881388, 0.1040739, 0.0568710, 0.0307623};
const double kUniformError[kMaxWidth + 1] = {1,          0.3633802,  0.1188461,
                                             0.0374397,  0.0115428,  0.00349519,
                                             0.00104004, 0.00030433, 0.0000876};

namespace {

/// Whether fields of these widths (count of each) fit into `rows` bytes: first fit by falling
/// width.
bool fits(const int* count, int rows) {
    int left[kMaxWidth + 1] = {}; // rows by free bits
    left[8] = rows;
    for (int width = kMaxWidth; width >= 1; width--) {
        int wanted = count[width];
        // the tightest row that takes it; what is left of that is tighter still
        for (int bits = width; bits <= 8 && wanted > 0; bits++) {
            const int each = bits / width;
            const int filled = std::min(left[bits], wanted / each);
            left[bits] -= filled;
            left[bits - each * width] += filled;
            wanted -= filled * each;
            if (wanted > 0 && left[bits] > 0) {
                left[bits]--;
                left[bits - wanted * width]++;
                wanted = 0;
            }
        }
        if (wanted > 0) {
            return false;
        }
    }
    return true;
}

struct Run {
    int first = 0, lanes = 0, width = 0;
    double gain[kMaxWidth] = {}; ///< of the step from width w to w + 1, per bit
};

/// Gives bits to runs of `lanes` dimensions starting at `first`, within `rows` bytes.
std::vector<Run> spread_bits(int first, int last, int lanes, int rows,
                             const std::vector<double>& weight) {
    std::vector<Run> runs;
    for (int at = first; at + lanes <= last; at += lanes) {
        Run run;
        run.first = at;
        run.lanes = lanes;
        const double sum = std::accumulate(&weight[at], &weight[at] + lanes, 0.0);
        for (int w = 0; w < kMaxWidth; w++) {
            run.gain[w] = sum * (kUniformError[w] - kUniformError[w + 1]);
        }
        runs.push_back(run);
    }
    using Offer = std::pair<double, int>; // gain, -run: the stronger run first among equals
    std::priority_queue<Offer> offers;
    for (size_t i = 0; i < runs.size(); i++) {
        offers.push({runs[i].gain[0], -int(i)});
    }
    int count[kMaxWidth + 1] = {};
    while (!offers.empty()) {
        Run& run = runs[-offers.top().second];
        const int index = offers.top().second;
        offers.pop();
        if (run.width > 0) {
            count[run.width]--;
        }
        count[run.width + 1]++;
        if (fits(count, rows)) {
            run.width++;
            if (run.width < kMaxWidth) {
                offers.push({run.gain[run.width], index});
            }
        } else {
            count[run.width + 1]--;
            if (run.width > 0) {
                count[run.width]++;
            }
        }
    }
    return runs;
}

/// Lays runs of one lane count into rows, first fit by falling width.
void place(const std::vector<Run>& runs, int first_row, int rows, std::vector<Field>& fields) {
    std::vector<int> used(rows, 0);
    std::vector<int> order;
    for (size_t i = 0; i < runs.size(); i++) {
        if (runs[i].width > 0) {
            order.push_back(int(i));
        }
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return runs[a].width > runs[b].width; });
    for (int i : order) {
        int best = -1;
        for (int r = 0; r < rows; r++) {
            if (used[r] + runs[i].width <= 8 && (best < 0 || used[r] > used[best])) {
                best = r;
            }
        }
        fields.push_back({runs[i].first, runs[i].lanes, runs[i].width, used[best], first_row + best,
                          0, 0, false});
        used[best] += runs[i].width;
    }
}

double error_of(const std::vector<Field>& fields, const std::vector<double>& weight) {
    double error = 0;
    for (const Field& f : fields) {
        for (int i = 0; i < f.lanes; i++) {
            error -= weight[f.first + i] * (1 - kUniformError[f.width]);
        }
    }
    return error;
}

} // namespace

Layout Layout::allocate(int code_bytes, const std::vector<double>& variance, double tilt) {
    // dimensions beyond d pad the last run: no variance, and so no bits before all others are full
    const int d = int(variance.size());
    std::vector<double> weight(d + 4, 0);
    for (int i = 0; i < d; i++) {
        weight[i] = variance[i] > 0 ? variance[i] * stable_exp(tilt * stable_log(variance[i])) : 0;
    }
    const int full_rows = code_bytes / 4;
    const bool pair_row = code_bytes % 4 >= 2;
    const bool single_row = code_bytes % 2 == 1;
    std::vector<Field> best;
    double best_error = 1;
    // The narrow rows take the strongest dimensions; how many is a matter of trying.
    for (int singles = single_row ? 1 : 0; singles <= (single_row ? std::min(8, d) : 0);
         singles++) {
        const int max_pairs = pair_row ? std::min(8, (d - singles) / 2) : 0;
        for (int pairs = max_pairs > 0 ? 1 : 0; pairs <= max_pairs; pairs++) {
            const int head = singles + 2 * pairs;
            std::vector<Field> fields;
            place(spread_bits(0, singles, 1, single_row, weight), full_rows + pair_row, single_row,
                  fields);
            place(spread_bits(singles, head, 2, pair_row, weight), full_rows, pair_row, fields);
            place(spread_bits(head, d + (4 - (d - head) % 4) % 4, 4, full_rows, weight), 0,
                  full_rows, fields);
            const double error = error_of(fields, weight);
            if (best.empty() || error < best_error) {
                best = std::move(fields);
                best_error = error;
            }
        }
    }
    // Close the gaps that dimensions without bits would leave: runs keep their order, so only the
    // tail has none; a padded run at the very end may reach beyond d.
    return from_fields(code_bytes, std::move(best));
}

Layout Layout::from_fields(int code_bytes, std::vector<Field> fields) {
    Layout layout;
    layout.code_bytes = code_bytes;
    // wide rows first: in an aligned block they stay aligned
    layout.row_lanes.assign(code_bytes / 4, 4);
    if (code_bytes % 4 >= 2) {
        layout.row_lanes.push_back(2);
    }
    if (code_bytes % 2 == 1) {
        layout.row_lanes.push_back(1);
    }
    int offset = 0;
    for (int lanes : layout.row_lanes) {
        layout.row_offset.push_back(offset);
        offset += lanes;
    }
    std::stable_sort(fields.begin(), fields.end(), [](const Field& a, const Field& b) {
        return a.row != b.row ? a.row < b.row : a.shift < b.shift;
    });
    int row = -1;
    int used = 0;
    for (const Field& f : fields) {
        if (f.row < 0 || f.row >= int(layout.row_lanes.size()) ||
            f.lanes != layout.row_lanes[f.row] || f.width < 1 || f.width > kMaxWidth ||
            f.first < 0) {
            fail("code layout: field of %d dimensions and %d bits in row %d of %zu", f.lanes,
                 f.width, f.row, layout.row_lanes.size());
        }
        if (f.row != row) {
            row = f.row;
            used = 0;
        }
        if (f.shift < used || f.shift + f.width > 8) {
            fail("code layout: bits %d to %d of row %d overlap or exceed a byte", f.shift,
                 f.shift + f.width - 1, f.row);
        }
        used = f.shift + f.width;
        layout.axes += f.lanes;
    }
    std::vector<uint8_t> seen(layout.axes, 0);
    for (const Field& f : fields) {
        for (int lane = 0; lane < f.lanes; lane++) {
            const int64_t axis = int64_t(f.first) + lane;
            if (axis >= layout.axes || seen[axis]++) {
                fail("code layout: dimension %lld of %d is coded twice or leaves a gap",
                     (long long)axis, layout.axes);
            }
        }
    }
    std::stable_sort(fields.begin(), fields.end(), [](const Field& a, const Field& b) {
        return a.shift != b.shift ? a.shift < b.shift : a.row < b.row;
    });
    // A byte pair adds at most 2 * 127 * (2^width - 1) to a 16-bit sum; an 8-bit field is split in
    // halves of 4 bits where products are 16-bit, and widens by itself.
    int bound = 0;
    for (size_t i = 0; i < fields.size(); i++) {
        Field& f = fields[i];
        f.offset = layout.row_offset[f.row];
        f.mask = 0x01010101u * uint32_t(((1 << f.width) - 1) << f.shift);
        const int reach = 254 * ((1 << f.width) - 1);
        const int next = i + 1 < fields.size() ? 254 * ((1 << fields[i + 1].width) - 1) : 0;
        bound += reach;
        f.widen = i + 1 == fields.size() || bound + next > 32767;
        bound = f.widen ? 0 : bound;
        f.is_usual = f.lanes == 4 && f.width < 8 && !f.widen;
    }
    layout.fields = std::move(fields);
    return layout;
}

Layout Layout::of_blocks(int code_bytes, int factor_bytes, int axes) {
    Layout layout;
    layout.codec = CodecKind::block;
    layout.code_bytes = code_bytes;
    layout.factor_bytes = factor_bytes;
    layout.axes = axes;
    layout.row_lanes.assign(code_bytes, 1);
    layout.row_offset.resize(code_bytes);
    std::iota(layout.row_offset.begin(), layout.row_offset.end(), 0);
    const int blocks = std::min(code_bytes, axes);
    layout.block_axis = layout.block_slot = {0};
    for (int b = 1; b <= blocks; b++) {
        const int end = int(int64_t(b) * axes / blocks);
        const int many = end - layout.block_axis.back();
        layout.block_axis.push_back(end);
        layout.block_slot.push_back(layout.block_slot.back() + many + many % 2);
    }
    return layout;
}

std::vector<int> Layout::slot_axis() const {
    std::vector<int> axis(slots(), -1);
    for (int b = 0; b < blocks(); b++) {
        std::iota(&axis[block_slot[b]], &axis[block_slot[b]] + block_axis[b + 1] - block_axis[b],
                  block_axis[b]);
    }
    for (size_t i = 0; i < fields.size(); i++) {
        for (int l = 0; l < fields[i].lanes; l++) {
            axis[4 * i + l] = fields[i].first + l;
        }
    }
    return axis;
}

void pack_code(const Layout& layout, const uint8_t* level, uint8_t* code) {
    std::fill_n(code, layout.code_bytes, uint8_t(0));
    for (size_t i = 0; i < layout.fields.size(); i++) {
        const Field& f = layout.fields[i];
        if (f.lanes == 4) { // at once: levels stay within their bytes
            uint32_t bits, word;
            std::memcpy(&bits, level + 4 * i, 4);
            std::memcpy(&word, code + f.offset, 4);
            word |= bits << f.shift;
            std::memcpy(code + f.offset, &word, 4);
            continue;
        }
        for (int l = 0; l < f.lanes; l++) {
            code[f.offset + l] |= uint8_t(level[4 * i + l] << f.shift);
        }
    }
}

void unpack_code(const Layout& layout, const uint8_t* code, uint8_t* level) {
    for (size_t i = 0; i < layout.fields.size(); i++) {
        const Field& f = layout.fields[i];
        const int mask = (1 << f.width) - 1;
        for (int l = 0; l < 4; l++) {
            level[4 * i + l] = l < f.lanes ? (code[f.offset + l] >> f.shift) & mask : 0;
        }
    }
}

} // namespace faiss_vlc
