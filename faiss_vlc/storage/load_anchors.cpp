#include <cmath>

#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/storage/load_sections.h>

namespace faiss_vlc {

void read_lattice(ByteReader r, Model& model) {
    model.lattice.d = model.d;
    model.lattice.scale = r.f32();
    expect(std::isfinite(model.lattice.scale) && model.lattice.scale > 0, r, "scale",
           model.lattice.scale, "a finite number above 0");
    model.lattice.mean = r.array<float>(uint64_t(model.d));
    r.expect_end();
    for (float v : model.lattice.mean) {
        expect(std::isfinite(v), r, "mean", v, "a finite number");
    }
}

void read_anchors(ByteReader r, Model& model) {
    model.grid = AnchorGrid(r.u32());
    expect(model.grid == AnchorGrid::int8 || model.grid == AnchorGrid::float16, r, "grid",
           double(model.grid), "0 (int8) or 1 (float16)");
    const uint64_t count = uint64_t(model.m) * model.d;
    const int pad = model.dp();
    const auto put = [&](uint64_t i, float value) {
        expect(value >= -127 && value <= 127, r, "anchor component", value, "-127 to 127");
        // halves up, as training rounds anchors
        model.anchors8[i / model.d * pad + i % model.d] = int8_t(std::floor(value + 0.5f));
    };
    if (model.grid == AnchorGrid::int8) {
        const std::vector<int8_t> values = r.array<int8_t>(count);
        r.expect_end();
        model.anchors8.assign(uint64_t(model.m) * pad, 0);
        for (uint64_t i = 0; i < count; i++) {
            put(i, values[i]);
        }
    } else {
        model.anchors16 = r.array<uint16_t>(count);
        r.expect_end();
        model.anchors8.assign(uint64_t(model.m) * pad, 0);
        for (uint64_t i = 0; i < count; i++) {
            put(i, half_to_float(model.anchors16[i]));
        }
    }
}

void read_routing(ByteReader r, Model& model) {
    expect(model.metric == faiss::METRIC_INNER_PRODUCT, r, "metric", double(model.metric),
           "0, the inner product");
    expect(model.grid == AnchorGrid::float16, r, "grid", double(model.grid), "1 (float16)");
    expect(model.d + Routing::kRankComponents <= kMaxDim, r, "d", model.d, "at most 4080");
    Routing& routing = model.routing;
    const float weight = r.f32();
    expect(weight > 0 && weight <= 64, r, "weight", weight, "above 0, at most 64");
    routing.lengths = r.array<float>(Routing::kSteps + 1);
    for (size_t i = 0; i < routing.lengths.size(); i++) {
        const float length = routing.lengths[i];
        expect(std::isfinite(length) && length >= (i > 0 ? routing.lengths[i - 1] : 0), r, "length",
               length, "finite numbers from 0, rising");
    }
    Lattice directions;
    directions.d = model.d;
    directions.scale = r.f32();
    expect(std::isfinite(directions.scale) && directions.scale > 0, r, "scale", directions.scale,
           "a finite number above 0");
    directions.mean = r.array<float>(uint64_t(model.d));
    for (float v : directions.mean) {
        expect(std::isfinite(v), r, "mean", v, "a finite number");
    }
    routing.set_weight(weight, directions);
    const uint64_t own = uint64_t(routing.lattice.d);
    const std::vector<int8_t> anchors = r.array<int8_t>(model.m * own);
    r.expect_end();
    routing.anchors.assign(uint64_t(model.m) * routing.dp(), 0);
    for (uint64_t i = 0; i < anchors.size(); i++) {
        expect(anchors[i] != -128, r, "anchor component", anchors[i], "-127 to 127");
        routing.anchors[i / own * routing.dp() + i % own] = anchors[i];
    }
    model.round_anchors();
}

void read_spread(ByteReader r, Model& model) {
    model.spread.resize(0);
    for (uint16_t bits : r.array<uint16_t>(uint64_t(model.m))) {
        model.spread.push_back(half_to_float(bits));
        expect(std::isfinite(model.spread.back()) && model.spread.back() >= 0, r, "spread",
               model.spread.back(), "a finite number, 0 or above");
    }
    r.expect_end();
}

void read_rank_bias(ByteReader r, Model& model) {
    model.rank_bias = r.f32();
    expect(model.rank_bias > 0 && model.rank_bias <= 4, r, "bias", model.rank_bias,
           "above 0, at most 4");
    r.expect_end();
}

void read_regions(ByteReader r, Model& model) {
    Regions& regions = model.regions;
    const uint32_t count = r.u32();
    expect(count >= 2 && count <= uint32_t(model.m), r, "regions", count, "2 to m");
    const uint32_t levels = r.u32();
    expect(levels >= 1 && levels <= Regions::kLevels, r, "numbers of regions looked into", levels,
           "1 to 13");
    regions.visits = r.array<int32_t>(levels);
    int32_t last = 1;
    for (const int32_t visits : regions.visits) {
        expect(visits >= last && visits <= int32_t(count), r, "regions looked into", visits,
               "1 to the number of regions, rising");
        last = visits;
    }
    const std::vector<int8_t> centres = r.array<int8_t>(uint64_t(count) * model.d);
    regions.centres.assign(uint64_t(count) * model.dp(), 0);
    for (uint64_t i = 0; i < centres.size(); i++) {
        expect(centres[i] != -128, r, "centre component", centres[i], "-127 to 127");
        regions.centres[i / model.d * model.dp() + i % model.d] = centres[i];
    }
    regions.of = r.array<int32_t>(uint64_t(model.m));
    r.expect_end();
    std::vector<uint8_t> has_anchors(count, 0);
    for (const int32_t region : regions.of) {
        expect(region >= 0 && region < int32_t(count), r, "region of an anchor", region,
               "less than the number of regions");
        has_anchors[region] = 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        expect(has_anchors[i], r, "region", i, "one that has anchors");
    }
    regions.finish(int(count));
}

} // namespace faiss_vlc
