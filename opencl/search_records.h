#pragma once

#include <cstddef>
#include <cstdint>

namespace faiss_vlc {

/// The records of search_records.cl: the program's text and this are one file.
namespace records {
using uint = uint32_t;
using ulong = uint64_t;
#include <opencl/search_records.cl>

// As OpenCL lays them out: without gaps, but for one at the end that 8-byte fields ask for.
static_assert(sizeof(RankShape) == 13 * 4 && offsetof(RankShape, most) == 40);
static_assert(sizeof(ProbeShape) == 5 * 4);
static_assert(sizeof(RegionShape) == 5 * 4);
static_assert(sizeof(ScanShape) == 8 + 16 * 4 && offsetof(ScanShape, c) == 56);
static_assert(sizeof(WordShape) == 9 * 4 && offsetof(WordShape, limit) == 20);
static_assert(sizeof(HitShape) == 8 + 6 * 4 && offsetof(HitShape, labels) == 24);
static_assert(sizeof(WeighShape) == 6 * 4 && offsetof(WeighShape, most_weight) == 20);
static_assert(sizeof(RefineShape) == 16 * 4 && offsetof(RefineShape, start_share) == 60);
static_assert(sizeof(Head) == 8 * 4);
static_assert(sizeof(PackedField) == 4 * 4);
static_assert(sizeof(GammaStep) == 4 * 4);
static_assert(sizeof(ListTraits) == 3 * 4);
static_assert(sizeof(Pair) == 2 * 4);
static_assert(sizeof(Weighed) == 8 + 2 * 4);
static_assert(sizeof(Task) == 6 * 4);
} // namespace records

} // namespace faiss_vlc
