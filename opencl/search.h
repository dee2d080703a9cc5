#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
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
    /// Refines codes of levels and sums whose second tier lies in the host's memory and finds room
    /// here. Where anything fails, it doesn't try again until the lists change.
    bool search_two_tiers(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists,
                          const SearchBatch& batch, const TwoTiers& how, std::vector<int64_t>& left,
                          size_t& scanned) override;

private:
    struct State;
    std::string spec_;
    std::mutex mutex_;
    std::unique_ptr<State> state_;
    std::optional<uint64_t> refused_; ///< stamp of lists that can't be refined here

    void prepare(const std::shared_ptr<const Model>& model, const VLCInvertedLists& lists);
    template <class Body>
    void guarded(Body body);
    size_t search_prepared(const SearchBatch& batch, const TwoTiers& how,
                           std::vector<int64_t>& left);
};

} // namespace faiss_vlc
