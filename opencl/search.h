#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <faiss_vlc/query/query.h>
#include <faiss_vlc/search/lists.h>

namespace faiss_vlc {

/// Searches one index's lists on an OpenCL device, with the results of the CPU, bit by bit. Codes
/// and what is derived from the model stay on the device until the lists change.
///
/// Thread-safety: any number of threads; they take turns. Errors are FaissExceptions that name the
/// device and the call; the next search starts afresh.
class DeviceSearch {
public:
    /// "opencl:<part of a name>"; throws for what is no device.
    explicit DeviceSearch(const std::string& spec);
    ~DeviceSearch();

    const std::string& spec() const { return spec_; }
    /// The largest k.
    static int most_results();

    struct Request {
        int64_t n;
        const float* x; ///< n x d
        int nprobe;
        int k;
        bool as_places;   ///< list << 32 | offset as labels
        float* distances; ///< n x k results, padded with the metric's worst distance
        int64_t* labels;  ///< n x k, padded with -1
    };
    /// Leaves out queries that hold extreme values, or where too many estimates are equal: their
    /// numbers go to `left`. Returns the vectors scanned for the others.
    size_t search(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists,
                  const Request& request, std::vector<int64_t>& left);

private:
    struct State;
    std::string spec_;
    std::mutex mutex_;
    std::unique_ptr<State> state_;

    void prepare(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists,
                 const Request& request);
};

} // namespace faiss_vlc
