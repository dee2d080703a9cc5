#pragma once

#include <vector>

#include <opencl/device.h>

namespace faiss_vlc {

/// A buffer of its own for these values.
template <class T, class Allocator>
Buffer upload(Device& device, const std::vector<T, Allocator>& values, const char* what) {
    Buffer buffer = device.allocate<T>(values.size(), what);
    device.write(buffer, values.data(), values.size() * sizeof(T));
    return buffer;
}

} // namespace faiss_vlc
