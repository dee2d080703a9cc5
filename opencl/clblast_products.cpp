#include <opencl/clblast_products.h>

#include <mutex>
#include <string>
#include <unordered_map>

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#include <clblast.h>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {
namespace {

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

/// Takes the lock; a CPU gets its parameters.
std::unique_lock<std::mutex> prepare(const Device& device) {
    auto hold = lock_clblast();
    cl_device_id id = nullptr;
    // NOLINTNEXTLINE(bugprone-sizeof-expression): the handle
    if (device.info().type == DeviceType::kCpu &&
        clGetCommandQueueInfo(device.queue(), CL_QUEUE_DEVICE, sizeof(id), &id, nullptr) ==
                CL_SUCCESS) {
        set_cpu_parameters(id);
    }
    return hold;
}

void check(const Device& device, clblast::StatusCode status, const char* routine) {
    if (status != clblast::StatusCode::kSuccess) {
        fail("OpenCL device '%s': CLBlast's %s failed with status %d", device.info().name.c_str(),
             routine, int(status));
    }
}

} // namespace

// Seen by columns a block is U^T (dp x rows): the products need no transposition.

void clblast_syrk(Device& device, const Buffer& residual, size_t rows, size_t dp,
                  const Buffer& product, size_t at) {
    const auto hold = prepare(device);
    cl_command_queue queue = device.queue();
    check(device,
          clblast::Syrk<float>(clblast::Layout::kColMajor, clblast::Triangle::kUpper,
                               clblast::Transpose::kNo, dp, rows, 1.0f, residual.handle(), 0, dp,
                               0.0f, product.handle(), at, dp, &queue),
          "Syrk");
    device.count_launch("clblast Syrk");
}

void clblast_gemm_batched(Device& device, const Buffer& residual, size_t rows, size_t dp,
                          const Buffer& product, size_t blocks) {
    const auto hold = prepare(device);
    cl_command_queue queue = device.queue();
    check(device,
          clblast::GemmStridedBatched<float>(
                  clblast::Layout::kColMajor, clblast::Transpose::kNo, clblast::Transpose::kYes, dp,
                  dp, rows, 1.0f, residual.handle(), 0, dp, rows * dp, residual.handle(), 0, dp,
                  rows * dp, 0.0f, product.handle(), 0, dp, dp * dp, blocks, &queue),
          "GemmStridedBatched");
    device.count_launch("clblast GemmStridedBatched");
}

} // namespace faiss_vlc
