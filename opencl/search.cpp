#include <opencl/search.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/search/finish.h>
#include <opencl/device.h>
#include <opencl/rank.h>
#include <opencl/scan.h>

namespace faiss_vlc {
namespace {

constexpr int64_t kPart = 4096;             ///< queries made ready and sent at a time
constexpr int64_t kMostQueries = 16384;     ///< of a block
constexpr uint64_t kMostBytes = 4ull << 30; ///< of one kind of intermediate results

static_assert(SelectStage::kMostResults == DeviceSearch::kMostResults, "the largest k");

/// The estimate of an order-preserving key.
float estimate_of(int32_t key) {
    const int32_t bits = key ^ ((key >> 31) & 0x7fffffff);
    float estimate;
    std::memcpy(&estimate, &bits, 4);
    return estimate;
}

/// The sum of the `count` largest sizes: estimates that a query can need.
uint64_t largest_sum(std::vector<uint32_t> sizes, int count) {
    std::nth_element(sizes.begin(), sizes.begin() + count - 1, sizes.end(),
                     std::greater<uint32_t>());
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) {
        sum += sizes[i];
    }
    return sum;
}

} // namespace

/// All that is on the device.
struct OpenCLSearch::State {
    State(const std::shared_ptr<Device>& device, const std::shared_ptr<const Model>& model_in,
          const VLCInvertedLists& own)
        : model(model_in), kernels(SearchKernels::compile(device)), rank(kernels, *model),
          select(kernels, *model), scan(kernels, *model), lists(*device, own) {}

    std::shared_ptr<const Model> model;
    SearchKernels kernels;
    RankStage rank;
    SelectStage select;
    ScanStage scan;
    DeviceLists lists;

    /// Buffers for a block of queries.
    struct Block {
        Block(const State& state, int64_t most_in, int nprobe_in, int k_in);
        int64_t most;
        int nprobe, k;
        uint64_t stride; ///< estimates of a query
        RankStage::Queries queries;
        ProbedLists probed;
        ScanStage::Tasks tasks;
        Buffer estimates, best, labels, found;
        HostMemory sent;    ///< float x (n x d), then heads (n x RankStage::kHead)
        HostMemory fetched; ///< labels, keys, found, totals
        std::vector<QueryHead> heads;
    };
    std::unique_ptr<Block> block;

    uint64_t stride(int nprobe) const { return largest_sum(lists.sizes, nprobe); }
    /// Queries that are searched together at most.
    int64_t most(int nprobe, int k) const {
        const uint64_t bytes = std::min(kMostBytes, kernels.device->info().global_mem / 8);
        const uint64_t per_query = std::max({stride(nprobe) * 4, uint64_t(rank.score_stride()) * 4,
                                             uint64_t(rank.frames()) * rank.rotated_stride() * 4,
                                             uint64_t(nprobe) * 8, uint64_t(k) * 8, uint64_t(1)});
        return int64_t(std::clamp<uint64_t>(bytes / per_query, 1, kMostQueries));
    }
    void prepare(int64_t n, int nprobe, int k) {
        const int64_t wanted = std::min(n, most(nprobe, k));
        if (!block || block->most < wanted || block->nprobe != nprobe || block->k < k) {
            block.reset(); // its memory first
            block = std::make_unique<Block>(*this, wanted, nprobe, k);
        }
    }
};

OpenCLSearch::State::Block::Block(const State& state, int64_t most_in, int nprobe_in, int k_in)
    : most(most_in), nprobe(nprobe_in), k(k_in), stride(state.stride(nprobe)),
      queries(*state.kernels.device, state.rank, most),
      probed(*state.kernels.device, most, state.model->m, nprobe, state.rank.frames()),
      tasks(*state.kernels.device, most * nprobe, state.model->m,
            ScanStage::most_tasks(
                    most * nprobe, state.model->m,
                    *std::max_element(state.lists.sizes.begin(), state.lists.sizes.end()))) {
    Device& device = *state.kernels.device;
    estimates = device.allocate<int32_t>(uint64_t(most) * stride, "estimates");
    best = device.allocate<int32_t>(most * k, "results");
    labels = device.allocate<int64_t>(most * k, "results");
    found = device.allocate<uint32_t>(most, "results");
    sent = device.allocate_host(
            uint64_t(most) * (state.model->d + RankStage::kHead) * sizeof(float), "queries");
    fetched = device.allocate_host(uint64_t(most) * (k * 12 + 8), "results");
    heads.resize(most);
}

OpenCLSearch::OpenCLSearch(const std::string& spec) : spec_(spec) {}

OpenCLSearch::~OpenCLSearch() = default;

/// Sees to it that the device has model, lists and room for the batch.
void OpenCLSearch::prepare(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists,
                           const SearchBatch& batch, int nprobe) {
    if (!state_ || state_->model != model) {
        state_.reset();
        state_ = std::make_unique<State>(open_device(spec_), model, lists);
    } else if (state_->lists.stamp != lists.stamp()) {
        state_->block.reset();
        Device& device = *state_->kernels.device;
        state_->lists = DeviceLists(device, lists);
    }
    state_->prepare(batch.n, nprobe, int(batch.k));
}

size_t OpenCLSearch::search(const std::shared_ptr<const Model>& model,
                            const VLCInvertedLists& lists, const SearchBatch& batch, int nprobe,
                            std::vector<int64_t>& left) {
    const std::lock_guard<std::mutex> hold(mutex_);
    size_t scanned = 0;
    try {
        prepare(model, lists, batch, nprobe);
        const int64_t most = state_->block->most;
        for (int64_t first = 0; first < batch.n; first += most) {
            const SearchBatch part = batch.part(first, std::min(most, batch.n - first));
            send(part);
            launch(part);
            scanned += fetch(part, first, left);
        }
    } catch (...) {
        try {
            if (state_) {
                state_->kernels.device->finish(); // it may still use the host's memory
            }
        } catch (const std::exception&) {
            // the first error says what is wrong
        }
        state_.reset();
        throw;
    }
    return scanned;
}

/// Sends the queries and their heads; while some are sent, the next are made.
void OpenCLSearch::send(const SearchBatch& batch) {
    const Model& model = *state_->model;
    State::Block& block = *state_->block;
    Device& device = *state_->kernels.device;
    std::vector<QueryHead>& heads = block.heads;
    const size_t row = size_t(model.d) * sizeof(float);
    float* const sent_x = block.sent.as<float>();
    float* const sent_head = sent_x + block.most * model.d;
    for (int64_t part = 0; part < batch.n; part += kPart) {
        const int64_t end = std::min(batch.n, part + kPart);
        Rescue rescue;
#pragma omp parallel if (end - part > 64)
        {
            std::unique_ptr<Query> query;
            rescue.run([&] { query = std::make_unique<Query>(model); });
#pragma omp for schedule(static)
            for (int64_t i = part; i < end; i++) {
                if (query) {
                    heads[i] = query->head(batch.x + i * model.d);
                    std::memcpy(sent_x + i * model.d, batch.x + i * model.d, row);
                    const float head[RankStage::kHead] = {heads[i].rank_scale,
                                                          heads[i].rotation_scale, heads[i].unit,
                                                          heads[i].penalty, heads[i].rank_norm};
                    std::memcpy(sent_head + RankStage::kHead * i, head, sizeof(head));
                }
            }
        }
        rescue.rethrow();
        device.send(block.sent, part * row, block.queries.x, (end - part) * row, part * row);
    }
    device.send(block.sent, block.most * row, block.queries.head,
                batch.n * RankStage::kHead * sizeof(float));
}

/// Has their nearest lists ranked, these scanned, and the best hits found.
void OpenCLSearch::launch(const SearchBatch& batch) {
    State& state = *state_;
    State::Block& block = *state.block;
    const int64_t n = batch.n;
    const int nprobe = block.nprobe;
    state.rank.rank(block.queries, n);
    state.select.nearest_lists(block.queries.scores, state.rank.score_stride(), n, state.model->m,
                               nprobe, state.lists.size, block.probed);
    state.rank.rotate(block.queries, block.probed, n);
    state.scan.scan(state.lists, block.probed,
                    {block.queries.head, block.queries.lattice, block.queries.rotated,
                     state.rank.rotated_stride()},
                    n, nprobe, block.tasks, block.stride, block.estimates);
    state.select.best_hits({block.estimates, block.stride, state.lists.block, state.lists.ids,
                            state.lists.wide_ids},
                           block.probed, n, nprobe, int(batch.k), batch.as_places, block.best,
                           block.labels, block.found);
}

/// Takes the best hits and ends the queries, which are those from `first` on.
size_t OpenCLSearch::fetch(const SearchBatch& batch, int64_t first, std::vector<int64_t>& left) {
    const Model& model = *state_->model;
    State::Block& block = *state_->block;
    Device& device = *state_->kernels.device;
    const int64_t n = batch.n, k = batch.k;
    const size_t results = size_t(n) * k;
    const int64_t* const labels = block.fetched.as<int64_t>();
    const int32_t* const keys = reinterpret_cast<const int32_t*>(labels + results);
    const uint32_t* const found = reinterpret_cast<const uint32_t*>(keys + results);
    const uint32_t* const totals = found + n;
    device.fetch(block.labels, block.fetched, 0, results * 8);
    device.fetch(block.best, block.fetched, results * 8, results * 4);
    device.fetch(block.found, block.fetched, results * 12, n * sizeof(uint32_t));
    device.fetch(block.probed.totals, block.fetched, results * 12 + n * sizeof(uint32_t),
                 n * sizeof(uint32_t));
    device.finish();

    const std::vector<QueryHead>& heads = block.heads;
    const Finish finish(model, batch);
    const MetricDistance in_metric(model);
#pragma omp parallel for schedule(static) if (results > 1000)
    for (int64_t i = 0; i < n; i++) {
        const bool usual = heads[i].kind == QueryHead::kUsual;
        const int hits = usual && found[i] != SelectStage::kTooMany ? int(found[i]) : 0;
        finish.write(i, hits, [&](int64_t r) {
            const size_t at = size_t(i) * k + r;
            return Finish::Result{in_metric(heads[i].base, estimate_of(keys[at])), labels[at]};
        });
    }
    size_t scanned = 0;
    for (int64_t i = 0; i < n; i++) {
        if (heads[i].kind == QueryHead::kExtreme ||
            (heads[i].kind == QueryHead::kUsual && found[i] == SelectStage::kTooMany)) {
            left.push_back(first + i);
        } else if (heads[i].kind == QueryHead::kUsual) {
            scanned += totals[i];
        }
    }
    return scanned;
}

} // namespace faiss_vlc
