#pragma once

#include <cstddef>

#include <opencl/device.h>

namespace faiss_vlc {

#ifdef FAISS_VLC_NO_CLBLAST
constexpr bool kHasClblast = false;
#else
constexpr bool kHasClblast = true;
#endif

// Products of residuals by CLBlast, if it is there. Callers hold the device's lock.

/// The lower triangle, by rows, of U^T U at number `at` of `product`; `residual` is U, rows x dp.
void clblast_syrk(Device& device, const Buffer& residual, size_t rows, size_t dp,
                  const Buffer& product, size_t at);

/// U^T U for each of `blocks` matrices U, which follow one another.
void clblast_gemm_batched(Device& device, const Buffer& residual, size_t rows, size_t dp,
                          const Buffer& product, size_t blocks);

} // namespace faiss_vlc
