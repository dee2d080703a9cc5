// Files of vectors and labels. The first byte chooses the format; HDF5 has a target of its own.

#include <tests/fuzz/vector_input.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const char* const kExtensions[] = {".fvecs", ".bvecs", ".ivecs", ".npy", ".raw", ".npy"};
    if (size > 0) {
        read_as(kExtensions[data[0] % 6], data[0] / 6, data + 1, size - 1);
    }
    return 0;
}
