#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// How many groups of anchors get a frame of their own: the largest power of 2 up to 16 for which
/// each has at least 4 d training rows to be fitted to, 8 anchors, and all frames together take at
/// most a sixth of the bytes of the sample's codes.
int choose_groups(const Shape& shape, int code_size);

/// Divides m anchors (int8 m x dp), weighted by their counts, into at most `groups` groups of
/// neighbours: Lloyd's algorithm on integers, started at random by the seed. Returns the group of
/// each anchor; groups are numbered from 0 without gaps.
std::vector<uint8_t> group_anchors(int m, int dp, const int8_t* anchors8, const int32_t* count,
                                   int groups, uint32_t seed);

} // namespace faiss_vlc
