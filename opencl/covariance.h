#pragma once

#include <cstdint>

#include <faiss_vlc/train/engine.h>
#include <opencl/kernels.h>

namespace faiss_vlc {

/// Residual covariance on the device, exact; faiss_vlc/train/stages/covariance.h specifies the
/// result.
///
/// kLoops: where PoCL runs on this CPU, its loops on 16-bit integers, if its level has them.
/// Others multiply float matrices of residuals (integers up to 254), 256 rows at a time so that
/// every partial sum stays below 2^24, and a kernel adds the products up in 64 bits. CLBlast
/// multiplies, or a kernel of ours (kOwn) where this was built without it.
/// CLBlast compiles all kernels of a routine when it is used first, which PoCL takes seconds for
/// (it keeps them in its cache on disk). So CPUs use the routine with the fewest kernels, Syrk,
/// block by block, with parameters that compile and run faster there; elsewhere all blocks of a
/// slab go through one GemmStridedBatched.
enum class CovarianceRoutine { kLoops, kSyrk, kBatchedGemm, kOwn };

CovarianceRoutine default_covariance_routine(const KernelSet& kernels);

/// sample int8 n x dp, anchor8 int8 m x dp, label int n x neighbours on the device; rows int32
/// count and sums int64 d x d on the host. Allocates about 32 MB, or what one block needs (4 dp^2 +
/// 1024 dp bytes), and 8 dp^2; kLoops what covariance_by_loops() does.
void device_covariance(const KernelSet& kernels, const Shape& shape, const Buffer& sample,
                       const Buffer& anchor8, const Buffer& label, const int32_t* rows,
                       int64_t count, CovarianceRoutine routine, int64_t* sums);

} // namespace faiss_vlc
