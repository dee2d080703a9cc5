#include <faiss_vlc/train/shared/devices.h>

#include <algorithm>

#include <faiss_vlc/train/shared/share.h>

namespace faiss_vlc {

std::string joined_names(const std::vector<std::string>& names) {
    std::string joined;
    for (size_t i = 0, next; i < names.size(); i = next) {
        for (next = i + 1; next < names.size() && names[next] == names[i]; next++) {
        }
        joined += i > 0 ? ", " : "";
        joined += next - i > 1 ? std::to_string(next - i) + " x " + names[i] : names[i];
    }
    return joined;
}

int devices_for(int64_t rows, int devices) {
    const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
    return int(std::clamp<int64_t>(blocks, 1, devices));
}

} // namespace faiss_vlc
