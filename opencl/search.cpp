#include <opencl/search.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/parallel.h>
#include <opencl/rank.h>
#include <opencl/scan.h>

namespace faiss_vlc {
namespace {

constexpr int64_t kPart = 4096;             ///< queries made ready and sent at a time
constexpr int64_t kMostQueries = 16384;     ///< of a block
constexpr uint64_t kMostBytes = 4ull << 30; ///< of one kind of intermediate results

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
struct DeviceSearch::State {
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

DeviceSearch::State::Block::Block(const State& state, int64_t most_in, int nprobe_in, int k_in)
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

DeviceSearch::DeviceSearch(const std::string& spec) : spec_(spec) {
    if (spec.compare(0, 7, "opencl:") != 0) {
        fail("search_device is '%s': expected one device, opencl:<part of its name>, or "
             "reference or nothing",
             spec.c_str());
    }
}

DeviceSearch::~DeviceSearch() = default;

int DeviceSearch::most_results() {
    return SelectStage::kMostResults;
}

size_t DeviceSearch::search(const std::shared_ptr<const Model>& model,
                            const VLCInvertedLists& lists, int64_t n, const float* x, int nprobe,
                            int k, bool as_places, float* distances, int64_t* labels,
                            std::vector<int64_t>& left) {
    const std::lock_guard<std::mutex> hold(mutex_);
    size_t scanned = 0;
    try {
        if (!state_ || state_->model != model) {
            state_.reset();
            state_ = std::make_unique<State>(open_device(spec_), model, lists);
        } else if (state_->lists.stamp != lists.stamp()) {
            state_->block.reset();
            Device& device = *state_->kernels.device;
            state_->lists = DeviceLists(device, lists);
        }
        state_->prepare(n, nprobe, k);
        for (int64_t first = 0; first < n; first += state_->block->most) {
            const int64_t some = std::min(state_->block->most, n - first);
            search_block(*model, first, some, x + first * model->d, nprobe, k, as_places,
                         distances + first * k, labels + first * k, left, scanned);
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

void DeviceSearch::search_block(const Model& model, int64_t first, int64_t n, const float* x,
                                int nprobe, int k, bool as_places, float* distances,
                                int64_t* labels, std::vector<int64_t>& left, size_t& scanned) {
    State& state = *state_;
    State::Block& block = *state.block;
    Device& device = *state.kernels.device;

    std::vector<QueryHead>& heads = block.heads;
    const size_t row = size_t(model.d) * sizeof(float);
    float* const sent_x = block.sent.as<float>();
    float* const sent_head = sent_x + block.most * model.d;
    for (int64_t part = 0; part < n; part += kPart) { // while one is sent, the next is made
        const int64_t end = std::min(n, part + kPart);
        Rescue rescue;
#pragma omp parallel if (end - part > 64)
        {
            std::unique_ptr<Query> query;
            rescue.run([&] { query = std::make_unique<Query>(model); });
#pragma omp for schedule(static)
            for (int64_t i = part; i < end; i++) {
                if (query) {
                    heads[i] = query->head(x + i * model.d);
                    std::memcpy(sent_x + i * model.d, x + i * model.d, row);
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
                n * RankStage::kHead * sizeof(float));

    state.rank.rank(block.queries, n);
    state.select.nearest_lists(block.queries.scores, state.rank.score_stride(), n, model.m, nprobe,
                               state.lists.size, block.probed);
    state.rank.rotate(block.queries, block.probed, n);
    state.scan.scan(state.lists, block.probed,
                    {block.queries.head, block.queries.lattice, block.queries.rotated,
                     state.rank.rotated_stride()},
                    n, nprobe, block.tasks, block.stride, block.estimates);
    state.select.best_hits({block.estimates, block.stride, state.lists.block, state.lists.ids,
                            state.lists.wide_ids},
                           block.probed, n, nprobe, k, as_places, block.best, block.labels,
                           block.found);

    const size_t results = size_t(n) * k;
    const int64_t* const fetched_labels = block.fetched.as<int64_t>();
    const int32_t* const keys = reinterpret_cast<const int32_t*>(fetched_labels + results);
    const uint32_t* const found = reinterpret_cast<const uint32_t*>(keys + results);
    const uint32_t* const totals = found + n;
    device.fetch(block.labels, block.fetched, 0, results * 8);
    device.fetch(block.best, block.fetched, results * 8, results * 4);
    device.fetch(block.found, block.fetched, results * 12, n * sizeof(uint32_t));
    device.fetch(block.probed.totals, block.fetched, results * 12 + n * sizeof(uint32_t),
                 n * sizeof(uint32_t));
    device.finish();

    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const float worst = (inner_product ? -1.0f : 1.0f) * std::numeric_limits<float>::max();
    const MetricDistance in_metric(model);
#pragma omp parallel for schedule(static) if (results > 1000)
    for (int64_t i = 0; i < n; i++) {
        const bool usual = heads[i].kind == QueryHead::kUsual;
        const int hits = usual && found[i] != SelectStage::kTooMany ? int(found[i]) : 0;
        for (int r = 0; r < k; r++) {
            const size_t at = size_t(i) * k + r;
            const int32_t bits = keys[at] ^ ((keys[at] >> 31) & 0x7fffffff);
            float estimate;
            std::memcpy(&estimate, &bits, 4);
            distances[at] = r < hits ? in_metric(heads[i].base, estimate) : worst;
            labels[at] = r < hits ? fetched_labels[at] : -1;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        if (heads[i].kind == QueryHead::kExtreme ||
            (heads[i].kind == QueryHead::kUsual && found[i] == SelectStage::kTooMany)) {
            left.push_back(first + i);
        } else if (heads[i].kind == QueryHead::kUsual) {
            scanned += totals[i];
        }
    }
}

} // namespace faiss_vlc
