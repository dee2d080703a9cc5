#include <opencl/search.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/finish.h>
#include <opencl/rank.h>
#include <opencl/scan.h>

namespace faiss_vlc {
namespace {

constexpr int64_t kPart = 4096;         ///< queries made ready and sent at a time
constexpr int64_t kMostQueries = 16384; ///< of a block
static_assert(DeviceSearch::kMostResults <= SelectStage::kMostResults, "k fits");
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

/// Where the parts of Block::fetched lie.
struct Fetched {
    Fetched(const HostMemory& memory, int64_t n, int k)
        : labels(memory.as<int64_t>()), keys(reinterpret_cast<int32_t*>(labels + n * k)),
          found(reinterpret_cast<uint32_t*>(keys + n * k)), totals(found + n) {}
    int64_t* labels;
    int32_t* keys;
    uint32_t* found;
    uint32_t* totals;
};

/// The estimate that a sortable key stands for.
float estimate_of(int32_t key) {
    const int32_t bits = key ^ ((key >> 31) & 0x7fffffff);
    float estimate;
    std::memcpy(&estimate, &bits, 4);
    return estimate;
}

} // namespace

/// All that is on the device.
struct OpenCLSearch::State {
    State(const std::shared_ptr<Device>& device, const std::shared_ptr<const Model>& model_in,
          const VLCInvertedLists& own)
        : model(model_in), kernels(SearchKernels::compile(device, ScanStage::table_bytes(*model),
                                                          ScanStage::planes(*model))),
          rank(kernels, *model), select(kernels, *model), scan(kernels, *model),
          lists(*device, own) {}

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
        RankStage::Queries queries;
        ProbedLists probed;
        ScanStage::Tasks tasks;
        ScanStage::Estimates estimates;
        SelectStage::Best best;
        HostMemory sent;    ///< float x (n x d), then records::Head n
        HostMemory fetched; ///< labels, keys, found, totals
        std::vector<QueryHead> heads;
    };
    std::unique_ptr<Block> block;

    /// Searches for at most block->most queries. Returns the vectors scanned; the numbers of those
    /// left out go to `left`.
    size_t search(const SearchBatch& batch, int width, std::vector<int64_t>& left);

    // Its steps.
    void send(const SearchBatch& batch);
    void run(const SearchBatch& batch, int width);
    void fetch(const SearchBatch& batch);
    size_t finish(const SearchBatch& batch, std::vector<int64_t>& left);

    uint64_t stride(int nprobe) const { return largest_sum(lists.sizes, nprobe); }
    /// Queries that are searched together at most.
    int64_t most(int nprobe, int k) const {
        const uint64_t bytes = std::min(kMostBytes, kernels.device->info().global_mem / 8);
        const uint64_t per_query = std::max({stride(nprobe) * 4, uint64_t(rank.score_stride()) * 4,
                                             uint64_t(rank.region_stride()) * 4,
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
    : most(most_in), nprobe(nprobe_in), k(k_in), queries(*state.kernels.device, state.rank, most),
      probed(*state.kernels.device, most, state.model->m, nprobe, state.rank.frames()),
      tasks(*state.kernels.device, most * nprobe, state.model->m,
            ScanStage::most_tasks(
                    most * nprobe, state.model->m,
                    *std::max_element(state.lists.sizes.begin(), state.lists.sizes.end()))),
      estimates{state.stride(nprobe), state.kernels.device->allocate<int32_t>(
                                              uint64_t(most) * state.stride(nprobe), "estimates")},
      best(*state.kernels.device, most, k) {
    Device& device = *state.kernels.device;
    sent = device.allocate_host(
            uint64_t(most) * (state.model->d * sizeof(float) + sizeof(records::Head)), "queries");
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
                            int width, std::vector<int64_t>& left) {
    const std::lock_guard<std::mutex> hold(mutex_);
    size_t scanned = 0;
    try {
        prepare(model, lists, batch, nprobe);
        if (!state_->scan.fits()) {
            left.resize(size_t(batch.n));
            std::iota(left.begin(), left.end(), int64_t(0));
            return 0;
        }
        const int64_t most = state_->block->most;
        for (int64_t first = 0; first < batch.n; first += most) {
            const size_t left_before = left.size();
            scanned +=
                    state_->search(batch.part(first, std::min(most, batch.n - first)), width, left);
            for (size_t i = left_before; i < left.size(); i++) {
                left[i] += first;
            }
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

size_t OpenCLSearch::State::search(const SearchBatch& batch, int width,
                                   std::vector<int64_t>& left) {
    send(batch);
    run(batch, width);
    fetch(batch);
    kernels.device->finish();
    return finish(batch, left);
}

/// Queries and their heads.
void OpenCLSearch::State::send(const SearchBatch& batch) {
    const int64_t n = batch.n;
    const int d = model->d;
    const size_t row = size_t(d) * sizeof(float);
    float* const sent_x = block->sent.as<float>();
    auto* const sent_heads = reinterpret_cast<records::Head*>(sent_x + block->most * d);
    for (int64_t part = 0; part < n; part += kPart) { // while one is sent, the next is made
        const int64_t end = std::min(n, part + kPart);
        Rescue rescue;
#pragma omp parallel if (end - part > 64)
        {
            std::unique_ptr<Query> query;
            rescue.run([&] { query = std::make_unique<Query>(*model); });
#pragma omp for schedule(static)
            for (int64_t i = part; i < end; i++) {
                if (query) {
                    const float* x = batch.x + i * d;
                    const QueryHead head = query->head(x);
                    block->heads[i] = head;
                    std::memcpy(sent_x + i * d, x, row);
                    sent_heads[i] = {head.rank_scale, head.rank_norm, head.rotation_scale,
                                     head.unit,       head.penalty,   head.norm,
                                     head.rank_shift};
                }
            }
        }
        rescue.rethrow();
        kernels.device->send(block->sent, part * row, block->queries.x, (end - part) * row,
                             part * row);
    }
    kernels.device->send(block->sent, block->most * row, block->queries.head,
                         n * sizeof(records::Head));
}

void OpenCLSearch::State::run(const SearchBatch& batch, int width) {
    const int64_t n = batch.n;
    rank.rank(block->queries, n);
    if (std::any_of(block->heads.begin(), block->heads.begin() + n,
                    [](const QueryHead& head) { return head.rank_shift > 0; })) {
        rank.rank_off_lattice(block->queries, n);
    }
    const Regions& regions = model->regions;
    const int visited = regions.used() ? regions.visited(width) : 0;
    if (visited < regions.count()) { // all anchors are scored, as that costs a device little
        rank.keep_regions(block->queries, n, visited);
    }
    select.nearest_lists({block->queries.scores, rank.score_stride(), lists.size}, n,
                         block->probed);
    rank.rotate(block->queries, block->probed, n);
    scan.scan(lists, block->probed,
              {block->queries.head, block->queries.lattice, block->queries.rotated,
               rank.rotated_stride()},
              n, block->tasks, block->estimates);
    select.best_hits(
            {block->estimates.key, block->estimates.stride, lists.block, lists.ids, lists.wide_ids},
            block->probed, n, int(batch.k), batch.as_places, block->best);
}

void OpenCLSearch::State::fetch(const SearchBatch& batch) {
    Device& device = *kernels.device;
    const size_t n = size_t(batch.n), results = n * batch.k;
    device.fetch(block->best.label, block->fetched, 0, results * 8);
    device.fetch(block->best.key, block->fetched, results * 8, results * 4);
    device.fetch(block->best.found, block->fetched, results * 12, n * sizeof(uint32_t));
    device.fetch(block->probed.totals, block->fetched, results * 12 + n * sizeof(uint32_t),
                 n * sizeof(uint32_t));
}

size_t OpenCLSearch::State::finish(const SearchBatch& batch, std::vector<int64_t>& left) {
    const int64_t n = batch.n, k = batch.k;
    const std::vector<QueryHead>& heads = block->heads;
    const Fetched fetched(block->fetched, n, int(k));
    const Finish finish(*model, batch);
    const MetricDistance in_metric(*model);
#pragma omp parallel for schedule(static) if (n * k > 1000)
    for (int64_t i = 0; i < n; i++) {
        const bool usual = heads[i].kind == QueryHead::kUsual;
        const bool too_many = fetched.found[i] == SelectStage::kTooMany;
        finish.write(i, usual && !too_many ? int64_t(fetched.found[i]) : 0, [&](int64_t r) {
            const size_t at = size_t(i) * k + r;
            return Finish::Result{in_metric(heads[i].base, estimate_of(fetched.keys[at])),
                                  fetched.labels[at]};
        });
    }
    size_t scanned = 0;
    for (int64_t i = 0; i < n; i++) {
        if (heads[i].kind == QueryHead::kExtreme ||
            (heads[i].kind == QueryHead::kUsual && fetched.found[i] == SelectStage::kTooMany)) {
            left.push_back(i);
        } else if (heads[i].kind == QueryHead::kUsual) {
            scanned += fetched.totals[i];
        }
    }
    return scanned;
}

} // namespace faiss_vlc
