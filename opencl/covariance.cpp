#include <opencl/covariance.h>

#include <algorithm>
#include <vector>

#include <faiss_vlc/train/stages/covariance.h>
#include <opencl/clblast_products.h>

namespace faiss_vlc {
namespace {

constexpr int kBlockRows = 256; // 256 * 254^2 < 2^24
constexpr uint64_t kSlabBytes = 32 << 20;

/// product[at + b] = U^T U, at and below the diagonal, for each of `blocks` matrices U in
/// `residual`.
void multiply(const KernelSet& kernels, CovarianceRoutine routine, const Buffer& residual,
              size_t dp, const Buffer& product, size_t at, size_t blocks) {
    Device& device = *kernels.device;
    if constexpr (kHasClblast) {
        if (routine == CovarianceRoutine::kSyrk) {
            return clblast_syrk(device, residual, kBlockRows, dp, product, at * dp * dp);
        }
        if (routine == CovarianceRoutine::kBatchedGemm) {
            return clblast_gemm_batched(device, residual, kBlockRows, dp, product, blocks);
        }
    }
    device.launch(kernels.get("multiply_residuals"), blocks * dp * dp / 16, kernels.work_group,
                  residual, int32_t(dp), int32_t(blocks), product);
}

} // namespace

CovarianceRoutine default_covariance_routine(const KernelSet& kernels) {
    if (kernels.dot.on_host() && has_covariance_loops()) {
        return CovarianceRoutine::kLoops;
    }
    if (!kHasClblast) {
        return CovarianceRoutine::kOwn;
    }
    return kernels.device->info().type == DeviceType::kCpu ? CovarianceRoutine::kSyrk
                                                           : CovarianceRoutine::kBatchedGemm;
}

void device_covariance(const KernelSet& kernels, const Shape& shape, const Buffer& sample,
                       const Buffer& anchor8, const Buffer& label, const int32_t* rows,
                       int64_t count, CovarianceRoutine routine, int64_t* sums) {
    Device& device = *kernels.device;
    if (routine == CovarianceRoutine::kLoops) {
        const MappedBuffer x = device.map(sample), a = device.map(anchor8), j = device.map(label);
        covariance_by_loops(shape, x.as<int8_t>(), a.as<int8_t>(), j.as<int32_t>(), rows, count,
                            sums);
        device.count_launch("covariance_by_loops");
        return;
    }
    if (!kHasClblast) {
        routine = CovarianceRoutine::kOwn;
    }
    Kernel& residual_rows = kernels.get("residual_rows");
    Kernel& add_products = kernels.get("add_products");
    const auto hold = device.lock();
    const size_t dp = shape.dp;
    const size_t size = dp * dp;
    const size_t block = kBlockRows * dp;
    const size_t blocks = (size_t(count) + kBlockRows - 1) / kBlockRows;
    const size_t slab = std::clamp<size_t>(kSlabBytes / (4 * (size + block)), 1,
                                           std::max<size_t>(blocks, 1)); // blocks at a time
    // CLBlast copies a matrix that does not start its buffer: Syrk's input always does.
    const size_t at_once = routine == CovarianceRoutine::kSyrk ? 1 : slab;
    Buffer residual = device.allocate<float>(at_once * block, "residuals");
    Buffer product = device.allocate<float>(slab * size, "products of residuals");
    Buffer total = device.allocate<int64_t>(size, "covariance");
    Buffer picked = device.allocate<int32_t>(count, "rows of a covariance");
    device.write(picked, rows, count * sizeof(int32_t));

    auto make_residuals = [&](size_t first, size_t some) {
        device.launch(residual_rows, some * kBlockRows * (dp / 4), kernels.work_group, sample,
                      anchor8, label, picked, int32_t(count), int32_t(shape.neighbours),
                      int32_t(dp), int32_t(first * kBlockRows), int32_t(some * kBlockRows),
                      residual);
    };
    for (size_t first = 0; first < blocks; first += slab) {
        const size_t now = std::min(slab, blocks - first);
        const size_t step = std::min(at_once, now);
        for (size_t b = 0; b < now; b += step) {
            make_residuals(first + b, step);
            multiply(kernels, routine, residual, dp, product, b, step);
        }
        device.launch(add_products, size, kernels.work_group, product, int32_t(size), int32_t(now),
                      total);
    }

    // The upper triangle by columns is the lower one by rows.
    std::vector<int64_t> lower(size);
    device.read(total, lower.data(), size * sizeof(int64_t));
    const size_t d = shape.d;
    for (size_t k = 0; k < d; k++) {
        for (size_t l = 0; l <= k; l++) {
            sums[k * d + l] = sums[l * d + k] = lower[k * dp + l];
        }
    }
}

} // namespace faiss_vlc
