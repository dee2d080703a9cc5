// What the kernels for NVIDIA's tensor cores share (assign_mma.cl, assign_wgmma.cl: a program each,
// made of common.cl, this file and the kernel's). faiss_vlc/train/stages/assign.h is the
// specification.
//
// Both leave 2 rows of 4 scores per 16 anchors in each work-item of 4 neighbours ("quad"): item q
// of a quad has the classes 2q, 2q + 1, 2q + 8, 2q + 9 of two rows. It keeps the best of each class
// as one number, larger is better:
//
//   (2 * dot - norm - bias) << bits | what is left of 2^bits - 1 after the tile's number
//
// So a score costs a multiply-add and a share of a maximum, and of equal ones the smaller anchor
// wins. After every 2^bits tiles (of 16 anchors) the winners are unpacked. K_STEPS, a build option,
// is the number of 32 dimensions in a row, rounded up; dimensions from dp on are zeros.

// |2 * dot - norm - bias| < 2^(31 - bits), as reach is the largest |norm + bias|. At d = 4096 and
// the largest bias 2 bits are left: enough for the 64 anchors that a pass takes at most.
#define TILE_BITS(reach, dp) ((int)clz((uint)((reach) + 2 * 16129 * (dp))) - 1)

// Constants follow each other as the items of a quad need them: for 64 anchors 16 numbers each.
#define CONSTANTS_FROM 16 // reach comes before them
#define CONSTANT_AT(j) \
    (CONSTANTS_FROM + (j) / 64 * 64 + (j) % 8 / 2 * 16 + (j) % 64 / 8 * 2 + (j) % 2)

inline int score_constant(__global const int* norm, __global const int* bias, int use_bias, int j) {
    return use_bias ? norm[j] + bias[j] : norm[j];
}

// constants[0], zero before, becomes the largest |norm + bias|.
__kernel void tensor_reach(__global const int* norm, __global const int* bias, int use_bias, int m,
                           __global int* constants) {
    const int j = (int)get_global_id(0);
    if (j < m) {
        atomic_max(constants, (int)abs(score_constant(norm, bias, use_bias, j)));
    }
}

__kernel void tensor_constants(__global const int* norm, __global const int* bias, int use_bias,
                               int m, int padded, int dp, __global int* constants) {
    const int j = (int)get_global_id(0);
    if (j < padded) {
        const int bits = TILE_BITS(constants[0], dp);
        const int mask = (1 << bits) - 1;
        // padding, whose dot is 0, never wins
        constants[CONSTANT_AT(j)] =
                j >= m ? INT_MIN
                       : -score_constant(norm, bias, use_bias, j) * (1 << bits) +
                                 (mask - (j / 16 & mask));
    }
}

// Takes over what the winner `best` of the tiles up to `seen` holds, and clears it.
inline void unpack(int bits, int seen, int* best, int* score, int* tile) {
    const int mask = (1 << bits) - 1;
    const int value = *best >> bits;
    if (*best > INT_MIN && value > *score) {
        *score = value;
        *tile = ((seen - 1) & ~mask) + mask - (*best & mask);
    }
    *best = INT_MIN;
}

// A winner as one number, larger is better: score, then the smaller anchor.
inline long winner_key(int score, int tile, int q, int i) {
    const int anchor = tile * 16 + q * 2 + i % 2 + i / 2 * 8;
    return tile < 0 ? LONG_MIN : (long)score << 32 | (uint)~anchor;
}

inline long quad_best(long key) {
#pragma unroll
    for (int step = 1; step < 4; step *= 2) {
        int low;
        int high;
        __asm__ volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;"
                         : "=r"(low)
                         : "r"((int)key), "r"(step));
        __asm__ volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;"
                         : "=r"(high)
                         : "r"((int)(key >> 32)), "r"(step));
        const long other = (long)high << 32 | (uint)low;
        key = other > key ? other : key;
    }
    return key;
}

#define ORDER(a, b)                                            \
    {                                                          \
        const long larger = key[a] > key[b] ? key[a] : key[b]; \
        key[b] = key[a] > key[b] ? key[b] : key[a];            \
        key[a] = larger;                                       \
    }

// The best `neighbours` of a quad's 16 classes for one row; key holds this item's 4.
inline void store_winners(long* key, int q, int row, int n, int neighbours,
                          __global const int* row_constant, __global const int* constants, int bits,
                          __global const int* norm, __global int* label, __global int* dist) {
    ORDER(0, 1)
    ORDER(2, 3)
    ORDER(0, 2)
    ORDER(1, 3)
    ORDER(1, 2)
    long own = LONG_MIN; // item r keeps the winner r
    for (int r = 0; r < neighbours; r++) {
        const long top = quad_best(key[0]);
        own = r == q ? top : own;
        const int taken = key[0] == top;
        key[0] = taken ? key[1] : key[0];
        key[1] = taken ? key[2] : key[1];
        key[2] = taken ? key[3] : key[2];
        key[3] = taken ? LONG_MIN : key[3];
    }
    if (q < neighbours && row < n) {
        const size_t at = (size_t)row * neighbours + q;
        int anchor = -1;
        int square = INT_MAX;
        if (own != LONG_MIN) {
            anchor = ~(int)own;
            // the constant's upper bits are -(norm + bias)
            square = row_constant[row] - (int)(own >> 32) + norm[anchor] +
                     (constants[CONSTANT_AT(anchor)] >> bits);
        }
        label[at] = anchor;
        dist[at] = square;
    }
}
