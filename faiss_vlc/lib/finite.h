#pragma once

#include <cstdint>

namespace faiss_vlc {

/// Throws if a value of the n x d matrix is NaN or infinite, naming the first one's row and
/// column; `what` starts the message ("query", a file's name).
void require_finite(const float* x, int64_t n, int d, const char* what);

} // namespace faiss_vlc
