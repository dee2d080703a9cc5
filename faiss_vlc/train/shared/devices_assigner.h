#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <faiss_vlc/train/assigner.h>

namespace faiss_vlc {

/// Several devices of one machine as one Assigner: each has a part of every block. An error of one
/// is thrown, with its number, after all have ended what they were at; only begin() makes sense
/// then.
class DevicesAssigner final : public Assigner {
public:
    /// One or more.
    explicit DevicesAssigner(std::vector<std::unique_ptr<Assigner>> devices);

    /// Their names: "2 x A, B".
    std::string name() const override;
    void begin(int m, int d, const int8_t* anchors8, int64_t max_block) override;
    void assign(int64_t n, const int8_t* x, int32_t* labels) override;

private:
    template <class Body>
    void each(Body body);

    std::vector<std::unique_ptr<Assigner>> devices_;
    int used_ = 1; ///< of the devices: the first ones
    int dp_ = 0;
};

} // namespace faiss_vlc
