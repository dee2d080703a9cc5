#pragma once

#include <unistd.h>

#include <cstdio>

#include <faiss_vlc/lib/finite.h>
#include <faiss_vlc/vectors/vector_file.h>

#include <tests/fuzz/fuzz.h>

/// Puts the bytes into a file of that extension and reads it in every way; `variant` chooses
/// options.
inline void read_as(const char* extension, int variant, const uint8_t* data, size_t size) {
    static const std::string stem = "/dev/shm/vlc_fuzz_" + std::to_string(getpid());
    const std::string path = stem + extension;
    FILE* file = fopen(path.c_str(), "wb");
    if (!file) {
        return;
    }
    fwrite(data, 1, size, file);
    fclose(file);
    faiss_vlc::VectorFileOptions options;
    static const char* const kTypes[] = {"", "float32", "float16", "float64", "int16", "nonsense"};
    options.dtype = kTypes[variant % 6];
    options.d = variant / 6 % 8;
    attempt([&] {
        const auto reader = faiss_vlc::open_vectors(path, options);
        std::vector<float> rows(size_t(reader->d()) * 3);
        while (reader->read(3, rows.data()) > 0) {
        }
        reader->seek(reader->n() / 2);
        reader->read(1, rows.data());
    });
    attempt([&] {
        const auto matrix = faiss_vlc::read_vectors(path, options);
        faiss_vlc::require_finite(matrix.data.data(), matrix.n, matrix.d, "fuzz");
    });
    attempt([&] { faiss_vlc::read_labels(path); });
    unlink(path.c_str());
}
