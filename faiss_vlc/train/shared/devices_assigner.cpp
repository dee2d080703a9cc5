#include <faiss_vlc/train/shared/devices_assigner.h>

#include <algorithm>
#include <utility>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/lattice.h>
#include <faiss_vlc/train/shared/devices.h>

namespace faiss_vlc {

DevicesAssigner::DevicesAssigner(std::vector<std::unique_ptr<Assigner>> devices)
    : devices_(std::move(devices)) {
    if (devices_.empty()) {
        fail("adding by several devices: expected one at least");
    }
}

std::string DevicesAssigner::name() const {
    std::vector<std::string> names;
    for (const std::unique_ptr<Assigner>& device : devices_) {
        names.push_back(device->name());
    }
    return joined_names(names);
}

/// body(i, device) of all at once.
template <class Body>
void DevicesAssigner::each(Body body) {
    at_once(used_, [&](int i) { run_device(i, used_, [&] { body(i, *devices_[i]); }); });
}

void DevicesAssigner::begin(int m, int d, const int8_t* anchors8, int64_t max_block) {
    used_ = devices_for(max_block, int(devices_.size()));
    dp_ = padded_dim(d);
    const int64_t most = (max_block + used_ - 1) / used_;
    each([&](int, Assigner& device) { device.begin(m, d, anchors8, most); });
}

void DevicesAssigner::assign(int64_t n, const int8_t* x, int32_t* labels) {
    const int64_t most = (n + used_ - 1) / used_;
    each([&](int i, Assigner& device) {
        const int64_t begin = std::min(n, i * most);
        const int64_t count = std::min(n - begin, most);
        if (count > 0) {
            device.assign(count, x + begin * dp_, labels + begin);
        }
    });
}

} // namespace faiss_vlc
