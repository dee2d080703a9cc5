// Products by mma.sync: int8 with sums in int32, exact.

// c += or = 16 rows x 32 dimensions times 8 anchors
#define MULTIPLY(c, a, b0, b1)                                                \
    __asm__("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "                \
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
            : "+r"((c)[0]), "+r"((c)[1]), "+r"((c)[2]), "+r"((c)[3])          \
            : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"(b0), "r"(b1))
#define FIRST_MULTIPLY(c, a, b0, b1)                                              \
    __asm__("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "                    \
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};" \
            : "=r"((c)[0]), "=r"((c)[1]), "=r"((c)[2]), "=r"((c)[3])              \
            : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"(b0), "r"(b1), "r"(0))

// Dimensions of step k of the lane's 4 rows, as mma.sync takes them.
inline void load_rows(__global const int* const* from, int k, int dp, int (*x)[4]) {
#pragma unroll
    for (int h = 0; h < 4; h++) {
        x[h / 2][h % 2] = from[h][k * 8];
        x[h / 2][h % 2 + 2] = k * 32 + 16 < dp ? from[h][k * 8 + 4] : 0;
    }
}
