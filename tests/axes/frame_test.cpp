#include <faiss_vlc/axes/frame.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/kernels/simd.h>

#include <tests/support/unit_test.h>

namespace faiss_vlc {
namespace {

/// Covariance sums of correlated integers.
std::vector<int64_t> correlated(int d, uint64_t seed, int rows = 300) {
    Random random(seed);
    const std::vector<float> mix = random.normals(size_t(d) * d);
    std::vector<int64_t> sums(size_t(d) * d, 0);
    for (int i = 0; i < rows; i++) {
        std::vector<int64_t> u(d, 0);
        const std::vector<float> z = random.normals(d);
        for (int k = 0; k < d; k++) {
            double v = 0;
            for (int l = 0; l < d; l++) {
                v += mix[size_t(k) * d + l] * z[l] * 20 / (1 + l);
            }
            u[k] = int64_t(v);
        }
        for (int k = 0; k < d; k++) {
            for (int l = 0; l < d; l++) {
                sums[size_t(k) * d + l] += u[k] * u[l];
            }
        }
    }
    return sums;
}

std::vector<int> all_axes(int count) {
    std::vector<int> axes(count);
    std::iota(axes.begin(), axes.end(), 0);
    return axes;
}

double entry(const Frame& frame, int axis, int k) {
    double square = 0;
    for (int l = 0; l < frame.d; l++) {
        const double v = frame.rows[size_t(axis) * frame.d + l];
        square += v * v;
    }
    return frame.rows[size_t(axis) * frame.d + k] / std::sqrt(square);
}

/// <row_i, C row_j> relative to the trace.
double form(const Frame& frame, const std::vector<int64_t>& c, int i, int j) {
    double sum = 0, trace = 0;
    for (int k = 0; k < frame.d; k++) {
        trace += double(c[size_t(k) * frame.d + k]);
        for (int l = 0; l < frame.d; l++) {
            sum += entry(frame, i, k) * entry(frame, j, l) * double(c[size_t(k) * frame.d + l]);
        }
    }
    return trace > 0 ? sum / trace : 0;
}

void expect_orthonormal(const Frame& frame) {
    for (int i = 0; i < frame.kept; i++) {
        for (int j = 0; j <= i; j++) {
            double dot = 0;
            for (int k = 0; k < frame.d; k++) {
                dot += entry(frame, i, k) * entry(frame, j, k);
            }
            ASSERT_NEAR(dot, i == j, 8e-3) << frame.d << ": " << i << " " << j;
        }
    }
}

TEST(Frame, PrincipalAxesAreOrthonormalAndDiagonalise) {
    for (int d : {1, 2, 3, 16, 17, 40, 128}) {
        const std::vector<int64_t> c = correlated(d, uint64_t(d));
        const Frame frame = Frame::principal(d, c.data());
        ASSERT_EQ(frame.d, d);
        ASSERT_EQ(frame.kept, d);
        ASSERT_EQ(frame.rows.size(), size_t(d) * d);
        expect_orthonormal(frame);
        double last = 2, sum = 0;
        for (int i = 0; i < d; i++) {
            const double variance = form(frame, c, i, i);
            EXPECT_LE(variance, last + 1e-3) << "axis " << i << " of " << d;
            last = variance;
            sum += variance;
            if (i > 0 && d <= 40) {
                EXPECT_NEAR(form(frame, c, i, i - 1), 0, 4e-3);
                EXPECT_NEAR(form(frame, c, i, 0), 0, 4e-3);
            }
            int strongest = 0;
            for (int k = 1; k < d; k++) {
                if (std::abs(frame.rows[i * d + k]) > std::abs(frame.rows[i * d + strongest])) {
                    strongest = k;
                }
            }
            EXPECT_EQ(std::abs(frame.rows[i * d + strongest]), 127);
        }
        EXPECT_NEAR(sum, 1, 1e-2);
    }
}

TEST(Frame, DegenerateCovariancesGiveAxes) {
    for (int d : {1, 5, 20}) {
        std::vector<int64_t> zero(size_t(d) * d, 0);
        expect_orthonormal(Frame::principal(d, zero.data()));
        std::vector<int64_t> one_direction(size_t(d) * d, int64_t(1) << 52);
        const Frame frame = Frame::principal(d, one_direction.data());
        expect_orthonormal(frame);
        EXPECT_NEAR(form(frame, one_direction, 0, 0), 1, 1e-3);
    }
}

TEST(Frame, IdentityOrdersByVariance) {
    const std::vector<int64_t> c = {5, 9, 9, 9, 9, 7, 9, 9, 9, 9, 5, 9, 9, 9, 9, 8};
    const Frame frame = Frame::identity(4, c.data());
    const int order[4] = {3, 1, 0, 2}; // equals by number
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 4; k++) {
            EXPECT_EQ(frame.rows[i * 4 + k], k == order[i] ? 127 : 0);
        }
    }
}

/// Rotates into the given slots and compares with double products of the stored rows.
void check_rotation(Frame frame, const std::vector<int>& slot_axis, const std::vector<float>& x) {
    frame.arrange(slot_axis);
    ASSERT_EQ(frame.slots() % 16, 0);
    ASSERT_GE(frame.slots(), int(slot_axis.size()));
    ASSERT_LT(frame.slots(), int(slot_axis.size()) + 16);
    std::vector<float> y(frame.slots(), 99);
    frame.rotate(x.data(), y.data());
    double norm = 0;
    for (float v : x) {
        norm += double(v) * v;
    }
    norm = std::sqrt(norm);
    std::vector<double> back(frame.d, 0);
    for (int s = 0; s < frame.slots(); s++) {
        const int axis = s < int(slot_axis.size()) ? slot_axis[s] : -1;
        double expected = 0;
        for (int k = 0; axis >= 0 && axis < frame.kept && k < frame.d; k++) {
            expected += entry(frame, axis, k) * x[k];
            back[k] += entry(frame, axis, k) * y[s];
        }
        // each component of x is rounded by half a unit of norm / 32767
        ASSERT_NEAR(y[s], expected,
                    norm * (0.5 / 32767) * std::sqrt(double(frame.d)) * 1.01 + 1e-6 * norm)
                << frame.d << " slot " << s;
    }
    std::vector<float> out(frame.d, 1000);
    std::vector<float> expected(frame.d);
    frame.rotate_back_add(y.data(), out.data());
    for (int k = 0; k < frame.d; k++) {
        ASSERT_NEAR(out[k], 1000 + back[k], 1e-5 * (1000 + norm));
    }
}

TEST(Frame, RotationMatchesDoubles) {
    Random random(3);
    for (int d : {1, 2, 3, 15, 16, 17, 64, 129}) {
        Frame frame = Frame::principal(d, correlated(d, uint64_t(d) + 1).data());
        check_rotation(frame, all_axes(d), random.normals(d));
        check_rotation(frame, all_axes(d), random.normals(d, 1000, 3000));
        std::vector<int> sparse; // empty slots, axes out of order, one that is not there
        for (int i = 0; i < d; i++) {
            sparse.push_back(i % 3 == 2 ? -1 : d - 1 - i);
        }
        sparse.push_back(d + 2);
        check_rotation(frame, sparse, random.normals(d));
        frame.keep((d + 1) / 2);
        EXPECT_EQ(frame.kept, (d + 1) / 2);
        EXPECT_EQ(frame.rows.size(), size_t(frame.kept) * d);
        check_rotation(frame, all_axes(d), random.normals(d));
        frame.keep(d + 5);
        EXPECT_LE(frame.kept, d);
    }
}

/// The largest error of a component, of vectors of length 1.
double turning_error(const Frame& frame, Random& random) {
    double worst = 0;
    for (int trial = 0; trial < 20; trial++) {
        std::vector<float> x = random.normals(frame.d), y(frame.slots());
        double norm = 0;
        for (const float v : x) {
            norm += double(v) * v;
        }
        frame.rotate(x.data(), y.data());
        for (int s = 0; s < frame.d; s++) {
            double expected = frame.own ? x[s] : 0;
            for (int k = 0; k < frame.d && !frame.own; k++) {
                expected += entry(frame, s, k) * x[k];
            }
            worst = std::max(worst, std::fabs(y[s] - expected) / std::sqrt(norm));
        }
    }
    return worst;
}

TEST(Frame, FineRotationIsSevenBitsMoreExact) {
    Random random(14);
    for (const int d : {1, 2, 15, 48, 129}) {
        for (const bool own : {false, true}) {
            Frame frame = own ? Frame::own_axes(d)
                              : Frame::principal(d, correlated(d, uint64_t(d) + 1).data());
            frame.arrange(all_axes(d));
            const double usual = turning_error(frame, random);
            EXPECT_GE(usual, d > 1 ? 0.2 / 32767 : 0) << d;
            frame.fine = true;
            EXPECT_LE(turning_error(frame, random), 0.6 / 32767 / 128 * std::sqrt(d) + 2e-7) << d;
            // together, the same
            std::vector<int16_t> q[3];
            std::vector<float> alone[3], y[3];
            const int16_t* scaled[3];
            float unit[3];
            float* to[3];
            for (int v = 0; v < 3; v++) {
                const std::vector<float> x = random.normals(d, std::pow(10, 5 * v));
                q[v].resize(frame.scaled_size());
                unit[v] = frame.quantize(x.data(), q[v].data());
                scaled[v] = q[v].data();
                y[v].resize(frame.slots());
                alone[v].resize(frame.slots());
                to[v] = y[v].data();
                frame.rotate(x.data(), alone[v].data());
            }
            frame.rotate_together(3, scaled, unit, to);
            EXPECT_TRUE(std::equal(y, y + 3, alone)) << d;
        }
    }
}

TEST(Frame, MoreDimensionsThanTheStackHolds) {
    Random random(4);
    for (int d : {4095, 4096, 4097}) {
        Frame frame;
        frame.d = d;
        frame.kept = 2;
        frame.rows.assign(2 * size_t(d), 0);
        for (int k = 0; k < d; k++) { // two orthogonal axes
            frame.rows[k] = 127;
            frame.rows[d + k] = int8_t(k < d / 2 ? 127 : -127);
        }
        check_rotation(frame, {0, 1}, random.normals(d));
        check_rotation(frame, {1, 0}, std::vector<float>(d, 1));
    }
}

TEST(Frame, ScalesAndZero) {
    const int d = 20;
    Frame frame = Frame::principal(d, correlated(d, 9).data());
    frame.arrange(all_axes(d));
    Random random(5);
    const std::vector<float> x = random.normals(d);
    std::vector<float> y(frame.slots()), z(frame.slots(), 7);
    frame.rotate(x.data(), y.data());
    for (float scale : {1e-30f, 1e-18f, 1e18f, 1e30f}) {
        std::vector<float> scaled = x;
        for (float& v : scaled) {
            v *= scale;
        }
        frame.rotate(scaled.data(), z.data());
        for (int s = 0; s < d; s++) {
            EXPECT_NEAR(z[s] / scale, y[s], 2e-4) << scale;
        }
    }
    frame.rotate(std::vector<float>(d, 0).data(), z.data());
    EXPECT_EQ(z, std::vector<float>(frame.slots(), 0));
    // there and back again over all axes
    std::vector<float> out(d, 0);
    frame.rotate_back_add(y.data(), out.data());
    for (int k = 0; k < d; k++) {
        EXPECT_NEAR(out[k], x[k], 3e-2);
    }
}

std::string rotations() {
    Random random(6);
    uint64_t hash = digest(nullptr, 0);
    for (int d : {1, 7, 16, 50, 128}) {
        Frame frame = Frame::principal(d, correlated(d, uint64_t(d)).data());
        hash = digest(frame.rows.data(), frame.rows.size(), hash);
        frame.arrange(all_axes(d));
        std::vector<float> y(frame.slots());
        for (int i = 0; i < 50; i++) {
            frame.rotate(random.normals(d, 10).data(), y.data());
            hash = digest(y.data(), y.size() * 4, hash);
        }
    }
    return std::string(simd().name) + " " + std::to_string(hash);
}

TEST(FrameChild, DISABLED_Rotations) {
    report(rotations());
}

TEST(Frame, EveryInstructionSetGivesTheSameBits) {
    const std::string own = rotations();
    const std::string hash = own.substr(own.find(' '));
    for (const char* const* level = simd_levels(); *level; level++) {
        EXPECT_EQ(run_child("FrameChild.DISABLED_Rotations", std::string("VLC_SIMD=") + *level),
                  *level + hash);
    }
}

} // namespace
} // namespace faiss_vlc
