#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <opencl/kernels.h>

#include <tests/train/engine_steps.h>

namespace faiss_vlc {

/// The device that OpenCL tests run on: VLC_DEVICE if that names one, else the first there is.
/// Throws, so fails the test, where there is none.
inline std::shared_ptr<Device> test_device() {
    const char* spec = std::getenv("VLC_DEVICE");
    const bool named = spec && std::string(spec).compare(0, 7, "opencl:") == 0;
    // Never destroyed: a runtime may be gone before our static objects are.
    static const auto* device = new std::shared_ptr<Device>(open_device(named ? spec : "opencl:"));
    EXPECT_FALSE((*device)->info().name.empty());
    return *device;
}

/// The kernel that assigns with `dot`, if rows are not too long for wgmma.
inline const char* assign_kernel(const Dot& dot) {
    return dot.program == Program::kGeneral ? "assign"
           : dot.program == Program::kWgmma ? "assign_wgmma"
                                            : "assign_mma";
}

inline const char* near_kernel(const Dot& dot) {
    return dot.on_host() ? "assign_near_packed" : "assign_near";
}

/// The ways to multiply that work here, and dot4, which works without its extension too.
inline std::vector<Dot> all_dots() {
    std::vector<Dot> dots = usable_dots(*test_device());
    dots.push_back({"dot4", "-DDOT_PACKED", 2});
    return dots;
}

constexpr int kWorkGroups[] = {64, 128, 256};

/// Counts launches from its making on.
class LaunchCounter {
public:
    uint64_t operator()(const std::string& kernel) {
        const auto now = test_device()->launches();
        const auto at = now.find(kernel);
        return (at == now.end() ? 0 : at->second) - before_[kernel];
    }

private:
    std::map<std::string, uint64_t> before_ = test_device()->launches();
};

/// A device copy of a vector, and back.
template <class T>
Buffer to_device(const std::vector<T>& values) {
    Buffer buffer = test_device()->allocate<T>(values.size(), "test data");
    test_device()->write(buffer, values.data(), values.size() * sizeof(T));
    return buffer;
}

template <class T>
std::vector<T> from_device(const Buffer& buffer, size_t count) {
    std::vector<T> values(count);
    test_device()->read(buffer, values.data(), count * sizeof(T));
    return values;
}

} // namespace faiss_vlc
