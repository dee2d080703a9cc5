#include <opencl/opencl_assigner.h>

#include <utility>
#include <vector>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/model/lattice.h>
#include <opencl/assign.h>
#include <opencl/sizes.h>

namespace faiss_vlc {

struct OpenCLAssigner::Blocks {
    Blocks(const KernelSet& kernels, int m_, int dp_, int64_t max_block_)
        : m(m_), dp(dp_), max_block(max_block_), assign(kernels), packed(*kernels.device, m_, dp_) {
        Device& device = *kernels.device;
        const uint64_t n = max_block;
        norm = device.allocate<int32_t>(m, "anchor norms");
        constants = device.allocate<int32_t>(AssignStage::constants_size(m), "anchor constants");
        rows = device.allocate<int8_t>(n * dp, "block of rows");
        row_constant = device.allocate<int32_t>(n, "row constants");
        label = device.allocate<int32_t>(n, "labels");
        dist = device.allocate<int32_t>(n, "distances");
    }

    int m;
    int dp;
    int64_t max_block;
    AssignStage assign;
    AssignStage::Packed packed;
    Buffer norm, constants, rows, row_constant, label, dist;
};

OpenCLAssigner::OpenCLAssigner(std::shared_ptr<Device> device, int work_group)
    : kernels_(KernelSet::compile(std::move(device), work_group)) {}

OpenCLAssigner::~OpenCLAssigner() = default;

std::string OpenCLAssigner::name() const {
    return kernels_.device->info().name;
}

void OpenCLAssigner::begin(int m, int d, const int8_t* anchors8, int64_t max_block) {
    blocks_.reset();
    check_sizes(max_block, m, d, 1);
    Device& device = *kernels_.device;
    const int dp = padded_dim(d);
    blocks_ = std::make_unique<Blocks>(kernels_, m, dp, max_block);
    Blocks& b = *blocks_;
    Buffer anchor8 = device.allocate<int8_t>(uint64_t(m) * dp, "int8 anchors");
    device.write(anchor8, anchors8, size_t(m) * dp);
    std::vector<int32_t> norm(m);
    for (int64_t j = 0; j < m; j++) {
        for (int k = 0; k < dp; k++) {
            norm[j] += anchors8[j * dp + k] * anchors8[j * dp + k];
        }
    }
    device.write(b.norm, norm.data(), norm.size() * sizeof(int32_t));
    b.assign.pack(anchor8, m, dp, b.packed);
    b.assign.constants(b.norm, nullptr, m, dp, b.constants);
    device.finish(); // anchor8 goes
}

void OpenCLAssigner::assign(int64_t n, const int8_t* x, int32_t* labels) {
    if (!blocks_ || n > blocks_->max_block) {
        fail("assigning %lld rows, but begin() made room for %lld", (long long)n,
             (long long)(blocks_ ? blocks_->max_block : 0));
    }
    Blocks& b = *blocks_;
    Device& device = *kernels_.device;
    device.write(b.rows, x, size_t(n) * b.dp);
    b.assign.row_constants(b.rows, int(n), b.dp, b.row_constant);
    b.assign.assign(b.rows, b.row_constant, {b.packed, b.constants, b.norm, b.m}, int(n), b.dp, 1,
                    false, b.label, b.dist);
    device.read(b.label, labels, n * sizeof(int32_t));
}

} // namespace faiss_vlc
