#include <faiss_vlc/query/off_lattice.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/lib/numeric.h>

namespace faiss_vlc {

namespace {

constexpr double kEnd = 127;                  ///< of the lattice
constexpr double kLost = 1.0 / 256;           ///< of |u|^2, that clamping may take away
constexpr double kLargest = 127 * 128;        ///< component of x: both bytes have to hold it
constexpr double kMostSum = (1 << 28) / kEnd; ///< of |x_k|: products with anchors are up to 2^28

} // namespace

OffLattice OffLattice::of(int d, const float* u) {
    double square = 0, lost = 0, sum = 0, largest = 0;
    for (int k = 0; k < d; k++) {
        const double size = std::fabs(u[k]);
        const double over = std::max(0.0, size - kEnd);
        square += size * size;
        lost += over * over;
        sum += size;
        largest = std::max(largest, size);
    }
    if (!(lost > kLost * square) || !std::isfinite(square)) {
        return {};
    }
    OffLattice result{1, largest > 2 * kEnd};
    while (largest > kLargest || sum > kMostSum) {
        largest /= 2;
        sum /= 2;
        result.shift++;
    }
    return result;
}

bool OffLattice::may_be(int dp, const int8_t* x) {
    int at_end = 0;
    for (int k = 0; k < dp; k++) {
        at_end |= int(x[k] == 127) | int(x[k] == -127);
    }
    return at_end != 0;
}

float OffLattice::scale() const {
    return std::ldexp(1.0f, 1 - shift);
}

void OffLattice::round(int d, const float* u, int8_t* high, int8_t* low) const {
    const float by = scale();
    for (int k = 0; k < d; k++) {
        const int x = round_even(u[k] * by);
        high[k] = int8_t((x + 64) >> 7);
        low[k] = int8_t(x - high[k] * 128);
    }
}

} // namespace faiss_vlc
