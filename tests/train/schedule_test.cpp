#include <faiss_vlc/train/schedule.h>

#include <cstdint>

#include <gtest/gtest.h>

namespace faiss_vlc {
namespace {

Shape shape_of(int64_t n, int64_t n_train, int d, int m) {
    Shape shape;
    shape.n = n;
    shape.n_train = n_train;
    shape.d = d;
    shape.dp = padded_dim(d);
    shape.m = m;
    return shape;
}

TEST(Schedule, CoolsFromTheFirstTemperatureToTheLast) {
    VLCParameters params;
    params.iterations = 20;
    params.start_temperature = 0.5f;
    params.end_temperature = 0.001f;
    const Schedule schedule(shape_of(1000, 900, 8, 10), params);
    const int64_t energy = 40000;
    int64_t temperature = schedule.hottest(energy);
    EXPECT_EQ(degrees(temperature), 0.5 * 40000);
    for (int t = 1; t < params.iterations; t++) {
        const int64_t next = schedule.cooler(temperature);
        EXPECT_LT(next, temperature);
        temperature = next;
    }
    EXPECT_NEAR(degrees(temperature), 0.001 * 40000, 0.1);
    for (int t = 0; t < 1000; t++) {
        temperature = schedule.cooler(temperature);
    }
    EXPECT_EQ(temperature, 1) << "never none at all";
    EXPECT_EQ(schedule.hottest(0), 1);
}

TEST(Schedule, OneIterationKeepsItsTemperature) {
    VLCParameters params;
    params.iterations = 1;
    const Schedule schedule(shape_of(100, 90, 8, 3), params);
    EXPECT_NEAR(double(schedule.cooler(1 << 20)), 1 << 20, 1);
}

TEST(Schedule, NearListsAreForManyAnchors) {
    VLCParameters params;
    params.candidates = -1; // chosen
    EXPECT_EQ(Schedule(shape_of(9000, 9000, 128, 255), params).near(), 0);
    EXPECT_EQ(Schedule(shape_of(9000, 9000, 128, 256), params).near(), 128);
    EXPECT_EQ(Schedule(shape_of(9000, 9000, 513, 511), params).near(), 0);
    EXPECT_EQ(Schedule(shape_of(9000, 9000, 513, 512), params).near(), 256);
    params.candidates = 0;
    EXPECT_EQ(Schedule(shape_of(9000, 9000, 128, 4096), params).near(), 0);
    params.candidates = 20;
    EXPECT_EQ(Schedule(shape_of(9000, 9000, 128, 40), params).near(), 20);
}

TEST(Schedule, StopsOnlyWhenAllRowsWereSeen) {
    VLCParameters params;
    params.iterations = 10;
    params.first_share = 0.1f;
    params.maintain_until = 0.7f;
    const Shape shape = shape_of(100000, 90000, 8, 10);
    const Schedule schedule(shape, params);
    EXPECT_EQ(schedule.rows(-1), 0);
    for (int t = 0; t < params.iterations; t++) {
        EXPECT_EQ(schedule.is_cool(t), t >= 5) << t;
        EXPECT_EQ(schedule.maintains(t), t + 1 < 7) << t;
        EXPECT_EQ(schedule.rows(t) == shape.n, t >= 5) << t;
        EXPECT_LE(schedule.training_rows(t), shape.n_train);
        EXPECT_GE(schedule.rows(t), schedule.rows(t - 1)) << t;
        EXPECT_EQ(schedule.reduce(t, 256, 9).rows, schedule.rows(t));
        EXPECT_EQ(schedule.update(t, 256, 100).mean_count, schedule.training_rows(t) / 10);
    }
}

} // namespace
} // namespace faiss_vlc
