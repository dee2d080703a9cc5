#include <faiss_vlc/lib/finite.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

} // namespace

void require_finite(const float* x, int64_t n, int d, const char* what) {
    constexpr uint32_t kExponent = 0x7f800000;
    int64_t row = n; // the first bad one
#pragma omp parallel for reduction(min : row) if (n > 1000)
    for (int64_t i = 0; i < n; i++) {
        const float* values = x + size_t(i) * size_t(d);
        uint32_t bad = 0; // no early exit: this way the compiler can vectorise
        for (int column = 0; column < d; column++) {
            bad |= (bits_of(values[column]) & kExponent) == kExponent;
        }
        row = bad ? std::min(row, i) : row;
    }
    for (int column = 0; row < n && column < d; column++) {
        const float value = x[size_t(row) * size_t(d) + size_t(column)];
        if (!std::isfinite(value)) {
            fail("%s: expected finite values, row %lld, column %d is %g", what,
                 static_cast<long long>(row), column, double(value));
        }
    }
}

} // namespace faiss_vlc
