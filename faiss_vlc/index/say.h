#pragma once

#include <cstdint>

#include <faiss_vlc/findings.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>

namespace faiss_vlc {

/// What of n vectors (float n x d) with their packed codes (code_size bytes each) is outside of
/// what training saw, see AddedRows; what has a list below 0 was not added.
AddedRows count_outside(const Model& model, int64_t n, const float* x, const uint8_t* codes,
                        const int64_t* list_nos);

/// Adds this to the lists' own counts, and warns on stderr where many rows are outside, once until
/// the lists' next reset().
void note_added(VLCInvertedLists& lists, const AddedRows& added);

/// What is said on stderr of a training: its held-out recall if `verbose`, and a warning where that
/// is less than it could be.
void report_training(const Model& model, bool verbose);

} // namespace faiss_vlc
