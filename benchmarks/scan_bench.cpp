// Preparing and scanning lists for a query. An item is a vector; one thread.

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/search/scan_lists.h>

#include "stages/stage_bench.h"

namespace {

struct Scanning {
    faiss_vlc::Matrix<float> rows = stage::sample_rows("query.npy", 50);
    const faiss_vlc::IndexVLC& index = stage::sample_index();
    faiss_vlc::Query query{*index.model};
    faiss_vlc::TopK top{10, &index.lists()};
    std::vector<int64_t> lists;

    explicit Scanning(int count) {
        for (int j = 0; j < count; j++) {
            lists.push_back(j);
        }
    }
    size_t run(int64_t first, int64_t count) {
        size_t scanned = 0;
        for (int64_t i = first; i < first + count; i++) {
            query.set(&rows.data[i * rows.d]);
            top.clear();
            scanned += scan_lists({*index.model, index.lists()}, query, lists.size(), lists.data(),
                                  top)
                               .vectors;
        }
        return scanned;
    }
};

void scan(benchmark::State& state) {
    Scanning scanning(int(state.range(0)));
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
    Scanning scanning(256);
    for (auto _ : state) {
        stage::counted_stage([&] { scanning.run(0, 10); });
    }
}
BENCHMARK(count_scan)->Iterations(1);

} // namespace
