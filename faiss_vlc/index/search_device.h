#pragma once

#include <memory>
#include <mutex>
#include <string>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/search/device_search.h>

namespace faiss_vlc {

/// What IndexVLC::search_device named last: it holds a copy of the codes.
class IndexVLC::SearchDevice {
public:
    std::shared_ptr<DeviceSearch> named(const std::string& spec);

    /// See IndexVLC::refined_on.
    std::string refined_on() const;
    void set_refined_on(const std::string& device);

private:
    mutable std::mutex mutex_;
    std::shared_ptr<DeviceSearch> last_;
    std::string refined_on_;
};

} // namespace faiss_vlc
