#include <faiss_vlc/IndexVLC.h>

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>

#include <faiss/IndexIVF.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/utils/Heap.h>

#include <faiss_vlc/index/device_kind.h>
#include <faiss_vlc/index/search_device.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/query/kept_group.h>
#include <faiss_vlc/query/query_group.h>
#include <faiss_vlc/search/batch.h>
#include <faiss_vlc/search/finish.h>
#include <faiss_vlc/search/late_range.h>
#include <faiss_vlc/search/list_major.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/search/place.h>
#include <faiss_vlc/search/refine.h>
#include <faiss_vlc/search/scan_lists.h>

namespace faiss_vlc {

using idx_t = int64_t;

std::shared_ptr<DeviceSearch> IndexVLC::SearchDevice::named(const std::string& spec) {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (!last_ || last_->spec() != spec) {
        last_ = make_search(spec);
    }
    return last_;
}

std::string IndexVLC::SearchDevice::refined_on() const {
    const std::lock_guard<std::mutex> hold(mutex_);
    return refined_on_;
}

void IndexVLC::SearchDevice::set_refined_on(const std::string& device) {
    const std::lock_guard<std::mutex> hold(mutex_);
    refined_on_ = device;
}

std::string IndexVLC::refined_on() const {
    return searcher_->refined_on();
}

namespace {

const faiss::SearchParametersIVF* ivf_params(const faiss::SearchParameters* params) {
    const auto* ivf = dynamic_cast<const faiss::SearchParametersIVF*>(params);
    if (params && !ivf) {
        fail("IndexVLC: expected SearchParametersIVF, got another type of search parameters");
    }
    return ivf;
}

double milliseconds() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

/// What a search did, times added up over threads.
struct Work {
    Scanned scanned;
    double ranking = 0, all = 0; ///< ms
    void add(const Work& part) {
        scanned += part.scanned;
        ranking += part.ranking;
        all += part.all;
    }
};

/// Adds to FAISS's statistics, which may be the global ones, from any number of threads.
void count_search(faiss::IndexIVFStats& stats, int64_t n, const Work& work) {
    __atomic_fetch_add(&stats.nq, size_t(n), __ATOMIC_RELAXED);
    __atomic_fetch_add(&stats.nlist, work.scanned.lists, __ATOMIC_RELAXED);
    __atomic_fetch_add(&stats.ndis, work.scanned.vectors, __ATOMIC_RELAXED);
#pragma omp atomic
    stats.quantization_time += work.ranking;
#pragma omp atomic
    stats.search_time += work.all;
}

/// Asks now and then whether the user wants a search to end; ask() is for the thread that called
/// it.
class Interruption {
public:
    bool is_wanted() const { return __atomic_load_n(&wanted_, __ATOMIC_RELAXED); }
    void ask(double now) {
        if (now > next_) {
            next_ = now + kPeriod;
            if (faiss::InterruptCallback::is_interrupted()) {
                __atomic_store_n(&wanted_, true, __ATOMIC_RELAXED);
            }
        }
    }
    void rethrow() const {
        if (wanted_) {
            throw Interrupted();
        }
    }

private:
    static constexpr double kPeriod = 100; ///< ms: Python has to be waited for
    double next_ = milliseconds() + kPeriod;
    bool wanted_ = false;
};

/// Takes n queries in groups of `size`, by all threads: prepare(group, first) ranks those of a
/// group or gives it the lists of the queries from `first` on, and answer(own, group, first) looks
/// for its queries. make_own() is what a thread keeps its results in: start() may throw, finish()
/// is reached by all threads, whatever happened; meets() tells whether they wait there for each
/// other.
template <class MakeOwn, class Prepare, class Answer>
Work each_group(const std::shared_ptr<const Model>& model, idx_t n, const float* x, int size,
                MakeOwn make_own, Prepare prepare, Answer answer) {
    Work work;
    Rescue rescue;
    Interruption interruption;
    const auto take = [&](bool is_caller, auto each_first) {
        Work mine;
        auto own = make_own();
        std::optional<KeptGroup> kept;
        rescue.run([&] {
            own.start();
            kept.emplace(model, size);
        });
        each_first([&](idx_t first) {
            if (!kept || interruption.is_wanted()) {
                return; // rethrown below
            }
            rescue.run([&] {
                const double start = milliseconds();
                const int some = int(std::min<idx_t>(size, n - first));
                QueryGroup& group = **kept;
                group.set(some, x + first * model->d);
                prepare(group, first);
                group.rotate();
                mine.ranking += milliseconds() - start;
                mine.scanned += answer(own, group, first);
                const double end = milliseconds();
                mine.all += end - start;
                if (is_caller) {
                    interruption.ask(end);
                }
            });
        });
        own.finish();
#pragma omp critical(faiss_vlc_add_work)
        work.add(mine);
    };
    const bool by_one = n <= size || omp_get_max_threads() == 1;
    if (by_one && !decltype(make_own())::meets()) { // OpenMP calls the kernel at each barrier
        take(true, [&](auto one) {
            for (idx_t first = 0; first < n; first += size) {
                one(first);
            }
        });
    } else {
#pragma omp parallel if (n > 1)
        take(omp_get_thread_num() == 0, [&](auto one) {
#pragma omp for schedule(dynamic)
            for (idx_t first = 0; first < n; first += size) {
                one(first);
            }
        });
    }
    rescue.rethrow();
    interruption.rethrow();
    return work;
}

/// What a thread keeps to end queries with: by both tiers, where the model has two.
class Ending {
public:
    Ending(const SearchScope& scope, const Finish& finish, idx_t k)
        : lists_(scope.lists), finish_(finish) {
        if (scope.refined > 0) {
            refine_ = std::make_unique<Refine>(scope);
            best_ = std::make_unique<TopK>(k, &scope.lists);
        }
    }
    /// Whether second codes may have to be waited for: those of several queries wait together.
    bool may_wait() const { return refine_ && lists_.second_pages(); }

    /// The batch's queries from the first-th on, of which scanning found these.
    void end_all(idx_t first, QueryGroup& group, std::vector<TopK>& found) {
        PageRequests requests(refine_ ? lists_.second_pages() : nullptr);
        int ready = request(requests, 0, group.n(), found);
        int asked = request(requests, ready, group.n(), found);
        for (int q = 0; q < group.n(); q++) {
            if (q == ready) { // the next ones come meanwhile
                ready = asked;
                asked = request(requests, asked, group.n(), found);
            }
            end(first + q, group[q], found[q]);
        }
    }
    /// The batch's q-th query.
    void end(idx_t q, Query& query, TopK& found) {
        if (refine_) {
            best_->clear();
            (*refine_)(query, found, *best_);
        }
        finish_.finish_query(q, query, refine_ ? *best_ : found);
    }

private:
    const VLCInvertedLists& lists_;
    const Finish& finish_;
    std::unique_ptr<Refine> refine_;
    std::unique_ptr<TopK> best_;

    /// Requests the second codes of queries from q on, some 16 MB of pages. Returns the next query.
    int request(PageRequests& requests, int q, int end, std::vector<TopK>& found) {
        constexpr size_t kMost = 4096; // vectors
        if (!requests.are_wanted()) {
            return end;
        }
        for (size_t many = 0; q < end && many < kMost; q++) {
            many += found[q].size();
            refine_->request(found[q], requests);
        }
        requests.send();
        return q;
    }
};

/// The k best of each query: scan(group, q, top) looks for those of the q-th, which is set.
template <class Prepare, class Scan>
Work search_all(const SearchScope& scope, const SearchBatch& batch, Prepare prepare, Scan scan) {
    struct Own {
        const SearchScope& scope;
        const Finish& results;
        idx_t k = 0;
        int size = 0;
        std::vector<TopK> tops; ///< one for all queries, unless they wait
        std::unique_ptr<Ending> ending;
        void start() {
            ending = std::make_unique<Ending>(scope, results, k);
            for (int q = 0; q < (ending->may_wait() ? size : 1); q++) {
                tops.emplace_back(scope.scanned_k(size_t(k)), &scope.lists);
            }
        }
        void finish() {}
        static constexpr bool meets() { return false; }
    };
    const Finish finish(scope.model, batch);
    const int size = QueryGroup::size_for(scope.model, batch.n, omp_get_max_threads());
    const auto make_own = [&] { return Own{scope, finish, batch.k, size, {}, nullptr}; };
    const auto answer = [&](Own& own, QueryGroup& group, idx_t first) {
        Scanned scanned;
        const bool waits = own.ending->may_wait();
        for (int q = 0; q < group.n(); q++) {
            TopK& top = own.tops[waits ? size_t(q) : 0];
            top.clear();
            if (group.is_set(q)) {
                scanned += scan(group, q, top);
            }
            if (!waits) {
                own.ending->end(first + q, group[q], top);
            }
        }
        if (waits) {
            own.ending->end_all(first, group, own.tops);
        }
        return scanned;
    };
    return each_group(scope.lists.model, batch.n, batch.x, size, make_own, prepare, answer);
}

/// The same, list by list for groups of `size` queries.
Work search_list_major(const SearchScope& scope, const SearchBatch& batch, size_t probes,
                       int size) {
    struct Own {
        const SearchScope& scope;
        const Finish& results;
        idx_t k = 0;
        int size = 0;
        ListMajor list_major;
        std::vector<TopK> tops;
        std::unique_ptr<Ending> ending;
        void start() {
            tops.assign(size_t(size), TopK(scope.scanned_k(size_t(k)), &scope.lists));
            ending = std::make_unique<Ending>(scope, results, k);
        }
        void finish() {}
        static constexpr bool meets() { return false; }
    };
    const Finish finish(scope.model, batch);
    const auto make_own = [&] { return Own{scope, finish, batch.k, size, {}, {}, nullptr}; };
    const auto rank = [&](QueryGroup& group, idx_t) {
        constexpr bool kSorted = false; // each list gets its queries, whatever their order
        group.rank(int(probes), int(scope.width), kSorted);
    };
    const auto answer = [&](Own& own, QueryGroup& group, idx_t first) {
        for (TopK& top : own.tops) {
            top.clear();
        }
        const Scanned scanned = own.list_major.scan(scope, group, own.tops);
        own.ending->end_all(first, group, own.tops);
        return scanned;
    };
    return each_group(scope.lists.model, batch.n, batch.x, size, make_own, rank, answer);
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

void check_results(idx_t n, idx_t k, int d) {
    if (k < 1) {
        fail("IndexVLC: search expected k >= 1, got %lld", (long long)k);
    }
    checked_count(n, d, sizeof(float), "queries");
    checked_count(n, k, sizeof(idx_t), "results");
}

size_t probes_of(const IndexVLC& index, const faiss::SearchParametersIVF* params) {
    const size_t probes = std::min(index.nlist, params ? params->nprobe : index.nprobe);
    if (probes < 1) {
        fail("IndexVLC: search expected nprobe >= 1, got 0");
    }
    return probes;
}

SearchScope scope_of(const IndexVLC& index, const faiss::SearchParametersIVF* params, idx_t k) {
    SearchScope scope{*index.model, index.lists()};
    scope.sel = params ? params->sel : nullptr;
    scope.max_codes = params ? params->max_codes : index.max_codes;
    const auto* own = dynamic_cast<const SearchParametersVLC*>(params);
    scope.max_probes = std::min(own ? own->max_probes : index.max_probes, index.nlist);
    if (index.model->second) {
        const size_t wanted = own && own->refine_k > 0 ? own->refine_k : index.refine_k;
        const double probed =
                double(probes_of(index, params)) / double(index.model->default_nprobe);
        const size_t chosen = size_t(index.model->second->count_for(k, index.ntotal, probed));
        scope.refined =
                std::max(size_t(k), wanted > 0 ? std::min(wanted, size_t(index.ntotal)) : chosen);
    }
    // whoever goes on to further lists ranks for all of them from the first on
    const bool exact = own ? own->exact_ranking : index.exact_ranking;
    scope.width = exact ? index.nlist : std::max(probes_of(index, params), scope.max_probes);
#if FAISS_VLC_HAS_EARLY_STOP
    if (params) {
        scope.at_least = params->ensure_topk_full ? size_t(k) : 0;
        scope.max_empty_lists = params->max_empty_result_buckets;
        scope.max_lists = params->max_lists_num;
        if (scope.max_lists && params->ensure_topk_full) {
            scope.max_lists = std::max(scope.max_lists, size_t(k));
        }
    }
#endif
    return scope;
}

bool searches_on_device(const IndexVLC& index, const SearchScope& scope, idx_t n, size_t probes,
                        idx_t k) {
    return !index.search_device.empty() && index.search_device != "reference" && n > 0 &&
           index.ntotal > 0 && !scope.sel && scope.max_codes == 0 && scope.max_probes <= probes &&
           idx_t(scope.scanned_k(size_t(k))) <= DeviceSearch::kMostResults;
}

/// The device finds those that are to be refined, and the CPU refines them. `left` gets the queries
/// that the device leaves out. Returns the vectors scanned.
size_t search_and_refine(DeviceSearch& device, const IndexVLC& index, const SearchScope& scope,
                         const SearchBatch& batch, size_t probes, std::vector<int64_t>& left) {
    const auto many = idx_t(scope.scanned_k(size_t(batch.k)));
    const size_t all = checked_count(batch.n, many, sizeof(idx_t), "results");
    std::vector<float> distances(all);
    std::vector<int64_t> places(all);
    const SearchBatch wide = {batch.n,          batch.d,       batch.x, many,
                              distances.data(), places.data(), true};
    const size_t scanned =
            device.search(index.model, scope.lists, wide, int(probes), int(scope.width), left);
    std::vector<bool> is_left(size_t(batch.n));
    for (const int64_t q : left) {
        is_left[size_t(q)] = true;
    }
    const Finish finish(scope.model, batch);
    Rescue rescue;
#pragma omp parallel
    {
        std::unique_ptr<Query> query;
        std::unique_ptr<Refine> refine;
        std::unique_ptr<TopK> best;
        rescue.run([&] {
            query = std::make_unique<Query>(scope.model);
            refine = std::make_unique<Refine>(scope);
            best = std::make_unique<TopK>(batch.k, &scope.lists);
        });
#pragma omp for schedule(dynamic, 16)
        for (idx_t q = 0; q < batch.n; q++) {
            rescue.run([&] {
                if (is_left[size_t(q)] || !best) {
                    return;
                }
                best->clear();
                std::vector<Place> found;
                for (idx_t i = q * many; i < (q + 1) * many && places[size_t(i)] >= 0; i++) {
                    found.push_back(Place::of_label(places[size_t(i)]));
                }
                PageRequests requests(scope.lists.second_pages());
                if (requests.are_wanted()) {
                    refine->request(found, requests);
                    requests.send();
                }
                if (query->set(batch.x + q * batch.d)) {
                    (*refine)(*query, found, *best);
                }
                finish.finish_query(q, *query, *best);
            });
        }
    }
    rescue.rethrow();
    return scanned;
}

/// The k best of a batch by a device; the CPU does those that it leaves out. refined_on: see
/// IndexVLC.
Scanned search_on_device(DeviceSearch& device, const IndexVLC& index, const SearchScope& scope,
                         const SearchBatch& batch, size_t probes, std::string& refined_on) {
    std::vector<int64_t> left;
    Scanned scanned;
    if (scope.refined > 0) {
        const int many = int(scope.scanned_k(size_t(batch.k)));
        refined_on = device.spec();
        if (!device.search_two_tiers(index.model, scope.lists, batch,
                                     {int(probes), int(scope.width), many}, left,
                                     scanned.vectors)) {
            refined_on = "reference";
            scanned.vectors = search_and_refine(device, index, scope, batch, probes, left);
        }
    } else {
        scanned.vectors =
                device.search(index.model, scope.lists, batch, int(probes), int(scope.width), left);
    }
    scanned.lists = (size_t(batch.n) - left.size()) * probes;
    const auto rank = [&](QueryGroup& group, idx_t) { group.rank(int(probes), int(scope.width)); };
    const auto scan = [&](QueryGroup& group, int q, TopK& top) {
        return scan_nearest(scope, group[q], probes, group.lists(q), size_t(batch.k), top);
    };
    if (int64_t(left.size()) == batch.n) { // by all threads
        refined_on = scope.refined > 0 ? "reference" : "";
        scanned += search_all(scope, batch, rank, scan).scanned;
        left.clear();
    }
    for (const int64_t i : left) {
        scanned += search_all(scope, batch.part(i, 1), rank, scan).scanned;
    }
    return scanned;
}

} // namespace

void IndexVLC::search(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                      const faiss::SearchParameters* params) const {
    search_pairs(n, x, k, distances, labels, false, params);
}

void IndexVLC::search_pairs(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                            bool store_pairs, const faiss::SearchParameters* params) const {
    require_trained("search");
    check_results(n, k, d);
    const auto* ivf = ivf_params(params);
    const SearchScope scope = scope_of(*this, ivf, k);
    const size_t probes = scope.lists_of(probes_of(*this, ivf));
    const SearchBatch batch = {n, d, x, k, distances, labels, store_pairs};
    if (searches_on_device(*this, scope, n, probes, k)) {
        const double start = milliseconds();
        Work work;
        const std::shared_ptr<DeviceSearch> device = searcher_->named(search_device);
        std::string refined_on;
        work.scanned = search_on_device(*device, *this, scope, batch, probes, refined_on);
        searcher_->set_refined_on(refined_on);
        work.all = milliseconds() - start;
        count_search(faiss::indexIVF_stats, n, work);
        return;
    }
    const size_t scanned_k = scope.scanned_k(size_t(k));
    const int together = ListMajor::size_for(scope, n, omp_get_max_threads(), probes, scanned_k);
    if (together > 0) {
        count_search(faiss::indexIVF_stats, n, search_list_major(scope, batch, probes, together));
        return;
    }
    const bool by_lists = is_worth_threads(scope, n, probes, ntotal) && scope.max_probes <= probes;
    const auto rank = [&](QueryGroup& group, idx_t) { group.rank(int(probes), int(scope.width)); };
    const auto scan = [&](QueryGroup& group, int q, TopK& top) {
        return by_lists ? scan_lists_parallel(scope, x, probes, group.lists(q), scanned_k, top)
                        : scan_nearest(scope, group[q], probes, group.lists(q), size_t(k), top,
                                       group.following(q));
    };
    const Work work = search_all(scope, batch, rank, scan);
    count_search(faiss::indexIVF_stats, n, work);
}

void IndexVLC::search_preassigned(idx_t n, const float* x, idx_t k, const idx_t* list_nos,
                                  const float* /*centroid_dis*/, float* distances, idx_t* labels,
                                  bool store_pairs, const faiss::IVFSearchParameters* params,
                                  faiss::IndexIVFStats* stats) const {
    require_trained("search");
    check_results(n, k, d);
    const size_t probes = probes_of(*this, params);
    const size_t places = checked_count(n, probes, sizeof(idx_t), "lists to search");
    for (size_t i = 0; i < places; i++) {
        if (list_nos[i] >= idx_t(nlist)) {
            fail("search_preassigned: expected lists below %zu, got %lld", nlist,
                 (long long)list_nos[i]);
        }
    }
    const SearchScope scope = scope_of(*this, params, k);
    const int scanned = int(scope.lists_of(probes));
    const auto give = [&](QueryGroup& group, idx_t first) {
        group.give(scanned, list_nos + first * probes, idx_t(probes));
    };
    const auto scan = [&](QueryGroup& group, int q, TopK& top) {
        return scan_lists(scope, group[q], scanned, group.lists(q), top, group.following(q));
    };
    Work work;
    if (parallel_mode &
        PARALLEL_MODE_NO_HEAP_INIT) { // the caller gathers results in heaps of its own
        std::vector<float> found(size_t(n) * k);
        std::vector<idx_t> ids(found.size());
        work = search_all(scope, {n, d, x, k, found.data(), ids.data(), store_pairs}, give, scan);
        push_results(n, k, metric_type, found, ids, distances, labels);
    } else {
        work = search_all(scope, {n, d, x, k, distances, labels, store_pairs}, give, scan);
    }
    work.ranking = work.all = 0; // IndexIVF's callers add them
    count_search(stats ? *stats : faiss::indexIVF_stats, n, work);
}

void IndexVLC::range_search(idx_t n, const float* x, float radius, faiss::RangeSearchResult* result,
                            const faiss::SearchParameters* params) const {
    require_trained("range_search");
    checked_count(n, d, sizeof(float), "queries");
    const auto* ivf = ivf_params(params);
    const size_t probes = probes_of(*this, ivf);
    const SearchScope scope = scope_of(*this, ivf, 0);
    struct Own {
        const SearchScope& scope;
        float radius = 0;
        faiss::RangeSearchPartialResult part;
        std::unique_ptr<LateRange> late; ///< null: second codes are at hand
        void start() {
            if (LateRange::suits(scope)) {
                late = std::make_unique<LateRange>(scope, radius);
            }
        }
        void finish() { part.finalize(); } // gathers all threads' parts: each has to come here
        static constexpr bool meets() { return true; }
    };
    const auto make_own = [&] {
        return Own{scope, radius, faiss::RangeSearchPartialResult(result), nullptr};
    };
    const auto rank = [&](QueryGroup& group, idx_t) { group.rank(int(probes), int(scope.width)); };
    const auto answer = [&](Own& own, QueryGroup& group, idx_t first) {
        const auto new_result = [&](int q) -> faiss::RangeQueryResult& {
            return own.part.new_result(first + q);
        };
        Scanned scanned;
        for (int q = 0, ended = 0; q < group.n(); q++) {
            if (own.late) {
                scanned += own.late->scan(group, q, probes);
                if (own.late->is_full() || q + 1 == group.n()) {
                    own.late->end(group, ended, new_result);
                    ended = q + 1;
                }
                continue;
            }
            faiss::RangeQueryResult& one = new_result(q);
            if (group.is_set(q)) {
                scanned += scan_lists_range(scope, group[q], probes, group.lists(q), radius, one,
                                            group.following(q));
            }
        }
        return scanned;
    };
    const int size = QueryGroup::size_for(*model, n, omp_get_max_threads());
    const Work work = each_group(model, n, x, size, make_own, rank, answer);
    count_search(faiss::indexIVF_stats, n, work);
}

void IndexVLC::search_and_reconstruct(idx_t n, const float* x, idx_t k, float* distances,
                                      idx_t* labels, float* recons,
                                      const faiss::SearchParameters* params) const {
    search_pairs(n, x, k, distances, labels, true, params);
    const VLCInvertedLists& own = lists();
    const idx_t results = n * k; // checked by search
    checked_count(results, d, sizeof(float), "vectors to reconstruct");
    for (idx_t i = 0; i < results; i++) {
        float* out = recons + i * d;
        if (labels[i] < 0) {
            std::fill_n(out, d, std::numeric_limits<float>::quiet_NaN());
            continue;
        }
        const Place place = Place::of_label(labels[i]);
        reconstruct_from_offset(place.list, place.offset, out);
        labels[i] = own.id(place.list, place.offset);
    }
}

namespace {

/// For FAISS's own algorithms over packed codes: a block of one vector at a time.
struct VLCScanner : faiss::InvertedListScanner {
    VLCScanner(const IndexVLC& index, bool store_pairs, const faiss::IDSelector* sel)
        : InvertedListScanner(store_pairs, sel), model_(*index.model), query_(*index.model),
          padded_(index.code_size + 64) {
        keep_max = index.metric_type == faiss::METRIC_INNER_PRODUCT;
        code_size = index.code_size;
        if (model_.second) {
            refinement_ = std::make_unique<Refinement>(model_);
        }
    }
    void set_query(const float* x) override {
        usable_ = query_.set(x);
        if (refinement_) {
            refinement_->forget();
        }
    }
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
        if (model_.second) {
            return query_.distance(query_.refined(*refinement_, int(list_no), padded_.data(),
                                                  &padded_[size_t(model_.layout.code_size())]));
        }
        float estimate[kBlock];
        faiss_vlc::scan_codes(*scan_, padded_.data(), 1, 0.0f, estimate);
        return query_.distance(estimate[0]);
    }

private:
    const Model& model_;
    mutable Query query_;
    std::unique_ptr<Refinement> refinement_; ///< null: there is one tier
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

} // namespace faiss_vlc
