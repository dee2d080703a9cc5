#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/engine.h>
#include <faiss_vlc/update.h>
#include <opencl/kernels.h>

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

/// A sample around some centres, with duplicate rows, extreme rows and zero padding, and anchors:
/// some of them equal to each other or to rows, so that ties occur.
struct TestData {
    TestData(int64_t n, int64_t n_train, int d, int m, int neighbours, uint32_t seed = 1) {
        shape.n = n;
        shape.n_train = n_train;
        shape.d = d;
        shape.dp = padded_dim(d);
        shape.m = m;
        shape.neighbours = neighbours;
        const int dp = shape.dp;
        std::mt19937 random(seed);
        auto between = [&](int low, int high) {
            return low + int(random() % uint32_t(high - low + 1));
        };
        std::vector<int> centre(size_t(8) * d);
        for (int& c : centre) {
            c = between(-90, 90);
        }
        rows.assign(size_t(n) * dp, 0);
        for (int64_t i = 0; i < n; i++) {
            const int c = between(0, 7);
            const int kind = between(0, 19);
            for (int k = 0; k < d; k++) {
                const int value = kind == 0   ? (between(0, 1) ? 127 : -127)
                                  : kind == 1 ? rows[k] // the first row again
                                              : centre[c * d + k] + between(-37, 37);
                rows[i * dp + k] = int8_t(value);
            }
        }
        anchor.assign(size_t(m) * dp, 0);
        for (int j = 0; j < m; j++) {
            const int kind = between(0, 4);
            const int c = between(0, 7);
            for (int k = 0; k < d; k++) {
                anchor[j * dp + k] =
                        kind == 0   ? (n ? rows[(j % n) * dp + k] : 0) * 65536
                        : kind == 1 ? anchor[k]
                        : kind == 2 ? (between(0, 1) ? 127 : -127) * 65536
                                    : centre[c * d + k] * 65536 + between(-2400000, 2400000);
            }
        }
        anchor8.resize(anchor.size());
        norm.resize(m);
        refresh_anchors(0, m, dp, anchor.data(), anchor8.data(), norm.data());
        bias.resize(m);
        for (int32_t& b : bias) {
            b = between(-3000, 3000);
        }
    }

    Shape shape;
    std::vector<int8_t> rows, anchor8;
    std::vector<int32_t> anchor, norm, bias;
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
