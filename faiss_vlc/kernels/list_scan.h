#pragma once

#include <cstdint>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/codec/estimator.h>

namespace faiss_vlc {

/// A residual of the query below this counts as zero: 127 / |w| must stay finite.
constexpr float kSmallestQuery = 1e-30f;

/// What a unit of the query's fine plane is worth in units of the other one. A power of two:
/// multiplying by it is exact.
constexpr float kFineUnit = 1.0f / 128;

/// What scanning one list for one query needs. Everything in it is exact or a float that each
/// instruction set computes alike, so all levels return the same distances.
///
/// The query's residual in the frame, w_i = (R (q - a))_i * step_i, is rounded to int8:
/// q8_i = round(127 w_i / max|w|). With codes c_i the integer
///   dot2 = sum_i q8_i (2 c_i - (2^b_i - 1)) = 2 <q8, c> - half
/// stands for <q - a, r^> (scaled). Where rounding would cost precision there is a second plane, of
/// what it left: fine_i = round(128 (127 w_i / max|w| - q8_i)). Its dot2, made alike, is divided by
/// 128 and added to the other one as floats. With the factors' l and gamma
///   estimate = D + l * (l * add[gamma] - mul[gamma] * dot2), or where l > usual_length
///   estimate = D + l * (l * (far_add * far[gamma]) - far_mul * dot2), and with
///   least = reach - length_unit * l, for L2 its square
///   distance = least > estimate ? least : estimate.
struct ListScan {
    const Layout* layout;
    /// What the scan fetches into the second cache as it goes, a line of 64 bytes for each field,
    /// where Simd::Scan::fetches; null: nothing.
    const uint8_t* ahead;
    const uint32_t* query; ///< per field 4 int8 components, zero beyond the field's lanes
    const uint32_t* fine;  ///< the fine plane's; null: none
    int32_t half;          ///< sum_i q8_i (2^b_i - 1)
    int32_t fine_half;     ///< the fine plane's
    float list_distance;   ///< D
    float add[kGammaSteps];
    float mul[kGammaSteps];
    float usual_length;
    float far_add; ///< |r|^2 of l = 1; inner products: 0
    float far_mul;
    const float* far; ///< kGammaSteps: |r^|^2 / |r|^2
    bool inner_product;
    float reach;       ///< |q - a|; inner products: D
    float length_unit; ///< |r| of l = 1; inner products: times |q|

    /// Words: for each block what its 256 words add to `acc`, the sum that takes the place of <q8,
    /// c>. Laid out as the level's own kernels like it: 512 bytes a block, or 1024.
    const uint8_t* tables;
};

/// A query and a list of levels with an anchor of int8, which ListTerms are made of.
struct ListSide {
    int dp;             ///< components of query and anchor, a multiple of 16
    const float* query; ///< in lattice coordinates
    const int8_t* anchor;
    int slots;            ///< of what follows, a multiple of 16
    const float* rotated; ///< the query in the list's frame
    const float* base;    ///< the anchor in it
    const float* step;
    const int16_t* levels; ///< 2^b - 1
    float* weighted;       ///< out: w, see above
    int8_t* plane;         ///< out: q8
};

struct ListTerms {
    float list_distance; ///< D
    float largest;       ///< max|w|
    int32_t half;
};

/// What a codebook's words are multiplied by, see Codebook.
struct WordsView {
    int blocks;
    const int* slot; ///< blocks + 1: first slots, even
    const int16_t* words;
};

/// Of the values that a block's words have for a query.
struct ValueRange {
    float least;
    float most;
};

} // namespace faiss_vlc
