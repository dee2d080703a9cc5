#include <opencl/search.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include <faiss_vlc/error.h>
#include <faiss_vlc/parallel.h>
#include <opencl/rank.h>
#include <opencl/scan.h>

namespace faiss_vlc {
namespace {

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
          select(kernels), scan(kernels, *model), lists(*device, own) {}

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
    };
    std::unique_ptr<Block> block;

    uint64_t stride(int nprobe) const { return largest_sum(lists.sizes, nprobe); }
    /// Queries that are searched together at most.
    int64_t most(int nprobe, int k) const {
        const uint64_t bytes = std::min(kMostBytes, kernels.device->info().global_mem / 8);
        const uint64_t per_query = std::max({stride(nprobe) * 4, uint64_t(rank.score_stride()) * 4,
                                             uint64_t(rank.rotated_stride()) * 4,
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
      probed(*state.kernels.device, most, state.model->m, nprobe),
      tasks(*state.kernels.device, most * nprobe, state.model->m,
            ScanStage::most_tasks(
                    most * nprobe, state.model->m,
                    *std::max_element(state.lists.sizes.begin(), state.lists.sizes.end()))) {
    Device& device = *state.kernels.device;
    estimates = device.allocate<int32_t>(uint64_t(most) * stride, "estimates");
    best = device.allocate<int32_t>(most * k, "results");
    labels = device.allocate<int64_t>(most * k, "results");
    found = device.allocate<uint32_t>(most, "results");
}

DeviceSearch::DeviceSearch(const std::string& spec) : spec_(spec) {
    if (spec.compare(0, 7, "opencl:") != 0) {
        fail("search_device is '%s': expected opencl:<part of a device name>, reference or nothing",
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

    std::vector<QueryHead> heads(n);
    Rescue rescue;
#pragma omp parallel if (n > 64)
    {
        std::unique_ptr<Query> query;
        rescue.run([&] { query = std::make_unique<Query>(model); });
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            if (query) {
                heads[i] = query->head(x + i * model.d);
            }
        }
    }
    rescue.rethrow();
    std::vector<float> head;
    for (const QueryHead& one : heads) {
        head.insert(head.end(), {one.rank_scale, one.rotation_scale, one.unit, one.penalty});
    }
    device.write(block.queries.x, x, size_t(n) * model.d * sizeof(float));
    device.write(block.queries.head, head.data(), head.size() * sizeof(float));

    state.rank.rank(block.queries, n);
    state.select.nearest_lists(block.queries.scores, state.rank.score_stride(), n, model.m, nprobe,
                               state.lists.size, block.probed);
    state.scan.scan(state.lists, block.probed,
                    {block.queries.head, block.queries.lattice, block.queries.rotated,
                     state.rank.rotated_stride()},
                    n, nprobe, block.tasks, block.stride, block.estimates);
    state.select.best_hits({block.estimates, block.stride, state.lists.block, state.lists.ids,
                            state.lists.wide_ids},
                           block.probed, n, nprobe, k, as_places, block.best, block.labels,
                           block.found);

    std::vector<uint32_t> found(n), totals(n);
    std::vector<int32_t> keys(size_t(n) * k);
    device.read(block.found, found.data(), found.size() * sizeof(uint32_t));
    device.read(block.probed.totals, totals.data(), totals.size() * sizeof(uint32_t));
    device.read(block.best, keys.data(), keys.size() * sizeof(int32_t));
    device.read(block.labels, labels, keys.size() * sizeof(int64_t));

    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const float worst = std::numeric_limits<float>::max();
    for (int64_t i = 0; i < n; i++) {
        if (heads[i].kind == QueryHead::kExtreme ||
            (heads[i].kind == QueryHead::kUsual && found[i] == SelectStage::kTooMany)) {
            left.push_back(first + i);
            continue;
        }
        const bool usual = heads[i].kind == QueryHead::kUsual;
        scanned += usual ? totals[i] : 0;
        const int hits = usual ? int(found[i]) : 0;
        for (int r = 0; r < k; r++) {
            float& distance = distances[i * k + r];
            if (r >= hits) {
                distance = inner_product ? -worst : worst;
                labels[i * k + r] = -1;
                continue;
            }
            const int32_t key = keys[size_t(i) * k + r];
            const int32_t bits = key ^ ((key >> 31) & 0x7fffffff);
            float estimate;
            std::memcpy(&estimate, &bits, 4);
            distance = metric_distance(model, heads[i].base, estimate);
        }
    }
}

} // namespace faiss_vlc
