#include <faiss_vlc/kernels/simd.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(FAISS_VLC_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

#if defined(FAISS_VLC_AMX)

/// Whether the processor has tiles of 16 x 64 bytes and their products of int8, and the kernel lets
/// this process use them, which has to be asked for. Asking again changes nothing.
bool may_use_tiles() {
    constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25; // leaf 7, edx
    constexpr unsigned kExtendedStates = 1u << 27;         // leaf 1, ecx: xgetbv works
    constexpr unsigned kTileStates = 3u << 17;             // of xcr0: the kernel keeps tiles
    constexpr long kRequest = 0x1023, kTileData = 18;      // ARCH_REQ_XCOMP_PERM
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTile) == 0 || (d & kInt8) == 0 ||
        !__get_cpuid(1, &a, &b, &c, &d) || (c & kExtendedStates) == 0) {
        return false;
    }
    unsigned low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & kTileStates) != kTileStates || !__get_cpuid_count(0x1d, 1, &a, &b, &c, &d)) {
        return false;
    }
    const bool as_expected = (b & 0xffff) == 64 && b >> 16 >= 8 && (c & 0xffff) >= 16;
    return as_expected && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

#endif

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
             avx512::patch_levels(simd);
         }},
        {"avx512_vbmi", [] { return bool(__builtin_cpu_supports("avx512vbmi")); }, "avx512",
         avx512_vbmi::patch_words},
#if defined(FAISS_VLC_AMX)
        {"amx", may_use_tiles, "avx512_vbmi", amx::patch_nearest, true},
#endif
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

bool is_wanted(const char* name) {
    const char* wanted = std::getenv("VLC_SIMD");
    return wanted && !std::strcmp(wanted, name);
}

/// The levels that this CPU has, the best one last; those that are asked for only if they are.
class Levels {
public:
    Levels() {
        for (const Level& level : kLevels) {
            const Simd* base = level.base ? find(level.base) : nullptr;
            if ((level.base && !base) || (level.asked && !is_wanted(level.name)) || !level.has()) {
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
