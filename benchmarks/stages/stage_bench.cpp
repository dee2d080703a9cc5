#include "stage_bench.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include <faiss_vlc/index/devices.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/train/sample.h>

namespace stage {
namespace {

constexpr int kSums = 12; // chains enough to hide an instruction's latency

double seconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

// Each returns the operations of `count` rounds. The operands are opaque, or the compiler would
// work out the sums.

__attribute__((target("avx512f,avx512bw,avx512vnni"))) double dot_avx512(int64_t count) {
    __m512i sum[kSums] = {}, x = _mm512_set1_epi8(3), a = _mm512_set1_epi8(5);
    for (int64_t i = 0; i < count; i++) {
        asm volatile("" : "+v"(x), "+v"(a));
        for (int s = 0; s < kSums; s++) {
            sum[s] = _mm512_dpbusd_epi32(sum[s], x, a);
        }
    }
    for (int s = 1; s < kSums; s++) {
        sum[0] = _mm512_add_epi32(sum[0], sum[s]);
    }
    asm volatile("" ::"v"(sum[0]));
    return 128.0 * kSums * double(count);
}

__attribute__((target("avx2"))) double dot_avx2(int64_t count) {
    __m256i sum[kSums] = {}, x = _mm256_set1_epi8(3), a = _mm256_set1_epi8(5);
    const __m256i one = _mm256_set1_epi16(1);
    for (int64_t i = 0; i < count; i++) {
        for (int s = 0; s < kSums; s++) {
            asm volatile("" : "+x"(x), "+x"(a));
            const __m256i pairs = _mm256_maddubs_epi16(x, a);
            sum[s] = _mm256_add_epi32(sum[s], _mm256_madd_epi16(pairs, one));
        }
    }
    for (int s = 1; s < kSums; s++) {
        sum[0] = _mm256_add_epi32(sum[0], sum[s]);
    }
    asm volatile("" ::"x"(sum[0]));
    return 64.0 * kSums * double(count);
}

/// SSE2, which every x86-64 CPU has: products of 16 bits.
double dot_portable(int64_t count) {
    __m128i sum[kSums] = {}, x = _mm_set1_epi16(3), a = _mm_set1_epi16(5);
    for (int64_t i = 0; i < count; i++) {
        for (int s = 0; s < kSums; s++) {
            asm volatile("" : "+x"(x), "+x"(a));
            sum[s] = _mm_add_epi32(sum[s], _mm_madd_epi16(x, a));
        }
    }
    for (int s = 1; s < kSums; s++) {
        sum[0] = _mm_add_epi32(sum[0], sum[s]);
    }
    asm volatile("" ::"x"(sum[0]));
    return 16.0 * kSums * double(count);
}

/// The best of a few rounds.
template <class Run>
double best_rate(int threads, const Run& run) {
    double best = 0;
    for (int round = 0; round < 5; round++) {
        double done = 0;
        const double start = seconds();
#pragma omp parallel num_threads(threads) reduction(+ : done)
        done += run();
        best = std::max(best, done / (seconds() - start));
    }
    return best;
}

Limits measure(int threads) {
    const std::string level = faiss_vlc::simd().name;
    const auto dot = level == "avx512" ? dot_avx512 : level == "avx2" ? dot_avx2 : dot_portable;
    Limits found{};
    found.dot = best_rate(threads, [&] { return dot(1 << 20); });
    const std::vector<int64_t> much(size_t(1) << 25, 1); // 256 MiB, shared out among the threads
    found.memory = best_rate(threads, [&] {
        const size_t share = much.size() / omp_get_num_threads();
        const int64_t* from = &much[share * omp_get_thread_num()];
        int64_t sum = 0;
#pragma GCC unroll 8
        for (size_t i = 0; i < share; i++) {
            sum += from[i];
        }
        benchmark::DoNotOptimize(sum);
        return 8.0 * double(share);
    });
    return found;
}

} // namespace

const Limits& limits(bool all_threads) {
    if (all_threads) {
        static const Limits all = measure(omp_get_max_threads());
        return all;
    }
    static const Limits one = measure(1);
    return one;
}

Report::Report(bool all_threads) : limits_(limits(all_threads)), start_(seconds()) {}

void Report::finish(benchmark::State& state, double items, double operations, double bytes) const {
    const double runs = double(state.iterations());
    const double took = seconds() - start_;
    state.SetItemsProcessed(int64_t(items * runs));
    if (operations > 0) {
        state.counters["of_dot"] = operations * runs / took / limits_.dot;
    }
    if (bytes > 0) {
        state.counters["of_memory"] = bytes * runs / took / limits_.memory;
    }
}

faiss_vlc::Matrix<float> sample_rows(const char* name, int64_t most) {
    auto rows = faiss_vlc::read_vectors(std::string(VLC_TEST_DATA "/sift20k/") + name);
    rows.n = std::min(rows.n, most);
    rows.data.resize(rows.n * rows.d);
    return rows;
}

const faiss_vlc::IndexVLC& sample_index() {
    static const std::unique_ptr<faiss::Index> index(faiss_vlc::read_index(VLC_STAGE_INDEX));
    return dynamic_cast<const faiss_vlc::IndexVLC&>(*index);
}

const faiss_vlc::IndexVLC& sample_index_of_words() {
    static const std::unique_ptr<faiss::Index> index(faiss_vlc::read_index(VLC_STAGE_WORDS));
    return dynamic_cast<const faiss_vlc::IndexVLC&>(*index);
}

Training::Training(const std::string& device, int64_t rows) {
    const auto x = sample_rows("base.npy", rows);
    faiss_vlc::VLCParameters params;
    params.m = 256;
    params.held_out = 0;
    sample = faiss_vlc::draw_sample(x.n, x.d, x.data.data(), params);
    shape = sample.shape;
    engine = faiss_vlc::make_engine(device);
    engine->begin(shape, sample.x8.data());
    std::vector<int32_t> anchors(size_t(shape.m) * shape.dp);
    for (size_t i = 0; i < anchors.size(); i++) {
        anchors[i] = sample.x8[i] * (1 << faiss_vlc::kAnchorBits);
    }
    engine->set_anchors(anchors.data());
    engine->set_bias(std::vector<int32_t>(shape.m, 0).data());
    const double mean = double(engine->assign().energy_train) / double(shape.n);
    reduce.inv_t = int32_t(32 * 65536 / (0.1 * mean));
    reduce.robust = faiss_vlc::Robust::huber;
    reduce.tau2 = int32_t(9 * mean);
    update.mean_count = int32_t(shape.n / shape.m);
    update.bias_scale = int32_t(0.1 * mean);
    engine->reduce(reduce);
    engine->update(update);
}

} // namespace stage
