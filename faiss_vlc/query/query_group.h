#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <faiss_vlc/query/query.h>

namespace faiss_vlc {

/// Queries that one thread prepares together: anchors and axes are loaded once for several of
/// them. The results are those of one by one. Codes of words are scanned for one query after the
/// other, as they share a table (Query::list). Holds scratch of about (2 + frames) x d x 4 bytes a
/// query.
class QueryGroup {
public:
    static constexpr int kLargestGroup =
            32; ///< queries that are scanned one by one; more gain nothing
    static constexpr int kLargestWithRegions = 64; ///< more share what is read of the regions

    /// How many to take together then: as many as leave each thread a few groups of n.
    static int size_for(int64_t n, int threads, int largest = kLargestGroup);
    static int size_for(const Model& model, int64_t n, int threads) {
        return size_for(n, threads, model.regions.used() ? kLargestWithRegions : kLargestGroup);
    }

    QueryGroup(const Model& model, int size);

    /// n <= size queries, float n x d. Those with a NaN or infinity are not set.
    void set(int n, const float* x);
    int n() const { return n_; }
    bool is_set(int q) const { return is_set_[q]; }
    Query& operator[](int q) { return *queries_[q]; }

    /// Ranks the anchors; lists(q) are then the `probes` nearest. width and sorted: see
    /// AnchorRanking::nearest.
    void rank(int probes, int width = 0, bool sorted = true);
    int probes() const { return probes_; }
    /// Or given ones, int64 n x stride, -1 for none; they have to live on.
    void give(int probes, const int64_t* lists, int64_t stride);
    const int64_t* lists(int q) const { return lists_[q]; }
    /// The first list of the next query, -1 if there is none.
    int64_t following(int q) const;

    /// Rotates each query into the frames of its lists, and into that of the second tier.
    void rotate();

private:
    const Model& model_;
    AnchorRanking ranking_;
    std::unique_ptr<WordTables> words_;
    std::vector<std::unique_ptr<Query>> queries_;
    std::vector<uint8_t> is_set_;
    std::vector<const int64_t*> lists_;
    int n_ = 0;
    int probes_ = 0;

    template <class Wants, class Rotate>
    void each_together(Wants wants, Rotate rotate);
};

} // namespace faiss_vlc
