// The nearest anchors of int8 vectors. An item is a vector.

#include "stages/stage_bench.h"

namespace {

void assign(benchmark::State& state, const char* device) {
    stage::Training training(device);
    const stage::Report report(true);
    for (auto _ : state) {
        benchmark::DoNotOptimize(training.engine->assign());
    }
    const auto& shape = training.shape;
    report.finish(state, double(shape.n), 2.0 * double(shape.n) * shape.m * shape.dp, 0);
}
BENCHMARK_CAPTURE(assign, device, "opencl:")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(assign, reference, "reference")->UseRealTime()->Unit(benchmark::kMillisecond);

void count_assign(benchmark::State& state) {
    stage::Training training("reference", 2560);
    for (auto _ : state) {
        stage::counted_stage([&] { training.engine->assign(); });
    }
}
BENCHMARK(count_assign)->Iterations(1);

} // namespace
