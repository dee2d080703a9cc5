#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/vectors/vector_file.h>

/// What the micro-benchmarks of the stages share. They measure on the sample data, with the index
/// that the build makes of it, at the level of VLC_SIMD.
namespace stage {

/// Measured once, the first time that it is asked for.
struct Limits {
    double dot;    ///< int8 products and additions a second of the level's best instruction
    double memory; ///< bytes read a second, of more than the caches hold
};
/// Of one thread, or of as many as OpenMP has.
const Limits& limits(bool all_threads);

/// Items a second, and which share of the machine's limits that is: operations are products and
/// additions (two for each pair of int8), bytes those that are read and written at least; what
/// stays in the caches may pass the memory's limit. To be made before the loop.
class Report {
public:
    explicit Report(bool all_threads = false);
    void finish(benchmark::State& state, double items, double operations, double bytes) const;

private:
    const Limits& limits_;
    double start_;
};

/// The sample's base or queries, float n x d.
faiss_vlc::Matrix<float> sample_rows(const char* name, int64_t most);
/// IndexVLC of the sample: 256 lists, 32 bytes.
const faiss_vlc::IndexVLC& sample_index();
/// The same of 16 bytes, with codes of words.
const faiss_vlc::IndexVLC& sample_index_of_words();

/// An engine that holds the sample and 256 anchors, one assign, reduce and update behind it.
struct Training {
    explicit Training(const std::string& device, int64_t rows = 20000);
    faiss_vlc::Sample sample; ///< which the engine may read where it lies
    std::unique_ptr<faiss_vlc::Engine> engine;
    faiss_vlc::Shape shape;
    faiss_vlc::ReduceParams reduce;
    faiss_vlc::UpdateParams update;
};

/// make bench-check counts the instructions in here, in a benchmark named count_<stage> that runs
/// once.
template <class Function>
__attribute__((noinline)) void counted_stage(Function&& function) {
    function();
    benchmark::ClobberMemory();
}

} // namespace stage
