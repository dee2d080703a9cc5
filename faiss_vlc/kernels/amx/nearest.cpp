#include <faiss_vlc/kernels/amx/tile_loops.h>
#include <faiss_vlc/kernels/levels.h>

// AMX: products of int8 by the processor's tile unit. A thread's tiles are its own, and are
// released before a loop returns.

namespace faiss_vlc {

namespace {

/// The unit itself. Assembly, as the compilers' own intrinsics (GCC 12) don't say that loading
/// reads memory: what was written before could come after.
struct TileUnit {
    static void begin(const TileConfig& config) {
        __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
    }
    static void end() { __asm__ volatile("tilerelease" : : : "memory"); }

    template <int I>
    static void zero() {
        __asm__ volatile("tilezero %%tmm%c0" : : "i"(I));
    }
    template <int I>
    static void load(const int8_t* from, int64_t stride) {
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2"
                         :
                         : "r"(from), "r"(stride), "i"(I)
                         : "memory");
    }
    template <int I>
    static void store(int32_t* to, int64_t stride) {
        __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)"
                         :
                         : "r"(to), "r"(stride), "i"(I)
                         : "memory");
    }
    /// Sums += products of rows and anchors, both signed.
    template <int Sums, int Rows, int Anchors>
    static void dot() {
        __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0"
                         :
                         : "i"(Sums), "i"(Rows), "i"(Anchors));
    }
};

/// Of the level that this one starts from: for vectors that are too long for the stack.
Simd base;

void rank_many(const AnchorTiles& anchors, int count, const int8_t* const* x, int32_t factor,
               int32_t* const* scores) {
    if (anchors.groups > kMostGroups) {
        for (int q = 0; q < count; q++) {
            base.rank.tiles(anchors, x[q], factor, scores[q]);
        }
        return;
    }
    score_many<TileUnit>(anchors, count, x, factor, scores);
}

void nearest_rows(const AnchorTiles& anchors, int rows, const int8_t* x, int32_t* label) {
    constexpr int kFew = 4; // rows: a tile of them would be nearly empty
    if (anchors.groups > kMostGroups || rows < kFew) {
        base.nearest.rows(anchors, rows, x, label);
        return;
    }
    nearest_of_rows<TileUnit>(anchors, rows, x, label);
}

void nearest_classes(const AnchorTiles& anchors, int rows, const int8_t* const* x, int32_t* score,
                     int32_t* tile) {
    if (anchors.groups > kMostGroups) {
        base.nearest.classes(anchors, rows, x, score, tile);
        return;
    }
    best_of_classes_of_all<TileUnit>(anchors, rows, x, score, tile);
}

} // namespace

void amx::patch_nearest(Simd& simd) {
    base = simd;
    simd.rank.many = rank_many;
    simd.nearest.rows = nearest_rows;
    simd.nearest.classes = nearest_classes;
}

} // namespace faiss_vlc
