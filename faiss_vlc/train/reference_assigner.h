#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <faiss_vlc/train/assigner.h>

namespace faiss_vlc {

/// The specification: in plain C++ on the host.
class ReferenceAssigner final : public Assigner {
public:
    std::string name() const override { return "reference"; }
    void begin(int m, int d, const int8_t* anchors8, int64_t max_block) override;
    void assign(int64_t n, const int8_t* x, int32_t* labels) override;

private:
    int m_ = 0, dp_ = 0;
    std::vector<int8_t> anchor8_;
    std::vector<int32_t> norm_, dist_;
};

} // namespace faiss_vlc
