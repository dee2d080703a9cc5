#pragma once

namespace faiss_vlc {

/// Dimensions of a vector. Scores stay within int32 and scratch on the stack up to here.
constexpr int kMaxDim = 4096;

} // namespace faiss_vlc
