#pragma once

#include <memory>
#include <mutex>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/search/device_search.h>

namespace faiss_vlc {

/// What IndexVLC::search_device named last.
struct IndexVLC::SearchDevice {
    std::mutex mutex;
    std::shared_ptr<DeviceSearch> search;
};

} // namespace faiss_vlc
