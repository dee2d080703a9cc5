// Anchors step towards their means. An item is an anchor.

#include "stages/stage_bench.h"

namespace {

void update(benchmark::State& state, const char* device) {
    stage::Training training(device);
    std::vector<int32_t> counts(training.shape.m);
    const stage::Report report(true);
    for (auto _ : state) {
        training.engine->update(training.update);
        training.engine->get_counts(counts.data()); // waits
    }
    // sums read; anchors read and written, and their int8 copies
    const double components = double(training.shape.m) * training.shape.dp;
    report.finish(state, training.shape.m, 0, components * (8 + 4 + 4 + 1));
}
BENCHMARK_CAPTURE(update, device, "opencl:")->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(update, reference, "reference")->UseRealTime()->Unit(benchmark::kMicrosecond);

void count_update(benchmark::State& state) {
    stage::Training training("reference", 2560);
    for (auto _ : state) {
        stage::counted_stage([&] { training.engine->update(training.update); });
    }
}
BENCHMARK(count_update)->Iterations(1);

} // namespace
