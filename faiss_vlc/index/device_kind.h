#pragma once

#include <memory>
#include <string>
#include <vector>

#include <faiss_vlc/search/device_search.h>
#include <faiss_vlc/train/assigner.h>
#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// A kind of device: what it makes for the device strings of make_engine(). Thread-safe.
class DeviceKind {
public:
    virtual ~DeviceKind() = default;

    /// What trains there. Null: the next kind is asked. Throws for a device that is wanted by its
    /// name and isn't there.
    virtual std::unique_ptr<Engine> make_engine(const std::string& device, int work_group) const;
    /// What assigns there for add(), likewise.
    virtual std::unique_ptr<Assigner> make_assigner(const std::string& device,
                                                    int work_group) const;
    /// What searches there, likewise.
    virtual std::unique_ptr<DeviceSearch> make_search(const std::string& device) const;
    /// Whether its Assigner takes less time for so many products of components, all in, than the
    /// host's own instructions.
    virtual bool outruns_host(const std::string& device, double products) const;
};

/// Puts a kind of device before those that are there, for as long as it lives. The last are
/// OpenCL's devices and then the reference, which takes what no other kind wants. Not to be made or
/// destroyed while other threads train or add.
class RegisteredKind {
public:
    explicit RegisteredKind(std::shared_ptr<const DeviceKind> kind);
    ~RegisteredKind();
    RegisteredKind(const RegisteredKind&) = delete;
    RegisteredKind& operator=(const RegisteredKind&) = delete;

private:
    std::shared_ptr<const DeviceKind> kind_;
};

/// The Assigner of a device string, see make_engine().
std::unique_ptr<Assigner> make_assigner(const std::string& device, int work_group);

/// What searches on a device, "opencl:<part of a name>"; throws for what is no device.
std::unique_ptr<DeviceSearch> make_search(const std::string& device);

} // namespace faiss_vlc
