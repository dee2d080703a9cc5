#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/lib/aligned.h>

namespace faiss_vlc {

/// The words of block codes: 256 vectors for each block of axes, trained like those of a product
/// quantizer (Jegou, Douze and Schmid, 2011). Their components are integers, in units of `unit`, so
/// that all products are exact: the same codes and estimates on every instruction set and device.
struct Codebook {
    /// Of a component and of what it is multiplied by, for blocks of so many axes: sums of products
    /// stay below 2^28.
    static int limit(const Layout& layout);

    float unit = 1;               ///< in lattice units, times Model::code_scale
    AlignedVector<int16_t> words; ///< per pair of slots 256 words x 2 components; empty slots are 0

    // derived
    std::vector<int32_t> norms; ///< blocks x 256: squared

    void finish(const Layout& layout);

    int16_t& at(int slot, int word) { return words[place(slot, word)]; }
    int16_t at(int slot, int word) const { return words[place(slot, word)]; }

private:
    static size_t place(int slot, int word) {
        return (size_t(slot / 2) * kWords + size_t(word)) * 2 + size_t(slot % 2);
    }
};

/// The word of each block that is nearest to x, of equal ones the first: code gets code_bytes.
/// x: int16 slots within the codebook's limit.
void nearest_words(const Layout& layout, const Codebook& book, const int16_t* x, uint8_t* code);

} // namespace faiss_vlc
