#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/interrupt.h>

namespace faiss_vlc {

/// What several devices of one machine have in common, whatever they do together.

/// Their names: "2 x A, B".
std::string joined_names(const std::vector<std::string>& names);

/// How many of `devices` devices get one block of these rows at least; one always does.
int devices_for(int64_t rows, int devices);

/// body() of device i; of several, its error names the device.
template <class Body>
void run_device(int i, int count, Body body) {
    try {
        body();
    } catch (const faiss::FaissException& error) {
        if (count == 1 || is_interruption(error)) {
            throw;
        }
        fail("device %d of %d: %s", i + 1, count, error.what());
    }
}

} // namespace faiss_vlc
