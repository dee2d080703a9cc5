#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/ranks.h>
#include <faiss_vlc/train/sample.h>

namespace faiss_vlc {

/// int8 rows of the sample for choose_pace: those nearest to its first few rows, at most 16,384
/// or a sixteenth of all, and 65,536 of 2^19 or more, in the sample's order; all rows of a small
/// sample. So they lie as densely as in the whole sample. sample: with its rows on the lattice. All
/// processes get the same.
std::vector<int8_t> local_rows(const Sample& sample, const Ranks& processes);

} // namespace faiss_vlc
