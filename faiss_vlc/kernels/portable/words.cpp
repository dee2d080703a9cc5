#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/word_residual.h>

#include <algorithm>
#include <cstring>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

namespace {

float residual(int n, const float* y, const float* base, float* out) {
    return word_residual(n, y, base, out);
}

void products(const WordsView& book, const int16_t* x, int32_t* dots) {
    for (int b = 0; b < book.blocks; b++) {
        int32_t* dot = dots + b * kWords;
        std::fill_n(dot, kWords, 0);
        for (int s = book.slot[b]; s < book.slot[b + 1]; s += 2) {
            const int16_t* words = book.words + int64_t(s) * kWords;
            for (int w = 0; w < kWords; w++) {
                dot[w] += int32_t(words[2 * w]) * x[s] + int32_t(words[2 * w + 1]) * x[s + 1];
            }
        }
    }
}

ValueRange range_of(const float* values) {
    float low[kLanes], high[kLanes];
    std::copy_n(values, kLanes, low);
    std::copy_n(values, kLanes, high);
    for (int w = kLanes; w < kWords; w += kLanes) {
        for (int i = 0; i < kLanes; i++) {
            const float v = values[w + i];
            low[i] = v < low[i] ? v : low[i];
            high[i] = v > high[i] ? v : high[i];
        }
    }
    return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

void values(const WordsView& book, const int16_t* x, const float* penalty, float share,
            float* values, ValueRange* ranges) {
    for (int b = 0; b < book.blocks; b++) {
        int32_t dots[kWords];
        products({1, book.slot + b, book.words}, x, dots);
        for (int w = 0; w < kWords; w++) {
            const int at = b * kWords + w;
            values[at] = penalty ? float(dots[w]) - share * penalty[at] : float(dots[w]);
        }
        ranges[b] = range_of(values + b * kWords);
    }
}

void entries(int blocks, const float* values, const ValueRange* ranges, float step,
             uint8_t* tables) {
    for (int b = 0; b < blocks; b++) {
        uint16_t entries[kWords];
        for (int w = 0; w < kWords; w++) {
            entries[w] = uint16_t(round_even((values[b * kWords + w] - ranges[b].least) * step));
        }
        std::memcpy(tables + size_t(b) * sizeof(entries), entries, sizeof(entries));
    }
}

void few_entries(int blocks, const float* values, const ValueRange* ranges, float step,
                 uint8_t* tables) {
    for (int b = 0; b < blocks; b++) {
        int32_t entries[kWords];
        for (int w = 0; w < kWords; w++) {
            entries[w] = int32_t((values[b * kWords + w] - ranges[b].least) * step + 0.5f);
        }
        std::memcpy(tables + size_t(b) * sizeof(entries), entries, sizeof(entries));
    }
}

template <class Entry>
void sums_of(const ListScan& list, const uint8_t* blocks, int count, int32_t* acc) {
    const Layout& layout = *list.layout;
    const Entry* tables = reinterpret_cast<const Entry*>(list.tables);
    const int of_vector = layout.blocks();
    for (int first = 0; first < count; first += kBlock) {
        const int in_block = std::min(kBlock, count - first);
        const uint8_t* rows = blocks + int64_t(first) * layout.code_size();
        for (int v = 0; v < in_block; v++) {
            int32_t sum = 0;
            for (int b = 0; b < of_vector; b++) {
                sum += int32_t(tables[b * kWords + rows[b * in_block + v]]);
            }
            acc[first + v] = sum;
        }
    }
}

} // namespace

void portable::patch_words(Simd& simd) {
    simd.words.residual = residual;
    simd.words.products = products;
    simd.words.values = values;
    simd.words.entries = entries;
    simd.words.sums = sums_of<uint16_t>;
    simd.words.few_entries = few_entries;
    simd.words.few_sums = sums_of<int32_t>;
}

} // namespace faiss_vlc
