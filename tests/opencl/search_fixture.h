#pragma once

#include <string>
#include <vector>

#include <faiss_vlc/model/model.h>

#include <tests/opencl/opencl_fixture.h>
#include <tests/support/index_vlc_test.h>

/// What the tests of searching on a device share.
namespace faiss_vlc {

inline std::string device_spec() {
    return "opencl:" + test_device()->info().name;
}

/// What scans the codes of a trained index.
inline const char* scan_kernel(const IndexVLC& index) {
    return index.model->layout.has_words() ? "scan_words" : "scan_lists";
}

/// Searches on the CPU and on the device, which has to launch its own kernel.
inline void expect_same(IndexVLC& index, idx_t k, size_t nprobe, const std::vector<float>& x,
                        const std::string& what) {
    const faiss::SearchParametersIVF params = probing(nprobe);
    index.search_device = "";
    const Results expected = search(index, k, &params, x);
    index.search_device = device_spec();
    LaunchCounter launches;
    const Results met = search(index, k, &params, x);
    EXPECT_GT(launches(scan_kernel(index)), 0u) << what;
    ASSERT_EQ(met.label, expected.label) << what;
    ASSERT_EQ(met.distance, expected.distance) << what;
}

inline std::vector<float> rows(idx_t n, int d, uint32_t seed) {
    return clustered(n, d, 40, seed);
}

} // namespace faiss_vlc
