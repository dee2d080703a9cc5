#include <opencl/search.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include <faiss/impl/FaissException.h>

#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/finish.h>
#include <opencl/rank.h>
#include <opencl/refine.h>
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
    std::unique_ptr<RefineStage> refine;    ///< null until it is asked for
    std::unique_ptr<DeviceSeconds> seconds; ///< of `lists`, likewise

    /// Buffers for a block of queries.
    struct Block {
        Block(const State& state, int64_t most_in, const TwoTiers& how, int k_in);
        int64_t most;
        int nprobe, k, hits; ///< hits: k, or how many are refined
        RankStage::Queries queries;
        ProbedLists probed;
        ScanStage::Tasks tasks;
        ScanStage::Estimates estimates;
        SelectStage::Best best;
        HostMemory sent;    ///< float x (n x d), then records::Head n
        HostMemory fetched; ///< labels, keys, found, totals
        std::vector<QueryHead> heads;
        /// What is there besides to refine.
        struct Refining {
            RefineStage::Queries queries;
            SelectStage::Best best;
        };
        std::unique_ptr<Refining> refining;
    };
    std::unique_ptr<Block> block;

    /// Searches for at most block->most queries. Returns the vectors scanned; the numbers of those
    /// left out go to `left`. how.refined: 0 if they are not.
    size_t search(const SearchBatch& batch, const TwoTiers& how, std::vector<int64_t>& left);

    // Its steps.
    void send(const SearchBatch& batch);
    void run(const SearchBatch& batch, const TwoTiers& how);
    const SelectStage::Best& choose(const SearchBatch& batch, int refined);
    void fetch(const SearchBatch& batch, const SelectStage::Best& best);
    size_t finish(const SearchBatch& batch, std::vector<int64_t>& left);

    uint64_t stride(int nprobe) const { return largest_sum(lists.sizes, nprobe); }
    /// Queries that are searched together at most.
    int64_t most(const TwoTiers& how, int hits) const {
        const uint64_t bytes = std::min(kMostBytes, kernels.device->info().global_mem / 8);
        const uint64_t per_query = std::max(
                {stride(how.nprobe) * 4, uint64_t(rank.score_stride()) * 4,
                 uint64_t(rank.region_stride()) * 4,
                 uint64_t(rank.frames()) * rank.rotated_stride() * 4, uint64_t(how.nprobe) * 8,
                 uint64_t(hits) * 8, uint64_t(1), how.refined > 0 ? refine->query_bytes() : 0});
        return int64_t(std::clamp<uint64_t>(bytes / per_query, 1, kMostQueries));
    }
    /// Makes room for the batch.
    void prepare(int64_t n, const TwoTiers& how, int k) {
        const int hits = std::max(k, how.refined);
        const int64_t wanted = std::min(n, most(how, hits));
        if (!block || block->most < wanted || block->nprobe != how.nprobe || block->k < k ||
            block->hits < hits || bool(block->refining) != (how.refined > 0)) {
            block.reset(); // its memory first
            block = std::make_unique<Block>(*this, wanted, how, k);
        }
    }
    bool take_seconds(const VLCInvertedLists& own);
};

OpenCLSearch::State::Block::Block(const State& state, int64_t most_in, const TwoTiers& how,
                                  int k_in)
    : most(most_in), nprobe(how.nprobe), k(k_in), hits(std::max(k, how.refined)),
      queries(*state.kernels.device, state.rank, most),
      probed(*state.kernels.device, most, state.model->m, nprobe, state.rank.frames()),
      tasks(*state.kernels.device, most * nprobe, state.model->m,
            ScanStage::most_tasks(
                    most * nprobe, state.model->m,
                    *std::max_element(state.lists.sizes.begin(), state.lists.sizes.end()))),
      estimates{state.stride(nprobe), state.kernels.device->allocate<int32_t>(
                                              uint64_t(most) * state.stride(nprobe), "estimates")},
      best(*state.kernels.device, most, hits) {
    Device& device = *state.kernels.device;
    sent = device.allocate_host(
            uint64_t(most) * (state.model->d * sizeof(float) + sizeof(records::Head)), "queries");
    fetched = device.allocate_host(uint64_t(most) * (k * 12 + 8), "results");
    heads.resize(most);
    if (how.refined > 0) {
        refining.reset(new Refining{RefineStage::Queries(device, *state.refine, most),
                                    SelectStage::Best(device, most, k)});
    }
}

/// Sees to it that second codes are there, and that enough is left for other things; false if they
/// find no room.
bool OpenCLSearch::State::take_seconds(const VLCInvertedLists& own) {
    Device& device = *kernels.device;
    if (!seconds) {
        const uint64_t first = lists.codes.bytes() + lists.ids.bytes();
        if (first + DeviceSeconds::bytes_of(own) > device.info().global_mem / 4 * 3) {
            return false;
        }
        seconds = std::make_unique<DeviceSeconds>(device, own);
    }
    if (!refine) {
        refine = std::make_unique<RefineStage>(kernels, *model);
    }
    return true;
}

OpenCLSearch::OpenCLSearch(const std::string& spec) : spec_(spec) {}

OpenCLSearch::~OpenCLSearch() = default;

/// Sees to it that the device has model and lists.
void OpenCLSearch::prepare(const std::shared_ptr<const Model>& model,
                           const VLCInvertedLists& lists) {
    if (!state_ || state_->model != model) {
        state_.reset();
        state_ = std::make_unique<State>(open_device(spec_), model, lists);
    } else if (state_->lists.stamp != lists.stamp()) {
        state_->block.reset();
        state_->seconds.reset();
        Device& device = *state_->kernels.device;
        state_->lists = DeviceLists(device, lists);
    }
}

/// After an error nothing is left on the device.
template <class Body>
void OpenCLSearch::guarded(Body body) {
    try {
        body();
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
}

size_t OpenCLSearch::search_prepared(const SearchBatch& batch, const TwoTiers& how,
                                     std::vector<int64_t>& left) {
    if (!state_->scan.fits()) {
        left.resize(size_t(batch.n));
        std::iota(left.begin(), left.end(), int64_t(0));
        return 0;
    }
    state_->prepare(batch.n, how, int(batch.k));
    const int64_t most = state_->block->most;
    size_t scanned = 0;
    for (int64_t first = 0; first < batch.n; first += most) {
        const size_t left_before = left.size();
        scanned += state_->search(batch.part(first, std::min(most, batch.n - first)), how, left);
        for (size_t i = left_before; i < left.size(); i++) {
            left[i] += first;
        }
    }
    return scanned;
}

size_t OpenCLSearch::search(const std::shared_ptr<const Model>& model,
                            const VLCInvertedLists& lists, const SearchBatch& batch, int nprobe,
                            int width, std::vector<int64_t>& left) {
    const std::lock_guard<std::mutex> hold(mutex_);
    size_t scanned = 0;
    guarded([&] {
        prepare(model, lists);
        scanned = search_prepared(batch, {nprobe, width, 0}, left);
    });
    return scanned;
}

bool OpenCLSearch::search_two_tiers(const std::shared_ptr<const Model>& model,
                                    const VLCInvertedLists& lists, const SearchBatch& batch,
                                    const TwoTiers& how, std::vector<int64_t>& left,
                                    size_t& scanned) {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (!RefineStage::suits(*model) || lists.second_pages() || refused_ == lists.stamp()) {
        return false;
    }
    std::vector<int64_t> left_here;
    try {
        bool has_room = false;
        guarded([&] {
            prepare(model, lists);
            has_room = state_->take_seconds(lists);
            if (has_room) {
                scanned = search_prepared(batch, how, left_here);
            }
        });
        if (has_room) {
            left.insert(left.end(), left_here.begin(), left_here.end());
            return true;
        }
    } catch (const faiss::FaissException&) {
        // without second codes there is more room; where that is not it, search() says what is
    }
    refused_ = lists.stamp();
    return false;
}

size_t OpenCLSearch::State::search(const SearchBatch& batch, const TwoTiers& how,
                                   std::vector<int64_t>& left) {
    send(batch);
    run(batch, how);
    fetch(batch, choose(batch, how.refined));
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
                                     head.rank_shift, head.rank_far};
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

/// Up to estimates by the first tier.
void OpenCLSearch::State::run(const SearchBatch& batch, const TwoTiers& how) {
    const int64_t n = batch.n;
    rank.rank(block->queries, n);
    const bool some_off = std::any_of(block->heads.begin(), block->heads.begin() + n,
                                      [](const QueryHead& head) { return head.rank_shift > 0; });
    if (some_off) {
        rank.rank_off_lattice(block->queries, n);
    }
    const Regions& regions = model->regions;
    const int visited = regions.used() ? regions.visited(how.width) : 0;
    if (visited < regions.count()) { // all anchors are scored, as that costs a device little
        rank.keep_regions(block->queries, n, visited, some_off);
    }
    select.nearest_lists({block->queries.scores, rank.score_stride(), lists.size}, n,
                         block->probed);
    rank.rotate(block->queries, block->probed, n);
    scan.scan(lists, block->probed,
              {block->queries.head, block->queries.lattice, block->queries.rotated,
               rank.rotated_stride()},
              n, block->tasks, block->estimates);
}

/// The best of these, by both tiers if that is wanted.
const SelectStage::Best& OpenCLSearch::State::choose(const SearchBatch& batch, int refined) {
    using Labels = SelectStage::Labels;
    const int64_t n = batch.n;
    const SelectStage::Hits hits = {block->estimates.key, block->estimates.stride, lists.block,
                                    lists.ids, lists.wide_ids};
    if (refined == 0) {
        select.best_hits(hits, block->probed, n, int(batch.k),
                         batch.as_places ? Labels::places : Labels::ids, block->best);
        return block->best;
    }
    select.best_hits(hits, block->probed, n, refined, Labels::pairs, block->best);
    Block::Refining& own = *block->refining;
    refine->weigh(rank, block->queries, block->probed, n, own.queries);
    refine->refine({block->best, refined, block->probed, block->tasks, lists, *seconds}, scan,
                   own.queries, n, int(batch.k), batch.as_places, own.best);
    return own.best;
}

void OpenCLSearch::State::fetch(const SearchBatch& batch, const SelectStage::Best& best) {
    Device& device = *kernels.device;
    const size_t n = size_t(batch.n), results = n * batch.k;
    device.fetch(best.label, block->fetched, 0, results * 8);
    device.fetch(best.key, block->fetched, results * 8, results * 4);
    device.fetch(best.found, block->fetched, results * 12, n * sizeof(uint32_t));
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
