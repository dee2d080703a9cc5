#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <faiss_vlc/container/byte_io.h>
#include <faiss_vlc/model/parameter_table.h>
#include <faiss_vlc/train/pace/pace.h>
#include <faiss_vlc/train/sample.h>

namespace faiss_vlc {

/// The state between two iterations of anneal().
struct Checkpoint {
    uint64_t run = 0; ///< identifies sample and parameters
    int32_t iteration = 0;
    int64_t temperature = 0, first_energy = 0, best_held = 0;
    int32_t patience = 0, merges = 0, splits = 0;
    Pace pace = Pace::usual;
    std::vector<int32_t> anchor, bias, label;
    /// Of each iteration: mean squared distance of training rows to the nearest anchor as it found
    /// them, on the lattice.
    std::vector<float> energy;
};

/// A hash of all that decides the course of training: sample and parameters, not the device.
uint64_t run_identity(const Sample& sample, const VLCParameters& params,
                      const ParameterTable& table = parameter_table());
/// All parameters that decide what training comes to.
void write_deciding(ByteWriter& writer, const VLCParameters& params,
                    const ParameterTable& table = parameter_table());

/// In the container of format.h; atomic.
void write_checkpoint(const std::string& path, const Checkpoint& checkpoint);

/// Throws when the file is damaged or belongs to another run.
Checkpoint read_checkpoint(const std::string& path, const Sample& sample,
                           const VLCParameters& params,
                           const ParameterTable& table = parameter_table());

} // namespace faiss_vlc
