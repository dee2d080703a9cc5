#pragma once

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

/// Those that this CPU has, the portable one first.
inline std::vector<const Simd*> levels() {
    std::vector<const Simd*> out;
    for (const char* const* name = simd_levels(); *name; name++) {
        out.push_back(find_simd(*name));
        EXPECT_NE(out.back(), nullptr) << *name;
        EXPECT_STREQ(out.back()->name, *name);
    }
    return out;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && !std::memcmp(a.data(), b.data(), a.size() * sizeof(T));
}

} // namespace faiss_vlc
