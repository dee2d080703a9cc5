#pragma once

#include <string>
#include <vector>

#include <tests/opencl/opencl_fixture.h>
#include <tests/support/index_vlc_test.h>

/// What the tests of searching on a device share.
namespace faiss_vlc {

inline std::string device_spec() {
    return "opencl:" + test_device()->info().name;
}

/// Searches on the CPU and on the device, which has to launch the kernel that scans.
inline void expect_same(IndexVLC& index, idx_t k, size_t nprobe, const std::vector<float>& x,
                        const std::string& what, const char* kernel = "scan_lists") {
    const faiss::SearchParametersIVF params = probing(nprobe);
    index.search_device = "";
    const Results expected = search(index, k, &params, x);
    index.search_device = device_spec();
    LaunchCounter launches;
    const Results met = search(index, k, &params, x);
    EXPECT_GT(launches(kernel), 0u) << what;
    ASSERT_EQ(met.label, expected.label) << what;
    ASSERT_EQ(met.distance, expected.distance) << what;
}

inline std::vector<float> rows(idx_t n, int d, uint32_t seed) {
    return clustered(n, d, 40, seed);
}

} // namespace faiss_vlc
