#include <faiss_vlc/IndexVLC.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <unordered_map>

#include <faiss/IndexFlat.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/FaissException.h>
#include <faiss/utils/Heap.h>

#include <faiss_vlc/anchor_quantizer.h>
#include <faiss_vlc/checkpoint.h>
#include <faiss_vlc/error.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/parallel.h>
#include <faiss_vlc/reference_engine.h>
#include <faiss_vlc/search.h>
#include <faiss_vlc/simd.h>
#include <faiss_vlc/train.h>
#include <faiss_vlc/tune.h>
#include <faiss_vlc/vector_file.h>

namespace faiss_vlc {

using idx_t = int64_t;

namespace {

constexpr int64_t kAddBlock = 32768; ///< vectors encoded at a time: bounds add()'s extra memory

VLCParameters simple_parameters(int m, float bits_per_dim) {
    VLCParameters parameters;
    parameters.m = m;
    parameters.bits_per_dim = bits_per_dim;
    return parameters;
}

void check_metric(faiss::MetricType metric) {
    if (metric != faiss::METRIC_L2 && metric != faiss::METRIC_INNER_PRODUCT) {
        fail("IndexVLC: expected METRIC_L2 or METRIC_INNER_PRODUCT, got metric %d", int(metric));
    }
}

const faiss::SearchParametersIVF* ivf_params(const faiss::SearchParameters* params) {
    const auto* ivf = dynamic_cast<const faiss::SearchParametersIVF*>(params);
    if (params && !ivf) {
        fail("IndexVLC: expected SearchParametersIVF, got another type of search parameters");
    }
    return ivf;
}

/// Adds to FAISS's global statistics, from any number of threads.
void count_search(faiss::IndexIVFStats& stats, int64_t n, size_t lists, size_t scanned) {
    __atomic_fetch_add(&stats.nq, size_t(n), __ATOMIC_RELAXED);
    __atomic_fetch_add(&stats.nlist, lists, __ATOMIC_RELAXED);
    __atomic_fetch_add(&stats.ndis, scanned, __ATOMIC_RELAXED);
}

/// Writes a query's results, padded with -1 and the metric's worst distance.
/// store_pairs: list << 32 | offset as labels instead of ids.
void write_results(const Query& query, TopK& top, idx_t k, bool inner_product, bool store_pairs,
                   float* distances, int64_t* labels) {
    const auto& best = top.sorted();
    for (idx_t i = 0; i < k; i++) {
        if (i < idx_t(best.size())) {
            distances[i] = query.distance(best[i].estimate);
            labels[i] = store_pairs ? best[i].place : best[i].id;
        } else {
            distances[i] = inner_product ? -std::numeric_limits<float>::max()
                                         : std::numeric_limits<float>::max();
            labels[i] = -1;
        }
    }
}

/// Runs on the engine that the parameters name, whose name goes to `device`. Under `auto` a device
/// that fails is replaced by the reference, which gives the same result.
template <class Run>
auto run_on_engine(const VLCParameters& params, std::string& device, Run run) {
    device = "OpenCL device";
    try {
        const std::unique_ptr<Engine> engine = make_engine(params.device, params.work_group);
        device = engine->name();
        return run(*engine);
    } catch (const faiss::FaissException& error) {
        // Asking InterruptCallback again won't do: Python's reports an interrupt once.
        const bool interrupted = error.msg.find("computation interrupted") != std::string::npos;
        if (device == "reference" || !is_auto_device(params.device) || interrupted) {
            throw;
        }
        fprintf(stderr, "faiss-vlc: %s failed, using the CPU reference instead: %s\n",
                device.c_str(), error.what());
    }
    ReferenceEngine reference;
    device = reference.name();
    return run(reference);
}

/// What adding brings to a direct map, held back until nothing can fail any more.
class DirectMapAddition {
public:
    DirectMapAddition(faiss::DirectMap& map, idx_t n) : map_(map) {
        if (map.type == faiss::DirectMap::Array) {
            const size_t size = map.array.size() + size_t(n);
            if (size > map.array.capacity()) {
                map.array.reserve(std::max(size, 2 * map.array.capacity()));
            }
            places_.reserve(n);
        }
    }
    /// place: list << 32 | offset, or -1.
    void add(idx_t id, idx_t place) {
        if (map_.type == faiss::DirectMap::Array) {
            places_.push_back(place);
        } else if (map_.type == faiss::DirectMap::Hashtable && place >= 0) {
            fresh_[id] = place;
        }
    }
    void commit() {
        map_.array.insert(map_.array.end(), places_.begin(), places_.end());
        auto& table = map_.hashtable;
        const size_t size = table.size() + fresh_.size();
        if (float(size) > table.max_load_factor() * float(table.bucket_count())) {
            table.reserve(std::max(size, 2 * table.size())); // the last that can throw
        }
        table.merge(fresh_);
        for (const auto& [id, place] : fresh_) { // ids that were there already
            table.find(id)->second = place;
        }
    }

private:
    faiss::DirectMap& map_;
    std::vector<idx_t> places_;
    std::unordered_map<idx_t, idx_t> fresh_;
};

Anchors train_anchors(const Sample& sample, const VLCParameters& params, bool verbose,
                      std::string& device) {
    if (!params.resume.empty()) {
        read_checkpoint(params.resume, sample, params); // its faults are not the device's
    }
    return run_on_engine(params, device,
                         [&](Engine& engine) { return anneal(engine, sample, params, verbose); });
}

} // namespace

IndexVLC::IndexVLC(int d_in, const VLCParameters& parameters_in, faiss::MetricType metric)
    : parameters(parameters_in) {
    register_hooks();
    check_metric(metric);
    parameters.check(d_in);
    d = d_in;
    metric_type = metric;
    is_trained = false;
    nlist = parameters.m;
    nprobe = 1;
    code_size = parameters.code_size(d);
    quantizer = new faiss::IndexFlat(d, metric);
    own_fields = true;
    invlists = new VLCInvertedLists(nlist, nullptr);
    own_invlists = true;
}

IndexVLC::IndexVLC(int d, int m, float bits_per_dim, faiss::MetricType metric)
    : IndexVLC(d, simple_parameters(m, bits_per_dim), metric) {}

IndexVLC::IndexVLC(std::shared_ptr<const Model> trained, const VLCParameters& parameters)
    : IndexVLC(trained->d, parameters, trained->metric) {
    set_model(std::move(trained));
}

IndexVLC::IndexVLC(const IndexVLC& other)
    : IndexIVFFlat(other), parameters(other.parameters), max_probes(other.max_probes),
      model(other.model), trained_on(other.trained_on) {
    quantizer = nullptr;
    invlists = nullptr;
    if (const auto* anchors = dynamic_cast<const AnchorQuantizer*>(other.quantizer)) {
        quantizer = new AnchorQuantizer(*anchors);
    } else {
        quantizer = new faiss::IndexFlat(dynamic_cast<const faiss::IndexFlat&>(*other.quantizer));
    }
    own_fields = true;
    invlists = new VLCInvertedLists(other.lists());
    own_invlists = true;
}

const VLCInvertedLists& IndexVLC::lists() const {
    const auto* own = dynamic_cast<const VLCInvertedLists*>(invlists);
    if (!own) {
        fail("IndexVLC: its inverted lists were replaced by lists of another kind");
    }
    return *own;
}

VLCInvertedLists& IndexVLC::lists() {
    return const_cast<VLCInvertedLists&>(static_cast<const IndexVLC*>(this)->lists());
}

void IndexVLC::require_trained(const char* what) const {
    if (!is_trained || !model) {
        fail("IndexVLC: %s needs a trained index", what);
    }
}

void IndexVLC::set_model(std::shared_ptr<const Model> trained) {
    auto flat = std::make_unique<AnchorQuantizer>(trained);
    auto fresh = std::make_unique<VLCInvertedLists>(trained->m, trained);

    if (own_fields) {
        delete quantizer;
    }
    quantizer = flat.release();
    own_fields = true;
    if (own_invlists) {
        delete invlists;
    }
    invlists = fresh.release();
    own_invlists = true;
    lists().parameters = parameters;
    nlist = trained->m;
    code_size = trained->layout.code_size();
    if (nprobe <= 1 || (model && nprobe == size_t(model->default_nprobe))) {
        nprobe = trained->default_nprobe; // nobody set another
    }
    model = std::move(trained);
    is_trained = true;
}

void IndexVLC::train(idx_t n, const float* x) {
    if (ntotal > 0) {
        fail("IndexVLC: training needs an empty index, this one holds %lld vectors",
             (long long)ntotal);
    }
    if (n < 1) {
        fail("IndexVLC: expected at least 1 training vector, got %lld", (long long)n);
    }
    parameters.check(d);
    require_finite(x, n, d, "training vectors");
    const Sample sample = draw_sample(n, d, x, parameters);
    std::string device;
    const Anchors anchors = train_anchors(sample, parameters, verbose, device);
    auto trained = std::make_shared<Model>(tune_model(sample, anchors, parameters, metric_type));
    trained_on = device;
    set_model(std::move(trained));
}

void IndexVLC::assign_lists(idx_t n, const float* x, idx_t* list_nos) const {
    require_trained("assigning");
    std::vector<int8_t> x8(size_t(std::min(n, kAddBlock)) * model->dp());
    std::vector<int32_t> labels(std::min(n, kAddBlock));
    std::string device;
    run_on_engine(parameters, device, [&](Engine& engine) {
        engine.begin_blocks(model->m, d, model->anchors8.data(), std::min(n, kAddBlock));
        for (idx_t first = 0; first < n; first += kAddBlock) {
            const idx_t count = std::min(kAddBlock, n - first);
            model->lattice.encode(count, x + first * d, x8.data());
            engine.assign_block(count, x8.data(), labels.data());
            std::copy_n(labels.data(), count, list_nos + first);
        }
    });
}

void IndexVLC::add_with_ids(idx_t n, const float* x, const idx_t* ids) {
    require_trained("add");
    if (n == 0) {
        return;
    }
    require_finite(x, n, d, "vectors to add");
    direct_map.check_can_add(ids);
    std::vector<idx_t> list_nos(n);
    assign_lists(n, x, list_nos.data());
    add_core(n, x, ids, list_nos.data());
}

void IndexVLC::add_core(idx_t n, const float* x, const idx_t* ids,
                        const idx_t* list_nos FAISS_VLC_LIST_CONTEXT()) {
    require_trained("add");
    direct_map.check_can_add(ids);
    VLCInvertedLists& own = lists();
    for (idx_t i = 0; i < n; i++) {
        if (list_nos[i] >= idx_t(nlist)) {
            fail("add_core: expected lists below %zu, got %lld for vector %lld", nlist,
                 (long long)list_nos[i], (long long)i);
        }
    }
    // Whatever throws from here on, the index is as it was.
    VLCInvertedLists::Addition addition(own);
    DirectMapAddition map(direct_map, n);
    std::vector<idx_t> block_ids;
    std::vector<uint8_t> codes;
    for (idx_t first = 0; first < n; first += kAddBlock) {
        faiss::InterruptCallback::check();
        const idx_t count = std::min(kAddBlock, n - first);
        block_ids.resize(count);
        for (idx_t i = 0; i < count; i++) {
            block_ids[i] = ids ? ids[first + i] : ntotal + first + i;
        }
        codes.resize(size_t(count) * code_size);
        encode_vectors(count, x + first * d, list_nos + first, codes.data());

        // by list, in order of arrival within each
        std::vector<idx_t> begin(nlist + 1, 0), order(count);
        for (idx_t i = 0; i < count; i++) {
            if (list_nos[first + i] >= 0) {
                begin[list_nos[first + i] + 1]++;
            }
        }
        for (size_t j = 0; j < nlist; j++) {
            begin[j + 1] += begin[j];
        }
        std::vector<idx_t> next(begin.begin(), begin.end() - 1);
        for (idx_t i = 0; i < count; i++) {
            if (list_nos[first + i] >= 0) {
                order[next[list_nos[first + i]]++] = i;
            }
        }
        own.prepare_ids(count, block_ids.data());
        std::vector<idx_t> offset(count, -1);
        Rescue rescue;
#pragma omp parallel for schedule(dynamic, 16)
        for (size_t j = 0; j < nlist; j++) {
            rescue.run([&] {
                const size_t in_list = size_t(begin[j + 1] - begin[j]);
                std::vector<idx_t> list_ids(in_list);
                std::vector<uint8_t> list_codes(in_list * code_size);
                for (size_t i = 0; i < in_list; i++) {
                    const idx_t from = order[begin[j] + i];
                    list_ids[i] = block_ids[from];
                    std::copy_n(&codes[from * code_size], code_size, &list_codes[i * code_size]);
                }
                const size_t at = own.add_entries(j, in_list, list_ids.data(), list_codes.data());
                for (size_t i = 0; i < in_list; i++) {
                    offset[order[begin[j] + i]] = idx_t(at + i);
                }
            });
        }
        rescue.rethrow();
        for (idx_t i = 0; i < count; i++) {
            map.add(block_ids[i], offset[i] < 0 ? -1 : list_nos[first + i] << 32 | offset[i]);
        }
    }
    map.commit();
    addition.keep();
    ntotal += n;
}

namespace {

/// Searches n queries; scan(i, query, top) looks for those of query i, which is set, and returns
/// the vectors scanned. `ranks`: it will ask for the nearest lists.
template <class Scan>
size_t search_all(const SearchScope& scope, idx_t n, const float* x, idx_t k, bool ranks,
                  bool store_pairs, float* distances, idx_t* labels, Scan scan) {
    const Model& model = scope.model;
    const bool inner_product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const idx_t groups = (n + kTogether - 1) / kTogether;
    size_t scanned = 0;
    Rescue rescue;
#pragma omp parallel if (n > 1) reduction(+ : scanned)
    {
        std::vector<std::unique_ptr<Query>> queries;
        std::unique_ptr<TopK> top;
        rescue.run([&] {
            while (idx_t(queries.size()) < std::min<idx_t>(n, kTogether)) {
                queries.push_back(std::make_unique<Query>(model));
            }
            top = std::make_unique<TopK>(k, &scope.lists);
        });
#pragma omp for schedule(dynamic, 2)
        for (idx_t g = 0; g < groups; g++) {
            if (!top) {
                continue; // rethrown below
            }
            rescue.run([&] {
                const idx_t first = g * kTogether;
                const int some = int(std::min<idx_t>(kTogether, n - first));
                bool is_set[kTogether];
                for (int q = 0; q < some; q++) {
                    is_set[q] = queries[q]->set(x + (first + q) * model.d);
                }
                if (ranks && some == kTogether) {
                    Query::score_together(queries);
                }
                for (int q = 0; q < some; q++) {
                    const idx_t i = first + q;
                    top->clear();
                    if (is_set[q]) {
                        scanned += scan(i, *queries[q], *top);
                    }
                    write_results(*queries[q], *top, k, inner_product, store_pairs,
                                  distances + i * k, labels + i * k);
                }
            });
        }
    }
    rescue.rethrow();
    return scanned;
}

/// Whether a lone query is worth all threads: a few hundred microseconds of scanning.
bool is_worth_threads(const SearchScope& scope, idx_t n, size_t probes, idx_t ntotal) {
    constexpr double kVectors = 100000;
    return n == 1 && scope.max_codes == 0 && omp_get_max_threads() > 1 && !omp_in_parallel() &&
           double(probes) * double(ntotal) / double(scope.lists.nlist) >= kVectors;
}

/// Adds n rows of k results to as many of FAISS's heaps.
void push_results(idx_t n, idx_t k, faiss::MetricType metric, const std::vector<float>& found,
                  const std::vector<idx_t>& ids, float* distances, idx_t* labels) {
    for (idx_t i = 0; i < n * k; i++) {
        float* heap = distances + i / k * k;
        idx_t* heap_ids = labels + i / k * k;
        if (ids[i] < 0) {
            continue;
        }
        if (metric == faiss::METRIC_INNER_PRODUCT) {
            if (found[i] > heap[0]) {
                faiss::minheap_replace_top(k, heap, heap_ids, found[i], ids[i]);
            }
        } else if (found[i] < heap[0]) {
            faiss::maxheap_replace_top(k, heap, heap_ids, found[i], ids[i]);
        }
    }
}

void check_k(idx_t k) {
    if (k < 1) {
        fail("IndexVLC: search expected k >= 1, got %lld", (long long)k);
    }
}

} // namespace

size_t IndexVLC::probes_of(const faiss::SearchParametersIVF* params) const {
    const size_t probes = std::min(nlist, params ? params->nprobe : nprobe);
    if (probes < 1) {
        fail("IndexVLC: search expected nprobe >= 1, got 0");
    }
    return probes;
}

SearchScope IndexVLC::scope_of(const faiss::SearchParametersIVF* params) const {
#if FAISS_VLC_FAISS_VERSION >= 11500
    if (params && (params->max_lists_num != 0 || params->ensure_topk_full ||
                   params->max_empty_result_buckets != 0)) {
        fail("IndexVLC: max_lists_num, ensure_topk_full and max_empty_result_buckets are not "
             "supported");
    }
#endif
    const auto* own = dynamic_cast<const SearchParametersVLC*>(params);
    const size_t most = own ? own->max_probes : max_probes;
    return {*model, lists(), params ? params->sel : nullptr, params ? params->max_codes : max_codes,
            std::min(most, nlist)};
}

void IndexVLC::search(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                      const faiss::SearchParameters* params) const {
    search_pairs(n, x, k, distances, labels, false, params);
}

void IndexVLC::search_pairs(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                            bool store_pairs, const faiss::SearchParameters* params) const {
    require_trained("search");
    check_k(k);
    const auto* ivf = ivf_params(params);
    const size_t probes = probes_of(ivf);
    const SearchScope scope = scope_of(ivf);
    const bool by_lists = is_worth_threads(scope, n, probes, ntotal) && scope.max_probes <= probes;
    const size_t scanned = search_all(
            scope, n, x, k, true, store_pairs, distances, labels,
            [&](idx_t, Query& query, TopK& top) {
                if (!by_lists) {
                    return scan_nearest(scope, query, probes, size_t(k), top);
                }
                const std::vector<int64_t> order = query.rank(int(probes));
                return scan_lists_parallel(scope, x, probes, order.data(), size_t(k), top);
            });
    count_search(faiss::indexIVF_stats, n, size_t(n) * probes, scanned);
}

void IndexVLC::search_preassigned(idx_t n, const float* x, idx_t k, const idx_t* list_nos,
                                  const float* /*centroid_dis*/, float* distances, idx_t* labels,
                                  bool store_pairs, const faiss::IVFSearchParameters* params,
                                  faiss::IndexIVFStats* stats) const {
    require_trained("search");
    check_k(k);
    const size_t probes = probes_of(params);
    for (size_t i = 0; i < size_t(n) * probes; i++) {
        if (list_nos[i] >= idx_t(nlist)) {
            fail("search_preassigned: expected lists below %zu, got %lld", nlist,
                 (long long)list_nos[i]);
        }
    }
    const SearchScope scope = scope_of(params);
    const auto scan = [&](idx_t i, Query& query, TopK& top) {
        return scan_lists(scope, query, probes, list_nos + i * probes, top);
    };
    size_t scanned;
    if (parallel_mode &
        PARALLEL_MODE_NO_HEAP_INIT) { // the caller gathers results in heaps of its own
        std::vector<float> found(size_t(n) * k);
        std::vector<idx_t> ids(found.size());
        scanned = search_all(scope, n, x, k, false, store_pairs, found.data(), ids.data(), scan);
        push_results(n, k, metric_type, found, ids, distances, labels);
    } else {
        scanned = search_all(scope, n, x, k, false, store_pairs, distances, labels, scan);
    }
    count_search(stats ? *stats : faiss::indexIVF_stats, n, size_t(n) * probes, scanned);
}

void IndexVLC::range_search(idx_t n, const float* x, float radius, faiss::RangeSearchResult* result,
                            const faiss::SearchParameters* params) const {
    require_trained("range_search");
    const auto* ivf = ivf_params(params);
    const size_t probes = probes_of(ivf);
    const SearchScope scope = scope_of(ivf);
    size_t scanned = 0;
    Rescue rescue;
#pragma omp parallel if (n > 1) reduction(+ : scanned)
    {
        // FAISS gathers the threads' parts in finalize(), which all of them must reach.
        faiss::RangeSearchPartialResult part(result);
        std::unique_ptr<Query> query;
        rescue.run([&] { query = std::make_unique<Query>(*model); });
#pragma omp for schedule(dynamic, 8)
        for (idx_t i = 0; i < n; i++) {
            rescue.run([&] {
                faiss::RangeQueryResult& one = part.new_result(i);
                if (query && query->set(x + i * d)) {
                    scanned += scan_lists_range(scope, *query, probes,
                                                query->rank(int(probes)).data(), radius, one);
                }
            });
        }
        part.finalize();
    }
    rescue.rethrow();
    count_search(faiss::indexIVF_stats, n, size_t(n) * probes, scanned);
}

void IndexVLC::search_and_reconstruct(idx_t n, const float* x, idx_t k, float* distances,
                                      idx_t* labels, float* recons,
                                      const faiss::SearchParameters* params) const {
    search_pairs(n, x, k, distances, labels, true, params);
    const VLCInvertedLists& own = lists();
    for (idx_t i = 0; i < n * k; i++) {
        float* out = recons + i * d;
        if (labels[i] < 0) {
            std::fill_n(out, d, std::numeric_limits<float>::quiet_NaN());
            continue;
        }
        const int64_t list_no = labels[i] >> 32;
        const int64_t offset = labels[i] & 0xffffffff;
        reconstruct_from_offset(list_no, offset, out);
        labels[i] = own.id(list_no, offset);
    }
}

void IndexVLC::reconstruct(idx_t key, float* recons) const {
    require_trained("reconstruct");
    if (!direct_map.no()) {
        IndexIVF::reconstruct(key, recons);
        return;
    }
    const VLCInvertedLists& own = lists();
    for (size_t j = 0; j < nlist; j++) {
        for (size_t i = 0; i < own.list_size(j); i++) {
            if (own.id(j, i) == key) {
                reconstruct_from_offset(int64_t(j), int64_t(i), recons);
                return;
            }
        }
    }
    fail("reconstruct: no vector has id %lld", (long long)key);
}

void IndexVLC::reconstruct_from_offset(int64_t list_no, int64_t offset, float* recons) const {
    require_trained("reconstruct");
    const VLCInvertedLists& own = lists();
    faiss::InvertedLists::ScopedCodes code(&own, list_no, offset);
    model->decode(int(list_no), code.get(), recons);
}

void IndexVLC::encode_vectors(idx_t n, const float* x, const idx_t* list_nos, uint8_t* codes,
                              bool include_listnos) const {
    require_trained("encoding");
    const size_t head = include_listnos ? coarse_code_size() : 0;
    const size_t size = head + code_size;
    Rescue rescue;
#pragma omp parallel if (n > 100)
    {
        std::unique_ptr<Model::Coder> coder;
        rescue.run([&] { coder = std::make_unique<Model::Coder>(*model); });
#pragma omp for schedule(static)
        for (idx_t i = 0; i < n; i++) {
            uint8_t* code = codes + i * size;
            if (list_nos[i] < 0 || !coder) {
                std::fill_n(code, size, uint8_t(0));
                continue;
            }
            if (include_listnos) {
                encode_listno(list_nos[i], code);
            }
            coder->encode(x + i * d, int(list_nos[i]), code + head);
        }
    }
    rescue.rethrow();
}

#if FAISS_VLC_FAISS_VERSION >= 11200
void IndexVLC::decode_vectors(idx_t n, const uint8_t* codes, const idx_t* list_nos,
                              float* x) const {
    require_trained("decoding");
    for (idx_t i = 0; i < n; i++) {
        if (list_nos[i] < 0 || list_nos[i] >= idx_t(nlist)) {
            fail("decode_vectors: code %lld is of list %lld of %zu", (long long)i,
                 (long long)list_nos[i], nlist);
        }
        model->decode(int(list_nos[i]), codes + i * code_size, x + i * d);
    }
}
#endif

void IndexVLC::sa_encode(idx_t n, const float* x, uint8_t* bytes) const {
    require_finite(x, n, d, "vectors to encode");
    std::vector<idx_t> list_nos(n);
    assign_lists(n, x, list_nos.data());
    encode_vectors(n, x, list_nos.data(), bytes, true);
}

void IndexVLC::sa_decode(idx_t n, const uint8_t* bytes, float* x) const {
    require_trained("decoding");
    const size_t head = coarse_code_size();
    for (idx_t i = 0; i < n; i++) {
        const uint8_t* code = bytes + i * (head + code_size);
        const idx_t list_no = decode_listno(code);
        if (list_no < 0 || list_no >= idx_t(nlist)) {
            fail("sa_decode: code %lld names list %lld of %zu", (long long)i, (long long)list_no,
                 nlist);
        }
        model->decode(int(list_no), code + head, x + i * d);
    }
}

namespace {

/// For FAISS's own algorithms over packed codes: a block of one vector at a time.
struct VLCScanner : faiss::InvertedListScanner {
    VLCScanner(const IndexVLC& index, bool store_pairs, const faiss::IDSelector* sel)
        : InvertedListScanner(store_pairs, sel), query_(*index.model),
          padded_(index.code_size + 64) {
        keep_max = index.metric_type == faiss::METRIC_INNER_PRODUCT;
        code_size = index.code_size;
    }
    void set_query(const float* x) override { usable_ = query_.set(x); }
    void set_list(idx_t list, float /*coarse_dis*/) override {
        list_no = list;
        scan_ = usable_ ? &query_.list(int(list)) : nullptr;
    }
    float distance_to_code(const uint8_t* code) const override {
        if (!scan_) {
            return keep_max ? -std::numeric_limits<float>::max()
                            : std::numeric_limits<float>::max();
        }
        std::copy_n(code, code_size, padded_.begin());
        float estimate[kBlock];
        simd().scan_blocks(*scan_, padded_.data(), 1, 0.0f, estimate);
        return query_.distance(estimate[0]);
    }

private:
    Query query_;
    mutable std::vector<uint8_t> padded_;
    const ListScan* scan_ = nullptr;
    bool usable_ = false;
};

} // namespace

faiss::InvertedListScanner*
IndexVLC::get_InvertedListScanner(bool store_pairs,
                                  const faiss::IDSelector* sel FAISS_VLC_SCANNER_PARAMS()) const {
    require_trained("scanning");
    return new VLCScanner(*this, store_pairs, sel);
}

void IndexVLC::update_vectors(int n, const idx_t* ids, const float* x) {
    require_trained("update_vectors");
    if (direct_map.type != faiss::DirectMap::Array) {
        IndexIVF::update_vectors(n, ids, x); // removes and adds, or says that it needs a map
        return;
    }
    require_finite(x, n, d, "vectors to update");
    std::vector<idx_t> list_nos(n);
    assign_lists(n, x, list_nos.data());
    std::vector<uint8_t> codes(size_t(n) * code_size);
    encode_vectors(n, x, list_nos.data(), codes.data());
    direct_map.update_codes(invlists, n, ids, list_nos.data(), codes.data());
}

size_t IndexVLC::remove_ids(const faiss::IDSelector& sel) {
    if (!direct_map.no() || !is_trained) {
        return IndexIVF::remove_ids(sel);
    }
    // FAISS's own loop expects get_ids() to follow its changes; ours are copies.
    VLCInvertedLists& own = lists();
    size_t removed = 0;
    Rescue rescue;
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : removed)
    for (size_t j = 0; j < nlist; j++) {
        rescue.run([&] { removed += own.remove_ids(j, sel); });
    }
    ntotal -= idx_t(removed);
    rescue.rethrow();
    return removed;
}

void IndexVLC::check_compatible_for_merge(const faiss::Index& other) const {
    const auto* same_kind = dynamic_cast<const IndexVLC*>(&other);
    if (!same_kind) {
        fail("merging into an IndexVLC: expected another IndexVLC");
    }
    if (!model || !same_kind->model || !model->same_as(*same_kind->model)) {
        fail("merging IndexVLCs: expected the same training, got anchors or codes of another one");
    }
}

void IndexVLC::merge_from(faiss::Index& other, idx_t add_id) {
    check_compatible_for_merge(other);
    auto& from = dynamic_cast<IndexVLC&>(other);
    if (&from == this) {
        fail("merging IndexVLCs: expected another index, got this one");
    }
    if (!direct_map.no() || !from.direct_map.no()) {
        fail("merging IndexVLCs: expected no direct map on either side");
    }
    VLCInvertedLists& own = lists();
    VLCInvertedLists& theirs = from.lists();
    VLCInvertedLists::Addition addition(own);
    std::vector<std::vector<idx_t>> ids(nlist);
    for (size_t j = 0; j < nlist; j++) {
        for (size_t i = 0; i < theirs.list_size(j); i++) {
            ids[j].push_back(theirs.id(j, i) + add_id);
        }
        own.prepare_ids(ids[j].size(), ids[j].data());
    }
    for (size_t j = 0; j < nlist; j++) {
        const faiss::InvertedLists::ScopedCodes codes(&theirs, j);
        own.add_entries(j, ids[j].size(), ids[j].data(), codes.codes);
    }
    addition.keep();
    ntotal += from.ntotal;
    from.reset();
}

size_t IndexVLC::memory() const {
    size_t bytes = sizeof(*this) + lists().memory();
    if (model) {
        bytes += model->memory() + size_t(nlist) * d * sizeof(float);
    }
    return bytes;
}

} // namespace faiss_vlc
