// Making tables of words and scanning lists by them for a query. An item is a vector; one thread.

#include "stages/scanning.h"

namespace {

void words(benchmark::State& state) {
    stage::Scanning scanning(stage::sample_index_of_words(), int(state.range(0)));
    size_t scanned = 0;
    const stage::Report report;
    for (auto _ : state) {
        scanned = scanning.run(0, scanning.rows.n);
    }
    // a table's products; the scan itself only adds
    const auto& layout = scanning.index.model->layout;
    const double tables = double(scanning.rows.n) * double(scanning.lists.size());
    report.finish(state, double(scanned), 2.0 * tables * layout.slots() * faiss_vlc::kWords,
                  double(scanned) * layout.code_size());
}
BENCHMARK(words)->Arg(1)->Arg(16)->Arg(256)->Unit(benchmark::kMicrosecond);

void count_words(benchmark::State& state) {
    stage::Scanning scanning(stage::sample_index_of_words(), 256);
    for (auto _ : state) {
        stage::counted_stage([&] { scanning.run(0, 10); });
    }
}
BENCHMARK(count_words)->Iterations(1);

} // namespace
