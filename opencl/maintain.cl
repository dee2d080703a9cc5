// Changes of the set of anchors and the grid they are stored on: faiss_vlc/train/stages/maintain.h
// is the specification. refresh_anchors (update.cl) follows each of these kernels.

#define MOVE_MERGE 0

// move: int4 of (kind, dst, src, salt). One work-item per move and dimension; no anchor is in two
// moves.
__kernel void apply_moves(__global const int4* move, int move_count, int d, int dp, int reach,
                          __global const int* count, __global const int* spread,
                          __global int* anchor, __global int* bias) {
    const size_t id = get_global_id(0);
    if (id >= (size_t)move_count * d) {
        return;
    }
    const int4 what = move[id / d];
    const int k = (int)(id % d);
    const int dst = what.s1;
    const int src = what.s2;
    const size_t dst_at = (size_t)dst * dp + k;
    const size_t src_at = (size_t)src * dp + k;
    const long here = anchor[src_at];
    if (what.s0 == MOVE_MERGE) {
        const long dst_count = max(count[dst], 1);
        const long src_count = max(count[src], 1);
        anchor[dst_at] = (int)round_div(anchor[dst_at] * dst_count + here * src_count,
                                        dst_count + src_count);
        return;
    }
    const long random = (long)(hash32((uint)what.s3, (uint)src, (uint)k) & 0xffffu) - 32768;
    const long offset = random * spread[src] / reach;
    anchor[dst_at] = (int)clamp_long(here + offset, -MAX_ANCHOR, MAX_ANCHOR);
    anchor[src_at] = (int)clamp_long(here - offset, -MAX_ANCHOR, MAX_ANCHOR);
    if (k == 0) {
        bias[dst] = bias[src];
    }
}

// Rows of merged anchors: now (int m) is the anchor that each became. Rows without one have -1.
__kernel void relabel(__global const int* now, int n, int neighbours, __global int* label,
                      __global int* previous) {
    const int i = (int)get_global_id(0);
    if (i >= n) {
        return;
    }
    const size_t nearest = (size_t)i * neighbours;
    label[nearest] = label[nearest] < 0 ? -1 : now[label[nearest]];
    previous[i] = previous[i] < 0 ? -1 : now[previous[i]];
}

// Anchors to int8 or float16, spreads to float16; one work-item per anchor component.
__kernel void quantize_anchors(__global const char* anchor8, int m, int dp, int to_half,
                               __global int* anchor, __global int* spread) {
    const size_t at = get_global_id(0);
    if (at >= (size_t)m * dp) {
        return;
    }
    anchor[at] = to_half ? round_to_half(anchor[at]) : anchor8[at] * (1 << ANCHOR_BITS);
    if (at < (size_t)m) {
        spread[at] = round_to_half(spread[at]);
    }
}
