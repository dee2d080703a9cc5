#include <faiss_vlc/simd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include <faiss_vlc/error.h>

namespace faiss_vlc {

extern const Simd kPortable;
extern const Simd kAvx2;
extern const Simd kAvx512;

namespace {

bool has_avx2() {
    return __builtin_cpu_supports("avx2");
}

bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

const Simd& choose() {
    const char* wanted = std::getenv("VLC_SIMD");
    if (wanted && *wanted) {
        const Simd* level = find_simd(wanted);
        if (!level) {
            std::string present;
            for (const char* const* name = simd_levels(); *name; name++) {
                present += (present.empty() ? "" : ", ") + std::string(*name);
            }
            fail("VLC_SIMD: expected one of the levels that this CPU has (%s), got '%s'",
                 present.c_str(), wanted);
        }
        return *level;
    }
    return has_avx512() ? kAvx512 : has_avx2() ? kAvx2 : kPortable;
}

} // namespace

const Simd& simd() {
    static const Simd& level = choose();
    return level;
}

const Simd* find_simd(const char* name) {
    if (!std::strcmp(name, "portable")) {
        return &kPortable;
    }
    if (!std::strcmp(name, "avx2") && has_avx2()) {
        return &kAvx2;
    }
    if (!std::strcmp(name, "avx512") && has_avx512()) {
        return &kAvx512;
    }
    return nullptr;
}

const char* const* simd_levels() {
    static const char* const levels[4] = {"portable", has_avx2() ? "avx2" : nullptr,
                                          has_avx512() ? "avx512" : nullptr, nullptr};
    return levels;
}

} // namespace faiss_vlc
