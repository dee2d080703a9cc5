#include <faiss_vlc/parameters.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>

namespace faiss_vlc {

namespace {

void expect(bool ok, const char* name, double met, const char* expected) {
    if (!ok) {
        fail("%s: expected %s, got %g", name, expected, met);
    }
}

} // namespace

void VLCParameters::check(int d) const {
    expect(d >= 1 && d <= kMaxDim, "d", d, "1 to 4096 dimensions");
    expect(m >= 0 && m <= 1 << 20, "m", m, "1 to 1048576 anchors, or 0 to choose");
    expect(bits_per_dim >= 0.125f && bits_per_dim <= 8, "bits_per_dim", bits_per_dim, "0.125 to 8");
    expect(bytes == 0 || bytes > kFactorBytes, "bytes", bytes,
           "more than the 2 bytes that the factors take");
    expect(grid == AnchorGrid::int8 || grid == AnchorGrid::float16 || grid == AnchorGrid::automatic,
           "grid", int32_t(grid), "0 (int8), 1 (float16) or 2 (automatic)");
    expect(frames >= 0 && frames <= kMaxGroups, "frames", frames, "1 to 64, or 0 to choose");
    expect(work_group == 64 || work_group == 128 || work_group == 256, "work_group", work_group,
           "64, 128 or 256");
    expect(max_points_per_anchor >= 1, "max_points_per_anchor", max_points_per_anchor,
           "at least 1");
    expect(held_out >= 0 && held_out <= 0.5f, "held_out", held_out, "0 to 0.5");
    expect(iterations >= 1 && iterations <= 10000, "iterations", iterations, "1 to 10000");
    expect(candidates >= -1 && candidates <= 4096, "candidates", candidates, "1 to 4096, 0 or -1");
    expect(first_share > 0 && first_share <= 1, "first_share", first_share, "above 0, at most 1");
    expect(neighbours >= 1 && neighbours <= kMaxNeighbours, "neighbours", neighbours, "1 to 4");
    expect(start_temperature > 0 && start_temperature <= 10, "start_temperature", start_temperature,
           "above 0, at most 10");
    expect(end_temperature > 0 && end_temperature <= start_temperature, "end_temperature",
           end_temperature, "above 0, at most start_temperature");
    expect(size_bias >= 0 && size_bias <= 10, "size_bias", size_bias, "0 to 10");
    expect(random_bias >= 0 && random_bias <= 10, "random_bias", random_bias, "0 to 10");
    expect(kappa >= 0.1f && kappa <= 1000, "kappa", kappa, "0.1 to 1000");
    expect(step >= 0.1f && step <= 1.9f, "step", step, "0.1 to 1.9");
    expect(max_step > 0 && max_step <= 127, "max_step", max_step, "above 0, at most 127");
    expect(merge_fraction >= 0 && merge_fraction <= 1, "merge_fraction", merge_fraction, "0 to 1");
    expect(split_factor >= 1, "split_factor", split_factor, "at least 1");
    expect(maintain_until >= 0 && maintain_until <= 1, "maintain_until", maintain_until, "0 to 1");
    expect(stop_changes >= 0 && stop_changes <= 1, "stop_changes", stop_changes, "0 to 1");
    expect(tilt <= 4, "tilt", tilt, "at most 4");
    expect(rank_bias <= 4, "rank_bias", rank_bias, "at most 4");
    expect(coverage > 0 && coverage <= 1, "coverage", coverage, "above 0, at most 1");
    expect(checkpoint_every >= 0, "checkpoint_every", checkpoint_every, "0 or more iterations");
    if (checkpoint_every > 0 && checkpoint.empty()) {
        fail("checkpoint_every is %d, but checkpoint names no file", checkpoint_every);
    }
}

int VLCParameters::code_size(int d) const {
    // more than 8 bits a dimension would stay unused
    const int most = d + kFactorBytes;
    const int wanted =
            bytes > 0 ? bytes : int(std::ceil(double(d) * bits_per_dim / 8)) + kFactorBytes;
    return std::max(1 + kFactorBytes, std::min(most, wanted));
}

} // namespace faiss_vlc
