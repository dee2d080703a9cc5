// Queries to their nearest lists. An item is a query; one thread.

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/query/query.h>

#include "stages/stage_bench.h"

namespace {

struct Ranking {
    faiss_vlc::Matrix<float> rows = stage::sample_rows("query.npy", 400);
    const faiss_vlc::Model& model = *stage::sample_index().model;
    faiss_vlc::AnchorRanking ranking{model, faiss_vlc::kTogether};
    std::vector<std::unique_ptr<faiss_vlc::Query>> queries;
    const faiss_vlc::RoundedQuery* rounded[faiss_vlc::kTogether];

    Ranking() {
        for (int i = 0; i < faiss_vlc::kTogether; i++) {
            queries.push_back(std::make_unique<faiss_vlc::Query>(model, &ranking));
            rounded[i] = &queries[i]->rounded();
        }
    }
    void run(int nprobe, bool together) {
        int64_t sum = 0;
        for (int64_t i = 0; i < rows.n; i += faiss_vlc::kTogether) {
            for (int j = 0; j < faiss_vlc::kTogether; j++) {
                queries[j]->set(&rows.data[(i + j) * rows.d]);
            }
            if (together) {
                ranking.score(faiss_vlc::kTogether, rounded);
            }
            for (auto& query : queries) {
                sum += query->rank(nprobe).back();
            }
        }
        benchmark::DoNotOptimize(sum);
    }
};

void rank(benchmark::State& state, bool together) {
    Ranking ranking;
    const stage::Report report;
    for (auto _ : state) {
        ranking.run(int(state.range(0)), together);
    }
    const double n = double(ranking.rows.n);
    report.finish(state, n, 2 * n * ranking.model.m * ranking.model.dp(), 0);
}
BENCHMARK_CAPTURE(rank, alone, false)->Arg(8)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(rank, together, true)->Arg(1)->Arg(8)->Arg(64)->Unit(benchmark::kMicrosecond);

void count_rank(benchmark::State& state) {
    Ranking ranking;
    for (auto _ : state) {
        stage::counted_stage([&] { ranking.run(8, true); });
    }
}
BENCHMARK(count_rank)->Iterations(1);

} // namespace
