#include <faiss_vlc/IndexVLC.h>

#include <algorithm>
#include <cstdio>

#include <xxhash.h>

#include <faiss/IndexFlat.h>
#include <faiss/clone_index.h>
#include <faiss/impl/FaissException.h>

#include <faiss_vlc/index/anchor_quantizer.h>
#include <faiss_vlc/index/clustering.h>
#include <faiss_vlc/index/device_kind.h>
#include <faiss_vlc/index/devices.h>
#include <faiss_vlc/index/hooks.h>
#include <faiss_vlc/index/say.h>
#include <faiss_vlc/index/search_device.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/finite.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/checkpoint.h>
#include <faiss_vlc/train/reference_assigner.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/train/settle.h>
#include <faiss_vlc/train/shared/distributed_engine.h>
#include <faiss_vlc/tune/tune.h>

namespace faiss_vlc {

using idx_t = int64_t;

namespace {

constexpr int64_t kAssignBlock = 32768; ///< vectors assigned at a time: bounds extra memory

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

/// Runs on what make() gives for the device that the parameters name; its name goes to `device`.
/// Under `auto` a device that fails is replaced by the Reference, which gives the same result.
template <class Reference, class Make, class Run>
auto run_on_device(const VLCParameters& params, std::string& device, Make make, Run run) {
    device = "OpenCL device";
    try {
        const auto made = make(params.device, params.work_group);
        device = made->name();
        return run(*made);
    } catch (const faiss::FaissException& error) {
        if (device == "reference" || !is_auto_device(params.device) || is_interruption(error)) {
            throw;
        }
        fprintf(stderr, "faiss-vlc: %s failed, using the CPU reference instead: %s\n",
                device.c_str(), error.what());
    }
    Reference reference;
    device = reference.name();
    return run(reference);
}

/// given: the anchors, if they are not to be trained.
Anchors train_anchors(const Sample& sample, const VLCParameters& params, bool verbose,
                      const std::vector<float>& given, const Ranks& processes,
                      std::string& device) {
    const auto train = [&](Engine& engine) {
        return given.empty() ? anneal(engine, sample, params, verbose)
                             : take_anchors(engine, sample, params, given.data());
    };
    if (processes.count > 1) { // the others could not follow if one began anew with the reference
        std::unique_ptr<Engine> own;
        processes.together([&] { own = make_engine(params.device, params.work_group); });
        device = own->name();
        DistributedEngine engine(*own, processes);
        return train(engine);
    }
    if (given.empty() && !params.resume.empty()) {
        read_checkpoint(params.resume, sample, params); // its faults are not the device's
    }
    return run_on_device<ReferenceEngine>(params, device, make_engine, train);
}

/// What has to be the same in all processes that train an index.
uint64_t training_identity(const IndexVLC& index, const VLCParameters& params,
                           const std::vector<float>& given) {
    ByteWriter writer;
    write_deciding(writer, params);
    writer.i32(index.d);
    writer.i32(int32_t(index.metric_type));
    writer.u64(XXH64(given.data(), given.size() * sizeof(float), 0));
    const std::vector<uint8_t> bytes = writer.take();
    return XXH64(bytes.data(), bytes.size(), 0);
}

} // namespace

IndexVLC::IndexVLC(int d_in, const VLCParameters& parameters_in, faiss::MetricType metric)
    : parameters(parameters_in), searcher_(std::make_shared<SearchDevice>()) {
    register_hooks();
    check_metric(metric);
    parameters.check(d_in);
    d = d_in;
    metric_type = metric;
    is_trained = false;
    nlist = parameters.m;
    nprobe = 0; // training chooses
    reset_clustering(*this);
    clustering_index = nullptr;
    quantizer_trains_alone = 0;
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
      refine_k(other.refine_k), exact_ranking(other.exact_ranking),
      search_device(other.search_device), model(other.model), below_id_map(other.below_id_map),
      trained_on(other.trained_on), searcher_(std::make_shared<SearchDevice>()) {
    quantizer = nullptr;
    invlists = nullptr;
    if (const auto* anchors = dynamic_cast<const AnchorQuantizer*>(other.quantizer)) {
        quantizer = new AnchorQuantizer(*anchors);
    } else {
        quantizer = faiss::clone_index(other.quantizer);
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

size_t IndexVLC::second_code_size() const {
    return size_t(model ? model->code_size() - model->layout.code_size()
                        : parameters.second_size(d));
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
    lists().parameters = with_clustering(*this, parameters);
    nlist = trained->m;
    code_size = trained->code_size();
    if (nprobe == 0 || (model && nprobe == size_t(model->default_nprobe))) {
        nprobe = trained->default_nprobe; // nobody set another
    }
    model = std::move(trained);
    is_trained = true;
}

std::vector<float> IndexVLC::given_anchors() const {
    // those of an earlier training were not given
    if (quantizer->ntotal == 0 || dynamic_cast<const AnchorQuantizer*>(quantizer)) {
        return {};
    }
    if (quantizer->d != d || (parameters.m > 0 && quantizer->ntotal != parameters.m)) {
        fail("IndexVLC: its quantizer holds %lld vectors of %d dimensions, expected none (anchors "
             "are trained then) or %d of %d",
             (long long)quantizer->ntotal, quantizer->d, parameters.m, d);
    }
    std::vector<float> anchors(size_t(quantizer->ntotal) * d);
    quantizer->reconstruct_n(0, quantizer->ntotal, anchors.data());
    require_finite(anchors.data(), quantizer->ntotal, d, "anchors");
    return anchors;
}

void IndexVLC::train(idx_t n, const float* x) {
    std::vector<float> queries;
    if (awaited_queries_) {
        queries = awaited_queries_();
    }
    train_distributed(n, x, Ranks{}, idx_t(queries.size()) / d, queries.data());
}

void IndexVLC::train_distributed(idx_t n, const float* x, const Ranks& ranks, idx_t n_queries,
                                 const float* queries) {
    ranks.check();
    std::vector<float> given;
    VLCParameters used;
    ranks.together([&] {
        if (ntotal > 0) {
            fail("IndexVLC: training needs an empty index, this one holds %lld vectors",
                 (long long)ntotal);
        }
        if (n < 1) {
            fail("IndexVLC: expected at least 1 training vector, got %lld", (long long)n);
        }
        used = with_clustering(*this, parameters);
        used.check(d);
        if (ranks.count > 1 && (parameters.checkpoint_every > 0 || !parameters.resume.empty() ||
                                !parameters.dump.empty())) {
            fail("training by several processes: expected no checkpoint_every, resume or dump");
        }
        checked_count(n, d, sizeof(float), "training vectors");
        require_finite(x, n, d, "training vectors");
        if (n_queries < 0) {
            fail("IndexVLC: expected 0 or more training queries, got %lld", (long long)n_queries);
        }
        checked_count(n_queries, d, sizeof(float), "training queries");
        require_finite(queries, n_queries, d, "training queries");
        given = given_anchors();
    });
    ranks.require_same(training_identity(*this, used, given), "parameters or given anchors");
    const std::string unused = unused_clustering(*this);
    if (!unused.empty()) {
        fprintf(stderr, "faiss-vlc: IndexVLC does not use %s\n", unused.c_str());
    }
    VLCParameters wanted = used;
    if (!given.empty()) {
        wanted.m = int(quantizer->ntotal);
    }
    const bool by_length = metric_type == faiss::METRIC_INNER_PRODUCT && given.empty();
    Sample sample = draw_sample(n, d, x, wanted, ranks, by_length);
    sample.queries = draw_queries(n_queries, d, queries, ranks);
    std::string device;
    const Anchors anchors =
            train_anchors(sample, wanted, verbose || cp.verbose, given, ranks, device);
    auto trained = std::make_shared<Model>(tune_model(sample, anchors, used, metric_type));
    if (ranks.rank == 0) {
        report_training(*trained, verbose || cp.verbose);
    }
    trained_on = device;
    set_model(std::move(trained));
}

#if FAISS_VLC_FAISS_VERSION >= 10800
void IndexVLC::train_encoder(idx_t n, const float* x, const idx_t*) {
    if (given_anchors().empty()) {
        fail("train_encoder: expected the anchors in the quantizer, which is empty");
    }
    train(n, x);
}
#endif

void IndexVLC::assign_lists(idx_t n, const float* x, idx_t* list_nos) const {
    require_trained("assigning");
    checked_count(n, d, sizeof(float), "vectors to assign");
    if (host_assigns(parameters.device, double(n) * double(nlist) * d)) {
        assign_to_anchors(*model, n, x, list_nos);
        return;
    }
    const int dims = model->assign_dims(), dp = padded_dim(dims);
    std::vector<int8_t> x8(size_t(std::min(n, kAssignBlock)) * dp);
    std::vector<int32_t> labels(std::min(n, kAssignBlock));
    std::string device;
    run_on_device<ReferenceAssigner>(parameters, device, make_assigner, [&](Assigner& assigner) {
        assigner.begin(model->m, dims, model->assign_anchors().data(), std::min(n, kAssignBlock));
        for (idx_t first = 0; first < n; first += kAssignBlock) {
            const idx_t count = std::min(kAssignBlock, n - first);
            // by this thread: others would still wait actively, and hold up the device on this host
            for (idx_t i = 0; i < count; i++) {
                model->to_assign(x + (first + i) * d, &x8[i * dp]);
            }
            assigner.assign(count, x8.data(), labels.data());
            correct_off_lattice(*model, count, x + first * d, x8.data(), labels.data());
            std::copy_n(labels.data(), count, list_nos + first);
        }
    });
}

HeldOutRecall IndexVLC::held_out_recall() const {
    return model ? model->recall : HeldOutRecall();
}

AddedRows IndexVLC::added_rows() const {
    return lists().added;
}

size_t IndexVLC::memory() const {
    size_t bytes = sizeof(*this) + lists().memory();
    if (model) {
        bytes += model->memory() + size_t(nlist) * d * sizeof(float);
    }
    return bytes;
}

} // namespace faiss_vlc
