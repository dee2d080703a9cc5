#include <faiss_vlc/train/shared/distributed_engine.h>

#include <algorithm>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

void DistributedEngine::begin(const Shape& shape, const SampleView& own_rows) {
    const int64_t least = processes_.count * kRowBlock;
    if (shape.n_train < least) {
        fail("training by %d processes: expected a sample of %lld vectors to train on, got %lld",
             processes_.count, (long long)least, (long long)shape.n_train);
    }
    shape_ = shape;
    at_home_ = share_of(shape, share_);
    sums_.resize(sums_size(shape));
    own_.begin(at_home_, own_rows);
}

void DistributedEngine::set_labels(const int32_t* nearest) {
    std::vector<int32_t> own(at_home_.n);
    share_.take(shape_.n, nearest, own.data());
    own_.set_labels(own.data());
}

AssignSummary DistributedEngine::assign(int64_t rows, int64_t known) {
    const int64_t here = share_.before(std::min(rows, shape_.n));
    AssignSummary summary;
    if (here > 0) {
        summary = own_.assign(here, share_.before(std::min(known, shape_.n)));
    }
    int64_t sums[] = {summary.changes, summary.energy_train, summary.energy_held};
    processes_.sum(sums, 3);
    return {sums[0], sums[1], sums[2]};
}

void DistributedEngine::reduce(const ReduceParams& params) {
    ReduceParams here = params;
    here.rows = share_.before(std::min(params.rows, shape_.n_train));
    if (here.rows > 0) {
        own_.reduce(here);
        own_.get_sums(sums_.data());
    } else {
        std::fill(sums_.begin(), sums_.end(), 0);
    }
    processes_.sum(sums_.data(), int64_t(sums_.size()));
    own_.set_sums(sums_.data());
}

void DistributedEngine::covariance(const int32_t* rows, int64_t count, int64_t* sums) {
    const std::vector<int32_t> here = share_.held(rows, count);
    const int64_t size = int64_t(shape_.d) * shape_.d;
    std::fill_n(sums, size, 0);
    if (!here.empty()) {
        own_.covariance(here.data(), int64_t(here.size()), sums);
    }
    processes_.sum(sums, size);
}

/// Values of the rows here to the first `rows` of all.
void DistributedEngine::spread_out(int64_t rows, const int32_t* own, int32_t* all) const {
    std::fill_n(all, rows, 0);
    share_.put(rows, own, all);
    processes_.gather(all, size_t(rows) * sizeof(int32_t));
}

void DistributedEngine::get_labels(int32_t* nearest) {
    std::vector<int32_t> own(at_home_.n);
    own_.get_labels(own.data());
    spread_out(shape_.n, own.data(), nearest);
}

void DistributedEngine::get_distances(int32_t* distances, int64_t rows) {
    rows = std::min(rows, shape_.n);
    std::vector<int32_t> own(share_.before(rows));
    if (!own.empty()) {
        own_.get_distances(own.data(), int64_t(own.size()));
    }
    spread_out(rows, own.data(), distances);
}

} // namespace faiss_vlc
