#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <faiss/IndexIVFFlat.h>

#include <faiss_vlc/faiss_version.h>
#include <faiss_vlc/findings.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/ranks.h>

namespace faiss_vlc {

class Model;             ///< what training learnt; its inside is not for users
struct VLCInvertedLists; ///< a faiss::InvertedLists

/// For one search: what SearchParametersIVF has, and IndexVLC's max_probes, refine_k and
/// exact_ranking.
struct SearchParametersVLC : faiss::SearchParametersIVF {
    size_t max_probes = 0;      ///< lists to go on to while a selector leaves fewer than k results
    size_t refine_k = 0;        ///< as IndexVLC's; 0: the index's
    bool exact_ranking = false; ///< of lists, see IndexVLC
};

/// Vector-Lattice Compression: an inverted file whose anchors come from annealed, robust clustering
/// on an OpenCL device (or the CPU), and whose vectors are kept as residual codes on an integer
/// lattice with two small factors each, so that search can scan codes with byte arithmetic and an
/// almost unbiased estimate of the distance.
///
/// Use it where IndexIVFPQ would be used: the same recall takes fewer bytes, and search is several
/// times faster. It needs training on vectors like those to be added (at least 39 per anchor are
/// advisable), compresses lossily, and is not for a few thousand vectors, where IndexFlat is as
/// good.
///
/// It is a faiss::IndexIVF: nprobe, SearchParametersIVF, direct maps, remove_ids, merge_from,
/// IDMap, PreTransform and Refine work as usual. nlist is the number of anchors m; code_size are
/// the packed bytes of a vector, factors included, ids not. The base class IndexIVFFlat is there
/// for FAISS's own input and output only.
///
/// Metrics: METRIC_L2 (squared, estimated, never below 0) and METRIC_INNER_PRODUCT; the estimators
/// are in estimator.h. Labels of missing results are -1. Equal distances go by the smaller id.
///
/// FAISS's settings of k-means, cp, count where they have a counterpart: niter (parameters'
/// iterations), seed, max_points_per_centroid (max_points_per_anchor) and verbose. They are the
/// defaults of VLCParameters until somebody sets others; setting one both in cp and in parameters,
/// to different values, is an error of train(). Files keep them as parameters. What has no
/// counterpart (nredo, spherical, frozen_centroids, clustering_index, ...) is named on stderr by
/// train(), and not used.
///
/// nprobe is 0 until training chooses it, unless somebody set it before, to 1 or anything else: the
/// number of lists that holds 95 % of the true neighbours of held-out vectors. Mind that a
/// default-made SearchParametersIVF carries nprobe = 1 and overrides it.
///
/// Thread-safety: as FAISS: const functions may run side by side, anything else needs the index for
/// itself; saving is one of them, so an index can be searched while another thread saves it. Errors
/// are FaissExceptions; add() leaves the index as it was. A child of fork() may use an index of its
/// parent's, with the reference as device and on one thread.
///
/// Results are the same on every x86-64 CPU and training gives the same index on every device, for
/// one build of this library.
struct IndexVLC : faiss::IndexIVFFlat {
    using idx_t = int64_t;

    /// m anchors (0: about 4 sqrt(n) of the training set) and code bits per dimension.
    explicit IndexVLC(int d, int m = 0, float bits_per_dim = 2,
                      faiss::MetricType metric = faiss::METRIC_L2);
    IndexVLC(int d, const VLCParameters& parameters, faiss::MetricType metric = faiss::METRIC_L2);
    /// A trained, empty index.
    IndexVLC(std::shared_ptr<const Model> model, const VLCParameters& parameters);
    /// A copy of its own; the model, which never changes, is shared.
    IndexVLC(const IndexVLC& other);
    IndexVLC& operator=(const IndexVLC&) = delete;

    VLCParameters parameters; ///< of the next training; device also of add()
    /// Where a selector leaves fewer than k results in nprobe lists, search goes on to the next
    /// nearest ones, up to this many in all. 0: off. Not stored in files.
    size_t max_probes = 0;
    /// Of codes with a second tier: how many of the best by the first tier are ordered anew by
    /// both, at least k. 0: as many as training found to be needed for k results in nprobe lists,
    /// more in a larger index. Files keep it, as nprobe.
    size_t refine_k = 0;
    /// Where there are many lists, training makes regions of them (VLCParameters::regions), and a
    /// query looks for its nprobe nearest lists in the nearest regions, in more of them the larger
    /// nprobe is. With exact_ranking it looks in all. The quantizer's own search() does so with
    /// k = nlist only. Not stored in files.
    bool exact_ranking = false;
    /// Where search() works: empty or "reference": the CPU; "opencl:<part of a name>": that OpenCL
    /// device (one: opencl-all is an error), with the same results. It pays for batches of hundreds
    /// of queries and more, and keeps a copy of the codes there, made by the first search after a
    /// change. Threads that search at the same time take turns. What the device doesn't do runs on
    /// the CPU: selectors, max_codes, max_probes above nprobe, k above 1024, range_search,
    /// search_preassigned. A device that isn't there or fails is an error; the index stays as it
    /// was. Not stored in files.
    std::string search_device;
    std::shared_ptr<const Model> model; ///< null until trained
    /// Whether ids are positions in the table of an IDMap above. The factory, readers, clone_index
    /// and mark_id_maps() (tree.h) set it, and an IDMap's remove_ids(); adding with ids ends it.
    bool below_id_map = false;
    std::string trained_on; ///< device of the last train() in this process, or "2 x <device>"

    /// Of code_size, the bytes of the second tier; 0: there is none. Before training what
    /// `parameters` ask for.
    size_t second_code_size() const;

    const VLCInvertedLists& lists() const;
    VLCInvertedLists& lists();

    /// x float n x d, n >= m. Needs an empty index (reset() first). Anchors that somebody put into
    /// the quantizer before, as many as m (or any number, if m is 0), are taken as they are, put on
    /// the lattice; codes are learnt for them.
    void train(idx_t n, const float* x) override;
    /// train() by several processes with the vectors of all, in the order of their ranks: each
    /// calls this with its own n vectors, and has afterwards what train() would have given, bit by
    /// bit. The vectors stay where they are, but for the sample, which is shared out: each process
    /// has its part to assign and add up. Devices may differ; one that fails is not replaced. No
    /// checkpoints and dumps. Anchors in the quantizer and parameters have to be the same
    /// everywhere.
    ///
    /// Queries (float n_queries x d), where any process gives some, count as in train.h: each gives
    /// its share of them, or one gives all. The index depends on their order, not on who gives
    /// them.
    void train_distributed(idx_t n, const float* x, const Ranks& ranks, idx_t n_queries = 0,
                           const float* queries = nullptr);

    /// x float n x d, finite. ids int64 n, or null for ntotal, ntotal + 1, ...
    void add_with_ids(idx_t n, const float* x, const idx_t* ids) override;
    /// The list of each vector is given (int64 n; -1: leave it out).
    void add_core(idx_t n, const float* x, const idx_t* ids,
                  const idx_t* list_nos FAISS_VLC_LIST_CONTEXT(= nullptr)) override;
    /// The lists that add() would choose.
    void assign_lists(idx_t n, const float* x, idx_t* list_nos) const;

    void search(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                const faiss::SearchParameters* params = nullptr) const override;
    /// centroid_dis may be null.
    void search_preassigned(idx_t n, const float* x, idx_t k, const idx_t* list_nos,
                            const float* centroid_dis, float* distances, idx_t* labels,
                            bool store_pairs, const faiss::IVFSearchParameters* params = nullptr,
                            faiss::IndexIVFStats* stats = nullptr) const override;
    void range_search(idx_t n, const float* x, float radius, faiss::RangeSearchResult* result,
                      const faiss::SearchParameters* params = nullptr) const override;
    void search_and_reconstruct(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                                float* recons,
                                const faiss::SearchParameters* params = nullptr) const override;

    /// Works with and without a direct map (then by looking through the lists).
    void reconstruct(idx_t key, float* recons) const override;
    void reconstruct_from_offset(int64_t list_no, int64_t offset, float* recons) const override;

    void encode_vectors(idx_t n, const float* x, const idx_t* list_nos, uint8_t* codes,
                        bool include_listnos = false) const override;
#if FAISS_VLC_FAISS_VERSION >= 10800
    /// For IndexIVFIndependentQuantizer: train() with the anchors that are in the quantizer. x are
    /// vectors, not residuals.
    void train_encoder(idx_t n, const float* x, const idx_t* assign) override;
#endif
#if FAISS_VLC_FAISS_VERSION >= 11200
    /// The inverse of encode_vectors without list numbers.
    void decode_vectors(idx_t n, const uint8_t* codes, const idx_t* list_nos,
                        float* x) const override;
#endif
    void sa_encode(idx_t n, const float* x, uint8_t* bytes) const override;
    void sa_decode(idx_t n, const uint8_t* bytes, float* x) const override;

    faiss::InvertedListScanner*
    get_InvertedListScanner(bool store_pairs = false,
                            const faiss::IDSelector* sel =
                                    nullptr FAISS_VLC_SCANNER_PARAMS(= nullptr)) const override;

    /// Puts other vectors in the place of those with these ids; needs a direct map.
    void update_vectors(int n, const idx_t* ids, const float* x) override;

    /// Any selector without a direct map; with one, what FAISS's DirectMap supports. The vectors
    /// that stay keep their ids. But when an IDMap above removes, which knows vectors by their
    /// position, they are numbered anew, 0 to ntotal - 1 in the order of their ids, and any
    /// selector works beside any direct map; if there are other ids than positions, or more vectors
    /// than labels, that is an error, and nothing is removed.
    size_t remove_ids(const faiss::IDSelector& sel) override;

    void check_compatible_for_merge(const faiss::Index& other) const override;
    /// Moves all vectors of an index of the same training here; other is empty afterwards. Below an
    /// IDMap, which passes 0 for add_id whatever is here, ids go on from ntotal.
    void merge_from(faiss::Index& other, idx_t add_id = 0) override;

    /// What training found of held-out vectors' neighbours: the recall to expect of a search, but
    /// that a larger base has more that is near. Written to files.
    HeldOutRecall held_out_recall() const;
    /// Where the last search() on `search_device` refined codes of two tiers: there, the name as it
    /// was given, or "reference", which is the CPU: with codes of words or comparison by decoding,
    /// where second codes are mapped or find no room in the device's memory, or it failed. Empty
    /// with one tier, and before the first search there.
    std::string refined_on() const;
    /// How many rows add() met that are outside of what training saw. Where they are many, it says
    /// so on stderr, once. Merging adds up, reset() begins anew, removing changes nothing. Written
    /// to files.
    AddedRows added_rows() const;

    /// Bytes of memory: lists, model and what is derived from it.
    size_t memory() const;

private:
    friend class AwaitedQueries;
    /// What the next train() takes as queries, while train() of train.h runs.
    std::function<std::vector<float>()> awaited_queries_;

    class SearchDevice;
    std::shared_ptr<SearchDevice> searcher_; ///< never null; each index has its own

    size_t remove_rows(const faiss::IDSelector& sel, size_t labels);
    void set_model(std::shared_ptr<const Model> trained);
    std::vector<float> given_anchors() const;
    void require_trained(const char* what) const;
    void search_pairs(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
                      bool store_pairs, const faiss::SearchParameters* params) const;
};

} // namespace faiss_vlc
