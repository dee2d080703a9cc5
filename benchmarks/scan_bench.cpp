// Preparing and scanning lists for a query, codes of levels. An item is a vector; one thread.

#include "stages/scanning.h"

namespace {

void scan(benchmark::State& state) {
    stage::Scanning scanning(stage::sample_index(), int(state.range(0)));
    size_t scanned = 0;
    const stage::Report report;
    for (auto _ : state) {
        scanned = scanning.run(0, scanning.rows.n);
    }
    const auto& layout = scanning.index.model->layout;
    report.finish(state, double(scanned), 2.0 * double(scanned) * layout.slots(),
                  double(scanned) * layout.code_size());
}
BENCHMARK(scan)->Arg(1)->Arg(16)->Arg(256)->Unit(benchmark::kMicrosecond);

void count_scan(benchmark::State& state) {
    stage::Scanning scanning(stage::sample_index(), 256);
    for (auto _ : state) {
        stage::counted_stage([&] { scanning.run(0, 10); });
    }
}
BENCHMARK(count_scan)->Iterations(1);

} // namespace
