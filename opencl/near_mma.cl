// score_anchors of near.cl by mma.sync, from NVIDIA's compute capability 8.0 on. A warp takes 32
// anchors to 64 others, straight from the first-level cache; a work-group of 4 warps 64 to 128.

#define SCORE_ROWS 64
#define SCORE_COLUMNS 128

__kernel __attribute__((reqd_work_group_size(128, 1, 1))) void
score_mma(__global const char* anchor8, __global const int* norm, int begin, int count, int m,
          int padded, int dp, __global int* score) {
    const int row_tiles = (count + SCORE_ROWS - 1) / SCORE_ROWS;
    const int warp = (int)get_local_id(0) / 32;
    const int lane = (int)get_local_id(0) % 32;
    const int q = lane % 4;
    const int row0 = (int)get_group_id(0) % row_tiles * SCORE_ROWS + warp % 2 * 32 + lane / 4;
    const int column0 = (int)get_group_id(0) / row_tiles * SCORE_COLUMNS + warp / 2 * 64;
    __global const int* from[4];
#pragma unroll
    for (int h = 0; h < 4; h++) {
        const int row = begin + min(row0 + 8 * h, count - 1);
        from[h] = (__global const int*)(anchor8 + (size_t)row * dp) + q;
    }
    __global const int* other[8];
#pragma unroll
    for (int t = 0; t < 8; t++) {
        const int column = min(column0 + 8 * t + lane / 4, m - 1);
        other[t] = (__global const int*)(anchor8 + (size_t)column * dp) + q;
    }
    int c[2][8][4] = {{{0}}};
    for (int k = 0; k * 32 < dp; k++) {
        int x[2][4];
        load_rows(from, k, dp, x);
#pragma unroll
        for (int t = 0; t < 8; t++) {
            const int b0 = other[t][k * 8];
            const int b1 = k * 32 + 16 < dp ? other[t][k * 8 + 4] : 0;
            MULTIPLY(c[0][t], x[0], b0, b1);
            MULTIPLY(c[1][t], x[1], b0, b1);
        }
    }
#pragma unroll
    for (int t = 0; t < 8; t++) {
        const int column = column0 + 8 * t + 2 * q;
        const int norm0 = column < m ? norm[column] : 0;
        const int norm1 = column + 1 < m ? norm[column + 1] : 0;
#pragma unroll
        for (int h = 0; h < 4; h++) {
            const int row = row0 + 8 * h;
            int2 value = (int2)(norm0, norm1) -
                         2 * (int2)(c[h / 2][t][h % 2 * 2], c[h / 2][t][h % 2 * 2 + 1]);
            value.x = column >= m ? NO_SCORE : column == begin + row ? INT_MIN : value.x;
            value.y = column + 1 >= m ? NO_SCORE : column + 1 == begin + row ? INT_MIN : value.y;
            if (row < count) {
                *(__global int2*)(score + (size_t)row * padded + column) = value;
            }
        }
    }
}
