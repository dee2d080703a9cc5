// The nearest anchors of each row by wgmma, on NVIDIA's Hopper (compute capability 9.0); what it
// leaves where is told in assign_tensor.cl. A warpgroup takes 64 rows through all anchors, N_TILE
// at a time. Anchors come through a ring in local memory, which one more warp fills by bulk copies;
// while one warpgroup multiplies, the others compare.
//
// wgmma exists for the target sm_90a only, and NVIDIA's OpenCL compiler knows sm_90. So lines of
// assembly that need the former begin with HIDDEN, which makes comments of them: hopper.cpp turns
// them on in the PTX that the compiler makes.
//
// Build options: K_STEPS, N_TILE (64 or 128 anchors), GROUPS (warpgroups per work-group), STAGES of
// the ring, ROWS_IN_LOCAL (rows stay in local memory, not in registers).

#define HIDDEN "//@"
#define THREADS (GROUPS * 128 + 32)
#define CHUNK 4 // steps of 32 dimensions in a stage
#define CHUNKS ((K_STEPS + CHUNK - 1) / CHUNK)
#define STAGE_BYTES (N_TILE * 32 * CHUNK)

// From anchor8 m x dp: 16 bytes per [N_TILE anchors][16 dimensions][anchor], as wgmma reads
// matrices that are not swizzled.
__kernel void pack_wgmma(__global const char* anchor8, int m, int dp, int padded,
                         __global uchar* packed) {
    const size_t id = get_global_id(0);
    if (id >= (size_t)padded * (2 * K_STEPS)) {
        return;
    }
    const int k = (int)(id / N_TILE % (2 * K_STEPS)) * 16;
    const int j = (int)(id / (N_TILE * 2 * K_STEPS)) * N_TILE + (int)(id % N_TILE);
    int4 v = 0;
    if (j < m && k < dp) {
        v = *(__global const int4*)(anchor8 + (size_t)j * dp + k);
    }
    *(__global int4*)(packed + id * 16) = v;
}

// Barriers in local memory, which also count the bytes of bulk copies.
inline uint local_address(const __local void* p) {
    return (uint)(size_t)p;
}

inline void init_barrier(uint at, int count) {
    __asm__ volatile("mbarrier.init.shared.b64 [%0], %1;" : : "r"(at), "r"(count) : "memory");
}

inline void arrive(uint at) {
    __asm__ volatile("mbarrier.arrive.shared.b64 _, [%0];" : : "r"(at) : "memory");
}

inline void wait_for(uint at, int parity) {
    __asm__ volatile("{\n"
                     ".reg .pred done;\n"
                     "again: mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
                     "@!done bra again;\n"
                     "}"
                     :
                     : "r"(at), "r"(parity)
                     : "memory");
}

inline void arrive_with(uint at, int bytes) {
    __asm__ volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;"
                     :
                     : "r"(at), "r"(bytes)
                     : "memory");
}

inline void start_copy(uint to, __global const void* from, int bytes, uint at) {
    __asm__ volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                     "[%0], [%1], %2, [%3];"
                     :
                     : "r"(to), "l"(from), "r"(bytes), "r"(at)
                     : "memory");
}

// 16-byte pieces of `rows` rows, then the next 16 dimensions; 8 rows make 128 bytes.
inline ulong matrix(uint at, int rows) {
    return (ulong)((at & 0x3ffff) >> 4) | (ulong)rows << 16 | (ulong)8 << 32;
}

#define SUM8(i)                                                                                 \
    "+r"(c[i]), "+r"(c[i + 1]), "+r"(c[i + 2]), "+r"(c[i + 3]), "+r"(c[i + 4]), "+r"(c[i + 5]), \
            "+r"(c[i + 6]), "+r"(c[i + 7])
// clang-format off
#if N_TILE == 64
#define SUM_NUMBERS \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SUM_OPERANDS SUM8(0), SUM8(8), SUM8(16), SUM8(24)
#define ROW_REGISTERS "{%32, %33, %34, %35}, %36"
#define ROW_MATRIX "%32, %33"
#else
#define SUM_NUMBERS \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SUM_OPERANDS SUM8(0), SUM8(8), SUM8(16), SUM8(24), SUM8(32), SUM8(40), SUM8(48), SUM8(56)
#define ROW_REGISTERS "{%64, %65, %66, %67}, %68"
#define ROW_MATRIX "%64, %65"
#endif
// clang-format on
#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define WGMMA \
    HIDDEN "wgmma.mma_async.sync.aligned.m64n" STRING(N_TILE) "k32.s32.s8.s8 {" SUM_NUMBERS "}, "
// c += (add "1") or = (add "0") 64 rows times N_TILE anchors, 32 dimensions
#ifdef ROWS_IN_LOCAL
#define MULTIPLY(k, anchors, add) \
    __asm__ volatile(WGMMA ROW_MATRIX ", " add ";" : SUM_OPERANDS : "l"(x + (k)*128), "l"(anchors))
#else
#define MULTIPLY(k, anchors, add)                     \
    __asm__ volatile(WGMMA ROW_REGISTERS ", " add ";" \
                     : SUM_OPERANDS                   \
                     : "r"(x[k][0]), "r"(x[k][1]), "r"(x[k][2]), "r"(x[k][3]), "l"(anchors))
#endif
#define ORDER_SUMS(what) \
    __asm__ volatile(HIDDEN "wgmma." what ".sync.aligned;" : SUM_OPERANDS : : "memory")

inline void prefetch_line(__global const char* at) {
    __asm__ volatile("prefetch.global.L2 [%0];" : : "l"(at));
}

// A barrier of one warpgroup.
inline void join_group(int group) {
    __asm__ volatile("bar.sync %0, 128;" : : "r"(group + 1) : "memory");
}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void
assign_wgmma(__global const char* rows, __global const int* row_constant,
             __global const uchar* packed, __global const int* constants, __global const int* norm,
             int n, int m, int dp, int neighbours, int skip_own, __global int* label,
             __global int* dist) {
    __local __attribute__((aligned(128))) uchar ring[STAGES * STAGE_BYTES];
#ifdef ROWS_IN_LOCAL
    // [warpgroup][16 dimensions][row]
    __local __attribute__((aligned(128))) uchar own_rows[GROUPS * 64 * 32 * K_STEPS];
#endif
    __local __attribute__((aligned(128))) int4 ring_constants[2 * STAGES][N_TILE / 4];
    __local int2 kept[8][GROUPS * 128]; // (score, tile) of the winners: touched every 2^bits tiles
    __local ulong barriers[2 * STAGES];
    // Bulk copies wait for no load, so constants must not be replaced as soon as their stage is
    // free, when some may still be on their way: they have two rings, which take turns.
    const int id = (int)get_local_id(0);
    const uint ring_at = local_address(ring);
    const uint full = local_address(barriers);
    const uint empty = full + 8 * STAGES;
    const int blocks = (n + GROUPS * 64 - 1) / (GROUPS * 64);
    const int passes = (m + N_TILE - 1) / N_TILE;
    // The same in a whole warp, but only so does the compiler see it.
    int group;
    __asm__ volatile("shfl.sync.idx.b32 %0, %1, 0, 31, -1;" : "=r"(group) : "r"(id / 128));
    if (id == 0) {
        for (int s = 0; s < STAGES; s++) {
            init_barrier(full + 8 * s, 1);
            init_barrier(empty + 8 * s, GROUPS * 4);
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    int stage = 0;
    if (group == GROUPS) {
        if (id != GROUPS * 128) {
            return;
        }
        int parity = 1;
        for (int block = (int)get_group_id(0); block < blocks; block += (int)get_num_groups(0)) {
            __global const uchar* from = packed;
            for (int pass = 0; pass < passes; pass++) {
                for (int chunk = 0; chunk < CHUNKS; chunk++) {
                    const int bytes = N_TILE * 32 * min(CHUNK, K_STEPS - chunk * CHUNK);
                    const int last = chunk == CHUNKS - 1;
                    const uint here = full + 8 * stage;
                    wait_for(empty + 8 * stage, parity);
                    arrive_with(here, bytes + (last ? N_TILE * 4 : 0));
                    start_copy(ring_at + stage * STAGE_BYTES, from, bytes, here);
                    if (last) {
                        start_copy(local_address(ring_constants[stage + (parity ? 0 : STAGES)]),
                                   constants + CONSTANTS_FROM + pass * N_TILE, N_TILE * 4, here);
                    }
                    from += bytes;
                    if (++stage == STAGES) {
                        stage = 0;
                        parity ^= 1;
                    }
                }
            }
        }
        return;
    }

    const int q = id % 4;
    const int bits = TILE_BITS(constants[0], dp);
    const int mask = (1 << bits) - 1;
    const int scale = 2 << bits;
    const ulong ring_matrix = matrix(ring_at, N_TILE);
    int c[N_TILE / 2];
#pragma unroll
    for (int i = 0; i < N_TILE / 2; i++) {
        c[i] = 0;
    }
    int parity = 0;
    for (int block = (int)get_group_id(0); block < blocks; block += (int)get_num_groups(0)) {
        const int first = (block * GROUPS + group) * 64;
        const int row0 = first + id % 128 / 32 * 16 + id % 32 / 4;
#ifdef ROWS_IN_LOCAL
        __local uchar* to = own_rows + group * (64 * 32 * K_STEPS);
        const ulong x = matrix(local_address(to), 64);
        join_group(group);
        for (int i = id % 128; i < 128 * K_STEPS; i += 128) {
            const int k = i / 64 * 16;
            int4 v = 0;
            if (k < dp) {
                v = *(__global const int4*)(rows + (size_t)min(first + i % 64, n - 1) * dp + k);
            }
            *(__local int4*)(to + i * 16) = v;
        }
        __asm__ volatile("fence.proxy.async.shared::cta;" : : : "memory");
        join_group(group);
#else
        int x[K_STEPS][4];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            __global const int* from =
                    (__global const int*)(rows + (size_t)min(row0 + 8 * h, n - 1) * dp) + q;
#pragma unroll
            for (int k = 0; k < K_STEPS; k++) {
                x[k][h] = from[k * 8];
                x[k][h + 2] = k * 32 + 16 < dp ? from[k * 8 + 4] : 0;
            }
        }
#endif
        // what comes next
        const int next = first + (int)get_num_groups(0) * (GROUPS * 64);
        for (int i = id % 128 * 128; i < 64 * dp; i += 128 * 128) {
            if (next < n) {
                prefetch_line(rows + min((size_t)next * dp + i, (size_t)n * dp - 1));
            }
        }
        int best[8];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            best[i] = INT_MIN;
            kept[i][id] = (int2)(INT_MIN, -1);
        }
        for (int pass = 0; pass < passes; pass++) {
            int before = 0;
            int turn = 0;
#pragma unroll
            for (int chunk = 0; chunk < CHUNKS; chunk++) {
                wait_for(full + 8 * stage, parity);
                ORDER_SUMS("fence");
                const ulong anchors = ring_matrix + (ulong)(stage * (STAGE_BYTES / 16));
#pragma unroll
                for (int s = 0; s < CHUNK; s++) {
                    const int k = chunk * CHUNK + s;
                    if (k == 0) {
                        MULTIPLY(k, anchors, "0");
                    } else if (k < K_STEPS) {
                        MULTIPLY(k, anchors + s * (N_TILE * 2), "1");
                    }
                }
                __asm__ volatile(HIDDEN "wgmma.commit_group.sync.aligned;" : : : "memory");
                if (chunk > 0) { // the chunk before is done
                    __asm__ volatile(HIDDEN "wgmma.wait_group.sync.aligned 1;" : : : "memory");
                    if (id % 32 == 0) {
                        arrive(empty + 8 * before);
                    }
                }
                before = stage;
                turn = parity;
                if (++stage == STAGES) {
                    stage = 0;
                    parity ^= 1;
                }
            }
            int4 plus[N_TILE / 16];
#pragma unroll
            for (int t = 0; t < N_TILE / 16; t++) {
                plus[t] = ring_constants[before + turn * STAGES][t / 4 * 16 + q * 4 + t % 4];
            }
            __asm__ volatile(HIDDEN "wgmma.wait_group.sync.aligned 0;" : SUM_OPERANDS : : "memory");
            if (id % 32 == 0) {
                arrive(empty + 8 * before);
            }
// for each 16 anchors t and each of the rows' classes i
#define KEEP(VALUE)                                                              \
    _Pragma("unroll") for (int t = at / 16; t < at / 16 + 4; t++) {              \
        const int constant_of[4] = {plus[t].x, plus[t].y, plus[t].z, plus[t].w}; \
        _Pragma("unroll") for (int i = 0; i < 8; i++) {                          \
            const int sum = c[t * 8 + i % 4 / 2 * 4 + i / 4 * 2 + i % 2];        \
            const int value = sum * scale + constant_of[i % 4];                  \
            best[i] = max(best[i], VALUE);                                       \
        }                                                                        \
    }
#pragma unroll
            for (int at = 0; at < N_TILE; at += 64) {
                const int here = pass * N_TILE;
                if (skip_own && first < here + N_TILE && first + 64 > here) {
                    const int own = row0 - here - q * 2;
                    KEEP(t * 16 + i % 4 / 2 * 8 + i % 2 - i / 4 * 8 == own ? INT_MIN : value)
                } else {
                    KEEP(value)
                }
                const int seen = (here + at) / 16 + 4;
                if ((seen & mask) == 0) {
#pragma unroll
                    for (int i = 0; i < 8; i++) {
                        int2 known = kept[i][id];
                        int score = known.x;
                        int tile = known.y;
                        unpack(bits, seen, best + i, &score, &tile);
                        kept[i][id] = (int2)(score, tile);
                    }
                }
            }
        }
        long key[2][4];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int2 known = kept[i][id];
            int score = known.x;
            int tile = known.y;
            unpack(bits, passes * (N_TILE / 16), best + i, &score, &tile);
            key[i / 4][i % 4] = winner_key(score, tile, q, i % 4);
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            store_winners(key[h], q, row0 + 8 * h, n, neighbours, row_constant, constants, bits,
                          norm, label, dist);
        }
    }
}
