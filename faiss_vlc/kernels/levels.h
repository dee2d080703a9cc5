#pragma once

#include <faiss_vlc/kernels/simd.h>

namespace faiss_vlc {

/// An instruction set with loops of its own. To add one: its folder, a line of levels.cmake, and
/// its entry in kLevels (simd.cpp) under the processor that it is built for.
struct Level {
    const char* name;     ///< also of the folder
    bool (*has)();        ///< whether the CPU that runs us has the instructions
    const char* base;     ///< an earlier level, whose loops it takes over; null: none
    void (*patch)(Simd&); ///< puts its own in, by name; called only where has() says yes
    bool asked = false;   ///< there only if VLC_SIMD names it
};

// What each file of a level's folder puts in.

namespace portable {
void patch_search(Simd& simd);
void patch_words(Simd& simd);
void patch_encode(Simd& simd);
void patch_nearest(Simd& simd);
void patch_algebra(Simd& simd);
void patch_levels(Simd& simd);
} // namespace portable

namespace avx2 {
void patch_search(Simd& simd);
void patch_words(Simd& simd);
void patch_encode(Simd& simd);
void patch_nearest(Simd& simd);
void patch_algebra(Simd& simd);
void patch_levels(Simd& simd);
} // namespace avx2

namespace avx512 {
void patch_search(Simd& simd);
void patch_words(Simd& simd);
void patch_encode(Simd& simd);
void patch_nearest(Simd& simd);
void patch_algebra(Simd& simd);
void patch_levels(Simd& simd);
} // namespace avx512

namespace avx512_vbmi {
void patch_words(Simd& simd);
} // namespace avx512_vbmi

namespace amx {
void patch_nearest(Simd& simd);
} // namespace amx

namespace neon { // compilers vectorise portable/encode.cpp for it
void patch_search(Simd& simd);
void patch_words(Simd& simd);
void patch_nearest(Simd& simd);
} // namespace neon

} // namespace faiss_vlc
