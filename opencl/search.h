#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <faiss_vlc/search/device_search.h>

namespace faiss_vlc {

/// Searches on an OpenCL device. Codes and what is derived from the model stay there until the
/// lists change. Left out are queries that hold extreme values, or where too many estimates are
/// equal.
class OpenCLSearch final : public DeviceSearch {
public:
    /// "opencl:<part of a name>".
    explicit OpenCLSearch(const std::string& spec);
    ~OpenCLSearch() override;

    const std::string& spec() const override { return spec_; }
    size_t search(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists,
                  const SearchBatch& batch, int nprobe, int width,
                  std::vector<int64_t>& left) override;

private:
    struct State;
    std::string spec_;
    std::mutex mutex_;
    std::unique_ptr<State> state_;

    void prepare(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists,
                 const SearchBatch& batch, int nprobe);
};

} // namespace faiss_vlc
