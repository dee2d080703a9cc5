// Anchors move towards their means: faiss_vlc/train/stages/update.h is the specification.

__kernel void move_anchors(__global const long* weight, __global const long* sum, int m, int dp,
                           int step, int max_step, __global int* anchor) {
    const size_t at = get_global_id(0);
    if (at >= (size_t)m * dp) {
        return;
    }
    const long total = weight[at / dp];
    if (total > 0) {
        const long here = anchor[at];
        const long target = round_div(sum[at] * (1 << ANCHOR_BITS), total);
        const long delta = clamp_long(((target - here) * step) >> 8, -(long)max_step, max_step);
        anchor[at] = (int)clamp_long(here + delta, -MAX_ANCHOR, MAX_ANCHOR);
    }
}

__kernel void update_spread_bias(__global const int* count, __global const long* energy, int m,
                                 int mean_count, int bias_scale, int noise_scale, uint seed,
                                 uint iteration, __global int* spread, __global int* bias) {
    const int j = (int)get_global_id(0);
    if (j >= m) {
        return;
    }
    const ulong square = (ulong)(energy[j] << (2 * SPREAD_BITS)) / (ulong)max(count[j], 1);
    spread[j] = (int)isqrt64(square);
    const int octaves = ilog2_q8((uint)count[j] + 1u) - ilog2_q8((uint)mean_count + 1u);
    const int random = (int)(hash32(seed, iteration, (uint)j) & 0xffffu);
    const long size_bias = ((long)bias_scale * octaves) >> 8;
    const long noise = ((long)noise_scale * (random - 32768)) >> 16;
    const long target = clamp_long(size_bias + noise, -MAX_BIAS, MAX_BIAS);
    bias[j] += (int)((target - bias[j]) >> 2);
}

// int8 copies and their squared norms, one work-item per anchor.
__kernel void refresh_anchors(__global const int* anchor, int m, int dp, __global char* anchor8,
                              __global int* norm) {
    const int j = (int)get_global_id(0);
    if (j >= m) {
        return;
    }
    int square = 0;
    for (int k = 0; k < dp; k += 4) {
        const size_t at = (size_t)j * dp + k;
        const int4 rounded = (vload4(0, anchor + at) + (1 << (ANCHOR_BITS - 1))) >> ANCHOR_BITS;
        vstore4(convert_char4(rounded), 0, anchor8 + at);
        const int4 squares = rounded * rounded;
        square += squares.s0 + squares.s1 + squares.s2 + squares.s3;
    }
    norm[j] = square;
}
