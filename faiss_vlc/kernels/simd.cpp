#include <faiss_vlc/kernels/simd.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

/// All levels of this build's processor, better ones later.
const Level kLevels[] = {
        {"portable", [] { return true; }, nullptr,
         [](Simd& simd) {
             portable::patch_search(simd);
             portable::patch_words(simd);
             portable::patch_encode(simd);
             portable::patch_nearest(simd);
             portable::patch_algebra(simd);
             portable::patch_levels(simd);
         }},
#if defined(__x86_64__)
        {"avx2", [] { return bool(__builtin_cpu_supports("avx2")); }, "portable",
         [](Simd& simd) {
             avx2::patch_search(simd);
             avx2::patch_words(simd);
             avx2::patch_encode(simd);
             avx2::patch_nearest(simd);
             avx2::patch_algebra(simd);
             avx2::patch_levels(simd);
         }},
        {"avx512",
         [] {
             return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vnni");
         },
         "avx2",
         [](Simd& simd) {
             avx512::patch_search(simd);
             avx512::patch_words(simd);
             avx512::patch_encode(simd);
             avx512::patch_nearest(simd);
             avx512::patch_algebra(simd);
         }},
        {"avx512_vbmi", [] { return bool(__builtin_cpu_supports("avx512vbmi")); }, "avx512",
         avx512_vbmi::patch_words},
#elif defined(__aarch64__)
        {"neon",
         [] {
#if defined(__linux__)
             constexpr unsigned long kAsimdDp = 1ul << 20; // HWCAP_ASIMDDP
             return (getauxval(AT_HWCAP) & kAsimdDp) != 0;
#else
             return true; // Apple's have them all
#endif
         },
         "portable",
         [](Simd& simd) {
             neon::patch_search(simd);
             neon::patch_words(simd);
             neon::patch_nearest(simd);
         }},
#endif
};

/// The levels that this CPU has, the best one last.
class Levels {
public:
    Levels() {
        for (const Level& level : kLevels) {
            const Simd* base = level.base ? find(level.base) : nullptr;
            if ((level.base && !base) || !level.has()) {
                continue;
            }
            Simd& simd = simd_[count_];
            simd = base ? *base : Simd{};
            simd.name = names_[count_] = level.name;
            level.patch(simd);
            count_++;
        }
    }
    const Simd* find(const char* name) const {
        for (int i = 0; i < count_; i++) {
            if (!std::strcmp(name, names_[i])) {
                return &simd_[i];
            }
        }
        return nullptr;
    }
    const Simd& best() const { return simd_[count_ - 1]; }
    const char* const* names() const { return names_; }

private:
    Simd simd_[std::size(kLevels)] = {};
    const char* names_[std::size(kLevels) + 1] = {};
    int count_ = 0;
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
    return levels().best();
}

} // namespace

const Simd& simd() {
    static const Simd& level = choose();
    return level;
}

const Simd* find_simd(const char* name) {
    return levels().find(name);
}

const char* const* simd_levels() {
    return levels().names();
}

} // namespace faiss_vlc
