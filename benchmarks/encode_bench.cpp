// Vectors to packed codes, their lists being known. An item is a vector; one thread.

#include <faiss_vlc/model/coder.h>

#include "stages/stage_bench.h"

namespace {

using faiss_vlc::Model;

struct Encoding {
    faiss_vlc::Matrix<float> rows;
    std::vector<int64_t> lists;
    std::vector<uint8_t> code;
    const Model& model = *stage::sample_index().model;
    Model::Coder coder{model};

    explicit Encoding(int64_t most) : rows(stage::sample_rows("base.npy", most)) {
        lists.resize(rows.n);
        stage::sample_index().assign_lists(rows.n, rows.data.data(), lists.data());
        code.resize(rows.n * model.layout.code_size());
    }
    void run() {
        const size_t size = model.layout.code_size();
        for (int64_t i = 0; i < rows.n; i += Model::Coder::kBatch) {
            coder.encode(int(std::min<int64_t>(Model::Coder::kBatch, rows.n - i)),
                         &rows.data[i * rows.d], &lists[i], &code[i * size], size);
        }
    }
};

void encode(benchmark::State& state) {
    Encoding encoding(2000);
    const stage::Report report;
    for (auto _ : state) {
        encoding.run();
    }
    // the rotation, a matrix of d x axes
    const double n = double(encoding.rows.n);
    report.finish(state, n, 2 * n * encoding.rows.d * encoding.model.layout.axes, 0);
}
BENCHMARK(encode)->Unit(benchmark::kMillisecond);

void count_encode(benchmark::State& state) {
    Encoding encoding(500);
    for (auto _ : state) {
        stage::counted_stage([&] { encoding.run(); });
    }
}
BENCHMARK(count_encode)->Iterations(1);

} // namespace
