#pragma once

#include <memory>
#include <string>

#include <faiss_vlc/train/engine.h>
#include <opencl/device.h> // also for the rooms above: DeviceInfo and list_devices()

namespace faiss_vlc {

/// The engine of a device string ("auto", "reference", "opencl:<part of a name>",
/// "opencl-all[:<part of a name>]" for all such devices, "" for the environment's VLC_DEVICE or
/// auto; see open_devices); work_group is 64, 128 or 256.
std::unique_ptr<Engine> make_engine(const std::string& device, int work_group = 64);

/// Opens what a device string names. It stays open while the result lives, so that the engines made
/// meanwhile don't wait for it.
std::shared_ptr<const void> hold_devices(const std::string& device);

/// Whether assigning for add() is best done by the host's own instructions
/// (query/anchor_ranking.h): where the device is the reference, or chosen automatically and no GPU
/// (and the host has AVX2), or there is too little to do (products of components, all in) for a
/// device. The result is the same.
bool host_assigns(const std::string& device, double products);

/// Whether this device string leaves the choice open, so that a failing device may be replaced.
bool is_auto_device(const std::string& device);

} // namespace faiss_vlc
