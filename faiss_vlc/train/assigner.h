#pragma once

#include <cstdint>
#include <string>

namespace faiss_vlc {

/// A device that adds: the plain C++ reference, an OpenCL device or several. It finds the nearest
/// anchor of rows that come block by block. Every implementation gives the same integers. Not
/// thread-safe; errors are FaissExceptions.
class Assigner {
public:
    virtual ~Assigner() = default;

    /// "reference" or the device's name, or the devices'.
    virtual std::string name() const = 0;

    /// Takes m anchors (int8 m x dp, dp = padded_dim(d)) and makes room for blocks of at most
    /// max_block rows.
    virtual void begin(int m, int d, const int8_t* anchors8, int64_t max_block) = 0;
    /// The nearest anchor (no bias; the first of equal ones) of each of n rows (int8 n x dp).
    virtual void assign(int64_t n, const int8_t* x, int32_t* labels) = 0;
};

} // namespace faiss_vlc
