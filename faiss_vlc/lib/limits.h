#pragma once

namespace faiss_vlc {

/// Dimensions of a vector. Scores stay within int32 and scratch on the stack up to here.
constexpr int kMaxDim = 4096;

constexpr int kMaxLists = 1 << 20; ///< and anchors, one a list

} // namespace faiss_vlc
