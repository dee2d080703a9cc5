#include <faiss_vlc/faiss_version.h>

namespace faiss_vlc {

// What FAISS has got in the course of time, by its names for the linker: null where it lacks them.
#define WEAK(symbol) asm(symbol) __attribute__((weak))
std::string faiss_get_version() WEAK("_ZN5faiss11get_versionB5cxx11Ev");       // 1.9
void faiss_get_iterator() WEAK("_ZNK5faiss13InvertedLists12get_iteratorEmPv"); // 1.8
void faiss_get_code_packer() WEAK("_ZNK5faiss8IndexIVF14get_CodePackerEv");    // 1.7.4

std::string compiled_faiss() {
    return std::to_string(FAISS_VERSION_MAJOR) + "." + std::to_string(FAISS_VERSION_MINOR) + "." +
           std::to_string(FAISS_VERSION_PATCH);
}

std::string loaded_faiss() {
    return faiss_get_version       ? faiss_get_version()
           : faiss_get_iterator    ? "1.8.0"
           : faiss_get_code_packer ? "1.7.4"
                                   : "1.7.3";
}

std::string faiss_mismatch(const std::string& loaded) {
    const std::string compiled = compiled_faiss();
    return loaded == compiled
                   ? ""
                   : "faiss_vlc was compiled for FAISS " + compiled +
                             ", but this program runs with FAISS " + loaded + ": install FAISS " +
                             compiled + ", or compile faiss_vlc for FAISS " + loaded +
                             " (FAISS_INCLUDE_DIR and FAISS_LIBRARY name it)";
}

} // namespace faiss_vlc
