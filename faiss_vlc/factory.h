#pragma once

#include <string>

#include <faiss/Index.h>
#include <faiss/MetricType.h>

namespace faiss_vlc {

/// faiss::index_factory and one more token, wherever a flat index or an inverted file may stand:
///
///   VLC[<m>][x<bits>[+<bits>] | b<bytes>[+<bytes>]]
///
/// m anchors (left out: about 4 sqrt(n) of the training set), code bits per dimension (0.125 to 8,
/// fractions allowed; 2 if left out) or bytes per vector with factors. What follows a + is the same
/// of a second tier of codes, which orders the best by the first anew (at least 4 bytes; its
/// factors take up to 3). For example "VLC1024x4", "OPQ16_64,VLC256b32", "PCA64,VLC", "IDMap,VLC",
/// "VLC256x2,RFlat", "VLC256x1,Refine(VLC256x8)", "VLC1024b16+80".
/// The caller owns the result. Errors in a VLC token name the grammar. own_invlists is there as
/// FAISS has it from 1.12 on: false is an error with a VLC, which takes no lists but its own, and
/// before 1.12.
faiss::Index* index_factory(int d, const char* description,
                            faiss::MetricType metric = faiss::METRIC_L2, bool own_invlists = true);

/// Whether IVF<n>,PQ<m> in a description means the VLC of as many lists and bytes, for programs
/// whose lists of keys are closed. For the whole process; without a call the environment decides:
/// VLC_FOR_IVFPQ=1. Thread-safe, but calls of index_factory beside it may see either.
void stand_in_for_ivfpq(bool on);
/// Whether it does. Throws if VLC_FOR_IVFPQ is something else than 1, 0 or empty.
bool stands_in_for_ivfpq();

/// The description with VLC<n>b<bytes> for each
/// [OPQ<m>[_<d>],]IVF<n>[_HNSW<m>],PQ<m>[x<bits>][np|fs], whatever the mode is: bytes are those of
/// the PQ's code. A VLC learns its own rotation and ranks its lists exactly, so OPQ and HNSW go.
/// What else there is stays as it is.
std::string vlc_for_ivfpq(const std::string& description);

/// Whether index_factory builds an IndexVLC for it, or tries to.
bool names_vlc(const std::string& description);

} // namespace faiss_vlc
