#include <opencl/search_kernels.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

SearchKernels SearchKernels::compile(const std::shared_ptr<Device>& device, size_t table_bytes,
                                     int planes) {
    constexpr size_t kMostLocal = 48 << 10; // several work-groups share a GPU's unit
    constexpr size_t kBeside = 4 << 10;     // what else scan_words keeps in local memory
    const DeviceInfo& info = device->info();
    const bool local = table_bytes + kBeside <= std::min<uint64_t>(info.local_mem, kMostLocal);
    const std::string options = std::string("-cl-fp32-correctly-rounded-divide-sqrt") +
                                (local ? "" : " -DWORD_TABLES=__global") +
                                (planes > 1 ? " -DPLANES=2" : "");
    if (!info.exact_floats) {
        fail("OpenCL device '%s' can't search: its floats lack denormals or correct division, so "
             "results would differ from the CPU's",
             info.name.c_str());
    }
    const char* wanted = std::getenv("VLC_OPENCL_DOT");
    std::vector<std::string> dots;
    if (!wanted || std::strcmp(wanted, "portable") != 0) {
        if (info.compute_capability >= 61) {
            dots.push_back(" -DDOT4_PTX");
        }
        if (info.type == DeviceType::kGpu && info.integer_dot) {
            dots.push_back(" -DDOT4_KHR");
        }
    }
    dots.push_back("");
    for (size_t i = 0;; i++) {
        SearchKernels kernels{device, options + dots[i]};
        kernels.local_tables = local;
        try {
            size_t most = kernels.group;
            for (const char* name : {"nearest_lists", "keep_regions", "best_hits", "lay_out_tasks",
                                     "prepare_queries"}) {
                most = std::min(most, kernels.get(name).max_work_group());
            }
            while (kernels.group > most) {
                kernels.group /= 2;
            }
            return kernels;
        } catch (const std::exception&) {
            if (i + 1 == dots.size()) {
                throw;
            }
        }
    }
}

} // namespace faiss_vlc
