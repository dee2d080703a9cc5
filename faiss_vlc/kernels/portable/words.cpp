#include <faiss_vlc/kernels/levels.h>
#include <faiss_vlc/kernels/list_scan.h>

#include <algorithm>
#include <cstring>

#include <faiss_vlc/kernels/word_tables.h>

namespace faiss_vlc {

namespace {

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

/// Tables of 16-bit entries, word by word.
TableScale tables(int blocks, const int32_t* dots, const float* penalty, float share,
                  uint8_t* tables) {
    const TableScale scale = table_scale(blocks, dots, penalty, share);
    for (int b = 0; b < blocks; b++) {
        uint16_t entries[kWords];
        table_entries(dots, penalty, share, b, scale.step, entries);
        std::memcpy(tables + size_t(b) * sizeof(entries), entries, sizeof(entries));
    }
    return scale;
}

TableScale few_tables(int blocks, const int32_t* dots, const float* penalty, float share,
                      uint8_t* tables) {
    const TableScale scale = table_scale(blocks, dots, penalty, share, true);
    for (int b = 0; b < blocks; b++) {
        float least, most;
        word_range(dots, penalty, share, b, &least, &most);
        int32_t entries[kWords];
        for (int w = 0; w < kWords; w++) {
            const float v = word_value(dots, penalty, share, b * kWords + w);
            entries[w] = int32_t((v - least) * scale.step + 0.5f);
        }
        std::memcpy(tables + size_t(b) * sizeof(entries), entries, sizeof(entries));
    }
    return scale;
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
    simd.words.products = products;
    simd.words.tables = tables;
    simd.words.sums = sums_of<uint16_t>;
    simd.words.few_tables = few_tables;
    simd.words.few_sums = sums_of<int32_t>;
}

} // namespace faiss_vlc
