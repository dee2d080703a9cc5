// Weights, and sums for each anchor. An item is a vector.

#include "stages/stage_bench.h"

namespace {

void reduce(benchmark::State& state, const char* device) {
    stage::Training training(device);
    std::vector<int32_t> counts(training.shape.m);
    const stage::Report report(true);
    for (auto _ : state) {
        training.engine->reduce(training.reduce);
        training.engine->get_counts(counts.data()); // waits
    }
    const auto& shape = training.shape;
    report.finish(state, double(shape.n), 0,
                  double(shape.n) * (shape.dp + 8.0 * shape.neighbours) + 8.0 * shape.m * shape.dp);
}
BENCHMARK_CAPTURE(reduce, device, "opencl:")->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(reduce, reference, "reference")->UseRealTime()->Unit(benchmark::kMicrosecond);

void count_reduce(benchmark::State& state) {
    stage::Training training("reference", 2560);
    for (auto _ : state) {
        stage::counted_stage([&] { training.engine->reduce(training.reduce); });
    }
}
BENCHMARK(count_reduce)->Iterations(1);

} // namespace
