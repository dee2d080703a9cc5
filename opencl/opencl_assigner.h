#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <faiss_vlc/train/assigner.h>
#include <opencl/kernels.h>

namespace faiss_vlc {

/// Assigns rows on an OpenCL device, as ReferenceAssigner does. begin() takes blocks below 2^30
/// rows and d up to 4096. Several can share a Device, from several threads; one is for one thread
/// at a time.
class OpenCLAssigner final : public Assigner {
public:
    OpenCLAssigner(std::shared_ptr<Device> device, int work_group);
    ~OpenCLAssigner() override;

    std::string name() const override;
    void begin(int m, int d, const int8_t* anchors8, int64_t max_block) override;
    void assign(int64_t n, const int8_t* x, int32_t* labels) override;

private:
    struct Blocks;

    KernelSet kernels_;
    std::unique_ptr<Blocks> blocks_; ///< from begin
};

} // namespace faiss_vlc
