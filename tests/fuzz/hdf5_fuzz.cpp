// HDF5 files: faults inside libhdf5 are not ours.

#include <tests/fuzz/vector_input.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    read_as(".hdf5", 0, data, size);
    return 0;
}
