#include <faiss_vlc/kernels/simd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

extern const Simd kPortable;
extern const Simd kAvx2;
extern const Simd kAvx512;
extern const Simd kNeon;

namespace {

constexpr int kMostLevels = 3;

#if defined(__x86_64__)
bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
bool has_dot_products() {
#if defined(__linux__)
    constexpr unsigned long kAsimdDp = 1ul << 20; // HWCAP_ASIMDDP
    return getauxval(AT_HWCAP) & kAsimdDp;
#else
    return true; // Apple's have them all
#endif
}
#endif

/// The levels that this CPU has, the best one last.
struct Levels {
    const Simd* level[kMostLevels] = {};
    const char* name[kMostLevels + 1] = {};
    int count = 0;

    Levels() {
        add(kPortable);
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2")) {
            add(kAvx2);
        }
        if (has_avx512()) {
            add(kAvx512);
        }
#elif defined(__aarch64__)
        if (has_dot_products()) {
            add(kNeon);
        }
#endif
    }
    void add(const Simd& simd) {
        level[count] = &simd;
        name[count] = simd.name;
        count++;
    }
};

const Levels& levels() {
    static const Levels levels;
    return levels;
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
    return *levels().level[levels().count - 1];
}

} // namespace

const Simd& simd() {
    static const Simd& level = choose();
    return level;
}

const Simd* find_simd(const char* name) {
    for (int i = 0; i < levels().count; i++) {
        if (!std::strcmp(name, levels().name[i])) {
            return levels().level[i];
        }
    }
    return nullptr;
}

const char* const* simd_levels() {
    return levels().name;
}

} // namespace faiss_vlc
