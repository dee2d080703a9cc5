#include <faiss_vlc/index/clustering.h>

#include <utility>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

template <class T>
void take(const char* theirs, int value, const char* ours, T& own, T standard) {
    const auto given = static_cast<long long>(value), set = static_cast<long long>(own);
    const auto usual = static_cast<long long>(standard);
    if (given == usual || given == set) {
        return;
    }
    if (set != usual) {
        fail("IndexVLC: cp.%s is %lld, but parameters.%s is %lld: expected one of them set, or "
             "both the same",
             theirs, given, ours, set);
    }
    if (given < 0) {
        fail("IndexVLC: expected cp.%s of at least 0, got %lld", theirs, given);
    }
    own = T(value);
}

/// Members that only some versions of FAISS have.
template <class P>
auto other_start(const P& cp, int) -> decltype(cp.init_method, bool()) {
    return cp.init_method != P().init_method;
}
template <class P>
bool other_start(const P&, long) {
    return false;
}
template <class P>
auto stops_early(const P& cp, int) -> decltype(cp.early_stop_threshold, bool()) {
    return cp.early_stop_threshold != P().early_stop_threshold;
}
template <class P>
bool stops_early(const P&, long) {
    return false;
}

} // namespace

void reset_clustering(faiss::Level1Quantizer& index) {
    const VLCParameters standard;
    index.cp.niter = standard.iterations;
    index.cp.seed = int(standard.seed);
    index.cp.max_points_per_centroid = standard.max_points_per_anchor;
}

VLCParameters with_clustering(const faiss::Level1Quantizer& index,
                              const VLCParameters& parameters) {
    const VLCParameters standard;
    VLCParameters result = parameters;
    take("niter", index.cp.niter, "iterations", result.iterations, standard.iterations);
    take("seed", index.cp.seed, "seed", result.seed, standard.seed);
    take("max_points_per_centroid", index.cp.max_points_per_centroid, "max_points_per_anchor",
         result.max_points_per_anchor, standard.max_points_per_anchor);
    return result;
}

std::string unused_clustering(const faiss::Level1Quantizer& index) {
    const faiss::ClusteringParameters& cp = index.cp;
    const faiss::ClusteringParameters fresh;
    const std::pair<const char*, bool> settings[] = {
            {"cp.nredo", cp.nredo != fresh.nredo},
            {"cp.spherical", cp.spherical != fresh.spherical},
            {"cp.int_centroids", cp.int_centroids != fresh.int_centroids},
            {"cp.update_index", cp.update_index != fresh.update_index},
            {"cp.frozen_centroids", cp.frozen_centroids != fresh.frozen_centroids},
            {"cp.init_method", other_start(cp, 0)},
            {"cp.early_stop_threshold", stops_early(cp, 0)},
            {"clustering_index (parameters.device says where training runs)",
             index.clustering_index != nullptr},
            {"quantizer_trains_alone", index.quantizer_trains_alone != 0},
    };
    std::string names;
    for (const auto& [name, is_set] : settings) {
        if (is_set) {
            names += (names.empty() ? "" : ", ") + std::string(name);
        }
    }
    return names;
}

} // namespace faiss_vlc
