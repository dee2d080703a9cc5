#include <opencl/covariance.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#include <clblast.h>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {
namespace {

constexpr int kBlockRows = 256; // 256 * 254^2 < 2^24
constexpr uint64_t kSlabBytes = 32 << 20;

using Parameters = std::unordered_map<std::string, size_t>;

/// CLBlast fills its tables at their first use without a lock, and another device may be using
/// them; in turns devices of one name also share what one of them has compiled. Its calls only
/// enqueue.
std::unique_lock<std::mutex> lock_clblast() {
    static std::mutex mutex;
    return std::unique_lock<std::mutex>(mutex);
}

/// CLBlast's defaults for unknown CPUs tile through local memory, which only costs a CPU time, both
/// when compiling and when running. Here a work-item keeps a tile of sums in vector registers and
/// there is nothing to wait for; what is never called is made trivial to compile. CLBlast keeps
/// parameters per process and device and forgets compiled programs when they change: set once.
void set_cpu_parameters(cl_device_id device) {
    const auto precision = clblast::Precision::kSingle;
    const std::pair<const char*, Parameters> wanted[] = {
            {"Xgemm",
             {{"GEMMK", 0},
              {"MWG", 16},
              {"NWG", 8},
              {"KWG", 2},
              {"MDIMC", 1},
              {"NDIMC", 1},
              {"MDIMA", 1},
              {"NDIMB", 1},
              {"KWI", 2},
              {"VWM", 8},
              {"VWN", 8},
              {"STRM", 0},
              {"STRN", 0},
              {"SA", 0},
              {"SB", 0},
              {"KREG", 1}}},
            {"XgemmDirect",
             {{"WGD", 1},
              {"MDIMCD", 1},
              {"NDIMCD", 1},
              {"MDIMAD", 1},
              {"NDIMBD", 1},
              {"KWID", 1},
              {"VWMD", 1},
              {"VWND", 1},
              {"PADA", 0},
              {"PADB", 0}}},
            {"GemmRoutine", {{"XGEMM_MIN_INDIRECT_SIZE", 1}}},
            {"Copy", {{"COPY_DIMX", 16}, {"COPY_DIMY", 1}, {"COPY_VW", 1}, {"COPY_WPT", 1}}},
            {"Pad", {{"PAD_DIMX", 16}, {"PAD_DIMY", 1}, {"PAD_WPTX", 1}, {"PAD_WPTY", 1}}},
            {"Transpose", {{"TRA_DIM", 8}, {"TRA_WPT", 1}, {"TRA_PAD", 0}, {"TRA_SHUFFLE", 0}}},
            {"Padtranspose", {{"PADTRA_TILE", 8}, {"PADTRA_WPT", 1}, {"PADTRA_PAD", 0}}},
    };
    for (const auto& [kernel, parameters] : wanted) {
        Parameters current;
        if (clblast::RetrieveParameters(device, kernel, precision, current) !=
            clblast::StatusCode::kSuccess) {
            continue; // unknown to this version: its own choice works too
        }
        if (current != parameters) {
            clblast::OverrideParameters(device, kernel, precision, parameters);
        }
    }
}

void check(const Device& device, clblast::StatusCode status, const char* routine) {
    if (status != clblast::StatusCode::kSuccess) {
        fail("OpenCL device '%s': CLBlast's %s failed with status %d", device.info().name.c_str(),
             routine, int(status));
    }
}

} // namespace

CovarianceRoutine default_covariance_routine(const DeviceInfo& info) {
    return info.type == DeviceType::kCpu ? CovarianceRoutine::kSyrk
                                         : CovarianceRoutine::kBatchedGemm;
}

void device_covariance(const KernelSet& kernels, const Shape& shape, const Buffer& sample,
                       const Buffer& anchor8, const Buffer& label, const int32_t* rows,
                       int64_t count, CovarianceRoutine routine, int64_t* sums) {
    Device& device = *kernels.device;
    Kernel& residual_rows = kernels.get("residual_rows");
    Kernel& add_products = kernels.get("add_products");
    const auto hold = device.lock();
    cl_command_queue queue = device.queue();
    if (device.info().type == DeviceType::kCpu) {
        cl_device_id id = nullptr;
        // NOLINTNEXTLINE(bugprone-sizeof-expression): the handle
        if (clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(id), &id, nullptr) == CL_SUCCESS) {
            const auto clblast_hold = lock_clblast();
            set_cpu_parameters(id);
        }
    }

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
        // Seen by columns a block is U^T (dp x 256): the products need no transposition.
        if (routine == CovarianceRoutine::kSyrk) {
            for (size_t b = 0; b < now; b++) {
                make_residuals(first + b, 1);
                const auto clblast_hold = lock_clblast();
                check(device,
                      clblast::Syrk<float>(clblast::Layout::kColMajor, clblast::Triangle::kUpper,
                                           clblast::Transpose::kNo, dp, kBlockRows, 1.0f,
                                           residual.handle(), 0, dp, 0.0f, product.handle(),
                                           b * size, dp, &queue),
                      "Syrk");
                device.count_launch("clblast Syrk");
            }
        } else {
            make_residuals(first, now);
            const auto clblast_hold = lock_clblast();
            check(device,
                  clblast::GemmStridedBatched<float>(
                          clblast::Layout::kColMajor, clblast::Transpose::kNo,
                          clblast::Transpose::kYes, dp, dp, kBlockRows, 1.0f, residual.handle(), 0,
                          dp, block, residual.handle(), 0, dp, block, 0.0f, product.handle(), 0, dp,
                          size, now, &queue),
                  "GemmStridedBatched");
            device.count_launch("clblast GemmStridedBatched");
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
